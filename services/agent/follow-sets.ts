/**
 * Keeps the kernel's sets of followed flows filled from the tracker.
 *
 * One watch for each followed owner: first everything the tracker knows, then every change. Only what the owner has
 * said removes an entry: a flow that the tracker merely does not know stays.
 */
import { addFlows, addHalfOpen, elementsPerTransactionMax, endFlows } from "../../src/dataplane/elements.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { Flow, FlowKey } from "../../src/flow/flow.ts";
import type { AgentAddress, Follow, LinkId } from "../../src/node/state.ts";
import type { LoadReport } from "../../src/node/status.ts";
import type { WatchEvent, WatchQuery } from "../../src/rpc/tracker-client.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";

export interface FollowSetsParts {
  /** Flows of an owner, then their changes, until aborted; resumes by itself. */
  watch(query: WatchQuery, signal: AbortSignal): AsyncIterable<WatchEvent>;
  /** Runs an nft transaction; throws when the kernel refuses. */
  run(commands: string): void;
  readonly onLoaded: () => void;
  readonly log: Logger;
}

/** As long as a handshake's answers are retransmitted. */
const halfOpenSeconds = 64;
const rewatchMs = 1_000;

interface Watched {
  readonly loadId: string;
  readonly stop: AbortController;
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
      if (wanted.some(({ follow }) => follow.link === link && follow.loadId === watched.loadId)) continue;
      watched.stop.abort();
      this.#watched.delete(link);
    }
    for (const { address, follow } of wanted) if (!this.#watched.has(follow.link)) this.#begin(address.address, follow);
  }

  loads(): LoadReport[] {
    return [...this.#watched.values()]
      .filter((watched) => watched.loaded)
      .map(({ loadId, entries }) => ({ id: loadId, entries }));
  }

  [Symbol.dispose](): void {
    for (const watched of this.#watched.values()) watched.stop.abort();
    this.#watched.clear();
  }

  #begin(address: IpAddress, follow: Follow): void {
    const watched: Watched = { loadId: follow.loadId, stop: new AbortController(), entries: 0, loaded: false };
    this.#watched.set(follow.link, watched);
    void this.#run(address, follow, watched);
  }

  async #run(address: IpAddress, follow: Follow, watched: Watched): Promise<void> {
    const { signal } = watched.stop;
    const query = { address, owner: follow.owner, atLeast: follow.loadAtLeast };
    while (!signal.aborted) {
      try {
        for await (const event of this.#parts.watch(query, signal)) this.#take(follow.link, event, watched);
        signal.throwIfAborted();
        throw new Error("the tracker ended the watch");
      } catch (error) {
        if (isAbort(error, signal)) return;
        this.#parts.log.warn(
          { error, address, owner: follow.owner },
          "flows of the owner can't be watched: trying again",
        );
      }
      await sleep(rewatchMs, signal).catch(() => undefined);
    }
  }

  #take(link: LinkId, event: WatchEvent, watched: Watched): void {
    if (watched.stop.signal.aborted) return;
    for (let start = 0; start < event.flows.length; start += elementsPerTransactionMax)
      this.#write(link, event.flows.slice(start, start + elementsPerTransactionMax));
    if (event.kind !== "snapshot") return;
    watched.entries = event.flows.length + (event.first ? 0 : watched.entries);
    if (!event.complete || watched.loaded) return;
    watched.loaded = true;
    this.#parts.onLoaded();
  }

  #write(link: LinkId, flows: readonly Flow[]): void {
    const keys = (...states: readonly Flow["state"][]): FlowKey[] =>
      flows.filter((flow) => flow.key.protocol === "tcp" && states.includes(flow.state)).map((flow) => flow.key);
    const commands = [
      endFlows(link, keys("closed")),
      addHalfOpen(link, keys("half-open"), halfOpenSeconds),
      addFlows("follow", link, keys("open", "closing")),
    ].join("");
    if (commands !== "") this.#parts.run(commands);
  }
}
