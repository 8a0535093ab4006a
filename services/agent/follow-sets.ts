/**
 * Keeps the kernel's sets of followed flows filled from the tracker.
 *
 * One watch for each followed owner: first everything the tracker knows, then every change. Only what the owner has
 * said removes an entry (SPEC E5): what the sets hold and a later snapshot leaves out is asked about, and stays unless it
 * has ended. So ends that came while this agent was dead, or the tracker away, are learnt as well.
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
import type { WatchEvent, WatchQuery } from "../../src/rpc/tracker-queries.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";

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
  /** An earlier run of the agent has filled the link's sets. */
  hasInherited(link: LinkId): boolean;
  /** Visits what the kernel's sets of a link hold, flows of this address. */
  visitEntries(link: LinkId, address: IpAddress, visit: (key: FlowKey) => void, signal: AbortSignal): Promise<void>;
  readonly onLoaded: () => void;
  readonly log: Logger;
}

/** As long as a handshake's answers are retransmitted. */
const halfOpenSeconds = 64;
const rewatchMs = 1_000;
const keysPerLookup = 1_000;
/** A tracker that is building its shard anew may take minutes until it can say that a flow has ended. */
const askAgainMs = 5_000;
const askRoundsMax = 240;

interface Watched {
  readonly address: IpAddress;
  readonly follow: Follow;
  readonly stop: AbortController;
  /** The sets may hold what the next snapshot leaves out. */
  filled: boolean;
  /** What the snapshot under way has named; absent where that need not be known. */
  named?: Set<string>;
  /** In the sets, left out by the last snapshot, and not told of since. */
  readonly doubted: Map<string, FlowKey>;
  asking: boolean;
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
    const filled = this.#parts.hasInherited(follow.link);
    const watched: Watched = {
      address,
      follow,
      stop: new AbortController(),
      filled,
      doubted: new Map(),
      asking: false,
      entries: 0,
      loaded: false,
    };
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
    if (event.kind === "snapshot" && event.first && watched.filled) watched.named = new Set();
    for (const { key } of flows) watched.doubted.delete(tupleText(key));
    await this.#write(flows, watched);
    if (event.kind !== "snapshot") return;
    for (const { key } of flows) watched.named?.add(tupleText(key));
    watched.entries = event.flows.length + (event.first ? 0 : watched.entries);
    if (!event.complete) return;
    if (!watched.loaded) {
      watched.loaded = true;
      this.#parts.onLoaded();
    }
    const { named } = watched;
    delete watched.named;
    watched.filled = true;
    if (named !== undefined) await this.#doubtUnnamed(named, event.positions, watched);
  }

  /** A snapshot that was not the first may leave out flows that are in the sets: only those that have ended leave them. */
  async #doubtUnnamed(named: ReadonlySet<string>, atLeast: readonly ShardPosition[], watched: Watched): Promise<void> {
    const { address, follow, stop, doubted } = watched;
    const note = (key: FlowKey) => !named.has(tupleText(key)) && doubted.set(tupleText(key), key);
    await this.#parts.visitEntries(follow.link, address, note, stop.signal);
    if (doubted.size === 0 || watched.asking) return;
    watched.asking = true;
    this.#ask(atLeast, watched)
      .catch((error: unknown) => {
        if (!isAbort(error, stop.signal)) this.#parts.log.warn({ error }, "followed flows that may have ended stay");
      })
      .finally(() => {
        watched.asking = false;
      });
  }

  /** Until nothing is doubted: whoever can't say now is asked again. Beside the watch, whose changes are never held up. */
  async #ask(atLeast: readonly ShardPosition[], watched: Watched): Promise<void> {
    const { follow, stop, doubted } = watched;
    for (let round = 0; round < askRoundsMax && doubted.size > 0; round++) {
      if (round > 0) await sleep(askAgainMs, stop.signal);
      for (const asked of chunksOf([...doubted.values()], keysPerLookup)) {
        const answers = await this.#parts.lookup(asked, atLeast, stop.signal);
        // What the watch has told of meanwhile is no longer doubted, and its word is the later one.
        const ended = asked.filter((key, index) => {
          const answer = answers[index];
          const settled = answer?.kind !== "unknown" && doubted.delete(tupleText(key));
          return settled && hasEnded(answer, follow.owner);
        });
        await this.#inSteps(ended, endsPerTransactionMax, watched, (some) => {
          this.#parts.run(endFlows(follow.link, some));
        });
      }
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

/** Names a flow among those of one address. */
function tupleText({ peer, peerPort, port }: FlowKey): string {
  return `${peer} ${peerPort} ${port}`;
}

function* chunksOf<T>(items: readonly T[], size: number): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += size) yield items.slice(start, start + size);
}
