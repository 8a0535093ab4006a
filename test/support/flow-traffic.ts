/** Flow events as a busy instance publishes them, and what the trackers must have at the end: the oracle is a plain Map. */
import { randomBytes } from "node:crypto";
import type { Bus } from "../../src/bus/bus.ts";
import { FlowPublisher } from "../../src/bus/flow-publisher.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import { type Flow, type FlowKey, flowKeyText } from "../../src/flow/flow.ts";
import { defaultFlushLimits } from "../../src/flow/flush-window.ts";
import type { ShardPosition } from "../../src/node/state.ts";
import type { Layout } from "../../src/placement/layout.ts";
import { Layouts } from "../../src/placement/layouts.ts";
import type { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { sleep, waitFor } from "../../src/runtime/retry.ts";
import { flowOf, keyOf } from "./flows.ts";

const tickMs = 10;
const completeWithinMs = 20_000;

export interface TrafficOptions {
  readonly bus: Bus;
  readonly addresses: readonly [IpAddress, ...IpAddress[]];
  readonly shards: number;
  readonly instance: string;
  readonly eventsPerSecond: number;
}

/** What somebody should know, and from where in the event stream on. */
export interface Oracle {
  readonly flows: ReadonlyMap<string, Flow>;
  /** Where the stream stands when all that was told so far is in it. */
  barrier(signal: AbortSignal): Promise<ShardPosition[]>;
}

/** All that these instances have told, of different flows. */
export function together(instances: readonly Oracle[]): Oracle {
  return {
    get flows() {
      return new Map(instances.flatMap(({ flows }) => [...flows]));
    },
    barrier: async (signal) => (await Promise.all(instances.map((it) => it.barrier(signal)))).flat(),
  };
}

/** An instance whose flows open, change and end all the time, as far as the tracker can tell. */
export class Traffic implements Oracle, AsyncDisposable {
  readonly flows = new Map<string, Flow>();
  /** Open, and never to end. */
  readonly lasting: FlowKey[] = [];
  /** Each was there once, and never will be again. */
  readonly ended: FlowKey[] = [];
  events = 0;
  /** It hears no request for a snapshot until it is told to {@link hear}. */
  isDeaf = false;
  readonly #unheard = new Set<number>();
  readonly #options: TrafficOptions;
  readonly #layouts: Layouts;
  readonly #publisher: FlowPublisher;
  #next = 0;

  constructor(options: TrafficOptions) {
    this.#options = options;
    this.#layouts = new Layouts(options.shards);
    this.#publisher = new FlowPublisher({
      bus: options.bus,
      instance: options.instance,
      shards: options.shards,
      layouts: this.#layouts,
      boot: randomBytes(16),
      flush: { ...defaultFlushLimits, windowMinMs: 10 },
      onSnapshotNeeded: (shard) => {
        if (this.isDeaf) this.#unheard.add(shard);
        else this.#snapshot(shard);
      },
      onError: () => undefined,
    });
  }

  async run(stop: AbortSignal): Promise<void> {
    // By the clock: a machine that is busy makes bursts, and not fewer events.
    const beganMs = performance.now();
    const before = this.events;
    while (!stop.aborted) {
      const due = ((performance.now() - beganMs) / 1_000) * this.#options.eventsPerSecond;
      while (this.events - before < due) this.#event();
      await sleep(tickMs, stop).catch(() => undefined);
    }
  }

  get instance(): string {
    return this.#options.instance;
  }

  /** From now on, and what was asked meanwhile. */
  hear(): void {
    this.isDeaf = false;
    for (const shard of this.#unheard) this.#snapshot(shard);
    this.#unheard.clear();
  }

  /** What an agent does with a layout in its state. Until all is told, as far as the stream is concerned. */
  async lay(address: IpAddress, layout: Layout, signal: AbortSignal): Promise<ShardPosition[]> {
    if (layout.before === undefined) {
      this.#layouts.take(address, layout);
      return [];
    }
    await this.#publisher.adopt(address, layout, signal);
    const flows = { [Symbol.iterator]: () => this.flows.values() };
    return await this.#publisher.snapshot(address, flows, signal);
  }

  async barrier(signal: AbortSignal): Promise<ShardPosition[]> {
    const { addresses } = this.#options;
    return (await Promise.all(addresses.map((address) => this.#publisher.barrier("mark", address, signal)))).flat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#publisher.close();
  }

  #snapshot(shard: number): void {
    // One that fails is asked for again.
    void this.#publisher.snapshotShard(shard, this.flows.values()).catch(() => undefined);
  }

  /** A flow in turn: it opens, is established, and two of three end. */
  #event(): void {
    const { addresses, instance } = this.#options;
    const number = Math.trunc(this.#next / 3);
    const address = addresses[number % addresses.length] ?? addresses[0];
    const key = { ...keyOf(number % 60_000, address), port: 1 + Math.trunc(number / 60_000) };
    const stage = this.#next++ % 3;
    this.events++;
    if (stage === 2 && number % 3 !== 0) {
      const flow = this.flows.get(flowKeyText(key));
      if (flow === undefined) throw new Error("a flow that was not opened");
      this.flows.delete(flowKeyText(key));
      this.ended.push(key);
      this.#publisher.change({ ...flow, state: "closed" });
      return;
    }
    const flow = flowOf(0, instance, stage === 0 ? "half-open" : "open", { key });
    this.flows.set(flowKeyText(key), flow);
    if (stage === 1 && number % 3 === 0) this.lasting.push(key);
    this.#publisher.change(flow);
  }
}

/** What is wrong between the oracle and what the trackers say; empty: nothing is lost, nothing too much. */
export async function compareWithTrackers(
  oracle: Oracle,
  addresses: readonly IpAddress[],
  client: TrackerClient,
  signal: AbortSignal,
): Promise<string[]> {
  const atLeast = await oracle.barrier(signal);
  const outcome = await client.barrier(atLeast, { deadlineMs: 30_000, signal });
  if (!outcome.reached) return [`shards ${outcome.behind.join(", ")} have not reached the barrier`];
  const known = new Map<string, Flow>();
  for (const address of addresses)
    for await (const page of client.list({ address, atLeast }, { signal, deadlineMs: 20_000 }))
      for (const flow of page) known.set(flowKeyText(flow.key), flow);
  const wrong: string[] = [];
  const { flows } = oracle;
  for (const [text, flow] of flows) {
    const found = known.get(text);
    if (found === undefined) wrong.push(`lost: ${text}`);
    else if (found.owner !== flow.owner) wrong.push(`of ${found.owner} instead of ${flow.owner}: ${text}`);
    else if (found.state !== flow.state) wrong.push(`${found.state} instead of ${flow.state}: ${text}`);
  }
  for (const text of known.keys()) if (!flows.has(text)) wrong.push(`phantom: ${text}`);
  // Shards of which nobody has spoken may still be coming back to the stream.
  const count = () => client.count({ atLeast }, { signal, deadlineMs: completeWithinMs });
  const what = "the shards to be complete";
  await waitFor(async () => (await count()).complete, { signal, timeoutMs: completeWithinMs, what });
  const { counts } = await count();
  const counted = counts.reduce((sum, each) => sum + each.flows, 0);
  if (counted !== flows.size) wrong.push(`${counted} flows are counted instead of ${flows.size}`);
  return wrong;
}
