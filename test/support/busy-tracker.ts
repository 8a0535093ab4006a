/** Keeps a tracker as busy as wanted, by look-ups of flows that nobody has, which have nothing to do with the shards that it holds. */
import type { FlowKey } from "../../src/flow/flow.ts";
import { TrackerServiceClient } from "../../src/gen/baton/v1/tracker.ts";
import { dial, unary } from "../../src/rpc/client.ts";
import { flowKeyToProto } from "../../src/rpc/flow-codec.ts";
import { sleep } from "../../src/runtime/retry.ts";
import type { TrackerProcess } from "./tracker-process.ts";

const deadlineMs = 10_000;
const measureEveryMs = 500;
/** The measured load follows within some five seconds: small steps, or it swings. */
const stepMax = 1.1;
const pauseMinMs = 0.25;
const pauseMaxMs = 1_000;

export class BusyTracker {
  /** 0 to 1. */
  wanted: number;
  /** As the tracker measures it itself; what it tells others follows with hysteresis, twice a minute at most. */
  load = 0;
  readonly #tracker: TrackerProcess;
  #pauseMs = 20;

  constructor(tracker: TrackerProcess, wanted: number) {
    this.#tracker = tracker;
    this.wanted = wanted;
  }

  /** Throws when the tracker does not answer. */
  async run(keys: readonly FlowKey[], stop: AbortSignal): Promise<void> {
    await Promise.all([this.#ask(keys, stop), this.#measure(stop)]);
  }

  async #ask(keys: readonly FlowKey[], stop: AbortSignal): Promise<void> {
    const client = dial(TrackerServiceClient, this.#tracker.socket);
    const request = { keys: keys.map(flowKeyToProto), columns: undefined, atLeast: [], layouts: [] };
    const { signal } = new AbortController();
    let owedMs = 0;
    while (!stop.aborted) {
      await unary(client, "lookupFlows", request, { signal, deadlineMs });
      owedMs += this.#pauseMs;
      const pauseMs = Math.trunc(owedMs);
      owedMs -= pauseMs;
      if (pauseMs > 0) await sleep(pauseMs, stop).catch(() => undefined);
    }
    client.close();
  }

  async #measure(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      this.load = await this.#tracker.metric("baton_gossip_load");
      const step = Math.min(stepMax, Math.max(1 / stepMax, this.load / this.wanted));
      this.#pauseMs = Math.min(pauseMaxMs, Math.max(pauseMinMs, this.#pauseMs * step));
      await sleep(measureEveryMs, stop).catch(() => undefined);
    }
  }
}
