/**
 * Keeps the kernel's sets of followed flows filled from the tracker.
 *
 * One watch for each followed owner: first everything the tracker knows, then every change. Only what the owner has
 * said removes an entry (SPEC E5): what a later snapshot leaves out is asked about, and stays unless it has ended.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  addFlows,
  addHalfOpen,
  elementsPerTransactionMax,
  endFlows,
  endsPerTransactionMax,
} from "../../src/dataplane/elements.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { FlowAnswer } from "../../src/flow/answer.ts";
import type { Flow, FlowKey } from "../../src/flow/flow.ts";
import type { AgentAddress, Follow, LinkId, ShardPosition } from "../../src/node/state.ts";
import type { LoadReport } from "../../src/node/status.ts";
import type { WatchEvent, WatchQuery } from "../../src/rpc/tracker-client.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";
import { FollowedKeys, tupleText } from "./followed-keys.ts";

export interface FollowSetsParts {
  /** Flows of an owner, then their changes, until aborted; resumes by itself. */
  watch(query: WatchQuery, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /** What the tracker knows of the flows, in the order of the keys. */
  lookup(
    keys: readonly FlowKey[],
    atLeast: readonly ShardPosition[],
    signal: AbortSignal,
  ): Promise<readonly FlowAnswer[]>;
  /** Runs an nft transaction; throws when the kernel refuses. */
  run(commands: string): void;
  readonly onLoaded: () => void;
  readonly log: Logger;
}

/** As long as a handshake's answers are retransmitted. */
const halfOpenSeconds = 64;
const rewatchMs = 1_000;
const keysPerLookup = 1_000;

interface Watched {
  readonly address: IpAddress;
  readonly follow: Follow;
  readonly stop: AbortController;
  readonly keys: FollowedKeys;
  /** Flows of the last snapshot. */
  entries: number;
  loaded: boolean;
}

export class FollowSets implements Disposable {
  readonly #parts: FollowSetsParts;
  readonly #watched = new Map<LinkId, Watched>();

  constructor(parts: FollowSetsParts) {
    this.#parts = parts;
  }

  /** Begins what is newly followed and ends what no longer is. The kernel's sets are there already. */
  sync(addresses: readonly AgentAddress[]): void {
    const wanted = addresses.flatMap((address) => address.follows.map((follow) => ({ address, follow })));
    for (const [link, watched] of this.#watched) {
      if (wanted.some(({ follow }) => follow.link === link && follow.loadId === watched.follow.loadId)) continue;
      watched.stop.abort();
      this.#watched.delete(link);
    }
    for (const { address, follow } of wanted) if (!this.#watched.has(follow.link)) this.#begin(address.address, follow);
  }

  /** The kernel's sets are empty, and to be filled from the beginning. */
  refill(addresses: readonly AgentAddress[]): void {
    this[Symbol.dispose]();
    this.sync(addresses);
  }

  loads(): LoadReport[] {
    return [...this.#watched.values()]
      .filter((watched) => watched.loaded)
      .map(({ follow, entries }) => ({ id: follow.loadId, entries }));
  }

  [Symbol.dispose](): void {
    for (const watched of this.#watched.values()) watched.stop.abort();
    this.#watched.clear();
  }

  #begin(address: IpAddress, follow: Follow): void {
    const [stop, keys] = [new AbortController(), new FollowedKeys(address)];
    const watched: Watched = { address, follow, stop, keys, entries: 0, loaded: false };
    this.#watched.set(follow.link, watched);
    void this.#run(watched);
  }

  async #run(watched: Watched): Promise<void> {
    const { signal } = watched.stop;
    const { owner, loadAtLeast: atLeast } = watched.follow;
    const query = { address: watched.address, owner, atLeast };
    while (!signal.aborted) {
      try {
        for await (const event of this.#parts.watch(query, signal)) await this.#take(event, watched);
        signal.throwIfAborted();
        throw new Error("the tracker ended the watch");
      } catch (error) {
        if (isAbort(error, signal)) return;
        const { address } = query;
        this.#parts.log.warn({ error, address, owner }, "flows of the owner can't be watched: trying again");
      }
      await sleep(rewatchMs, signal).catch(() => undefined);
    }
  }

  async #take(event: WatchEvent, watched: Watched): Promise<void> {
    const flows = event.flows.filter(({ key }) => key.protocol === "tcp");
    if (event.kind === "snapshot" && event.first) watched.keys.beginSnapshot();
    await this.#write(flows, watched);
    if (event.kind !== "snapshot") return;
    watched.entries = event.flows.length + (event.first ? 0 : watched.entries);
    if (!event.complete) return;
    if (!watched.loaded) {
      watched.loaded = true;
      this.#parts.onLoaded();
    }
    await this.#askAboutMissing(event.positions, watched);
  }

  /** A snapshot that was not the first may leave out flows that are in the sets: only those that have ended leave them. */
  async #askAboutMissing(atLeast: readonly ShardPosition[], watched: Watched): Promise<void> {
    const { keys, follow, stop } = watched;
    for (const missing of chunksOf(keys.missing(), keysPerLookup)) {
      const answers = await this.#parts.lookup(missing, atLeast, stop.signal);
      const ended = missing.filter((_, index) => hasEnded(answers[index], follow.owner));
      await this.#inSteps(ended, endsPerTransactionMax, watched, (some) => {
        this.#parts.run(endFlows(follow.link, some));
        for (const key of some) keys.delete(key);
      });
    }
  }

  /** The last word about a flow counts; what came before it in the same batch has no time to matter. */
  async #write(flows: readonly Flow[], watched: Watched): Promise<void> {
    const latest = [...new Map(flows.map((flow) => [tupleText(flow.key), flow])).values()];
    const stepMax = latest.some(({ state }) => state === "closed") ? endsPerTransactionMax : elementsPerTransactionMax;
    await this.#inSteps(latest, stepMax, watched, (some) => {
      const of = (...states: readonly Flow["state"][]): FlowKey[] =>
        some.filter(({ state }) => states.includes(state)).map(({ key }) => key);
      const { link } = watched.follow;
      const [ended, opening, open] = [of("closed"), of("half-open"), of("open", "closing")];
      this.#parts.run(
        [endFlows(link, ended), addHalfOpen(link, opening, halfOpenSeconds), addFlows("follow", link, open)].join(""),
      );
      for (const key of ended) watched.keys.delete(key);
      for (const key of open) watched.keys.add(key);
    });
  }

  /** One transaction a turn of the event loop, so that nothing else of the agent waits for many flows. */
  async #inSteps<T>(
    items: readonly T[],
    stepMax: number,
    { stop: { signal } }: Watched,
    step: (some: readonly T[]) => void,
  ): Promise<void> {
    for (const some of chunksOf(items, stepMax)) {
      signal.throwIfAborted();
      step(some);
      await nextTurn();
    }
  }
}

/** Positive evidence: the owner itself has told of the end. */
function hasEnded(answer: FlowAnswer | undefined, owner: string): boolean {
  return answer?.kind === "closed" && answer.owner === owner;
}

function* chunksOf<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
