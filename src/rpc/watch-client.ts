/**
 * Follows the flows of an address through breaks, crashes and moves of the trackers that tell of them.
 *
 * The flows of an address with several buckets are told of by as many shards, each in its own order; what one shard tells
 * is passed on in that order. All of them begin with a snapshot, or none.
 */
import { isSameLayout, type Layout } from "../placement/layout.ts";
import { merged } from "../runtime/merged.ts";
import { sleep } from "../runtime/retry.ts";
import { serverStream } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import {
  positionsToProto,
  readFlow,
  readWatchPositions,
  type WatchPosition,
  watchPositionsToProto,
} from "./flow-codec.ts";
import { addressShardToProto } from "./layout-codec.ts";
import { WatchedFlows } from "./moving-flows.ts";
import type { AddressShards, Bounds, TrackerDirectory } from "./tracker-directory.ts";
import type { WatchEvent, WatchQuery } from "./tracker-queries.ts";

/** Before a watch that broke is begun again; doubled by chance, so that many watchers don't return together. */
const resumeWaitMs = 250;

/** What one shard tells. */
interface Part {
  readonly shard: number;
  readonly kind: WatchEvent["kind"];
  readonly flows: WatchEvent["flows"];
  readonly complete: boolean;
  readonly positions: readonly WatchPosition[];
}

type Told = { readonly event: WatchEvent; readonly positions: readonly WatchPosition[] };

/** A shard can't go on where the watch was, so that all have to begin anew. */
class SnapshotNeeded extends Error {}

export class WatchClient {
  readonly #directory: TrackerDirectory;

  constructor(directory: TrackerDirectory) {
    this.#directory = directory;
  }

  /**
   * All flows that match, then every change to them, until the signal aborts. Resumes by itself where it was; where the
   * tracker can't tell what has changed since, with a new snapshot, of which the first part says that it begins.
   */
  async *watch(query: WatchQuery, signal: AbortSignal): AsyncGenerator<WatchEvent, void, undefined> {
    let seen: readonly WatchPosition[] = [];
    let layout: Layout | undefined;
    for (;;) {
      try {
        const of = await this.#directory.shardsFor(query.address, query.atLeast ?? [], boundsOf(signal));
        // What has ended on its way to another shard, only a new snapshot shows.
        if (layout === undefined || !isSameLayout(layout, of.layout)) seen = [];
        layout = of.layout;
        for await (const { event, positions } of this.#watchOnce(query, of, seen, signal)) {
          if (event.flows.length > 0 || event.kind === "snapshot") yield event;
          // Half a snapshot is no state to go on from.
          seen = event.kind === "snapshot" && !event.complete ? [] : positions;
        }
      } catch (error) {
        signal.throwIfAborted();
        // The stream may have gone back behind what was seen; what the caller asked for still holds.
        if (error instanceof SnapshotNeeded || fromServiceError(error).code === "TRACKER_BEHIND") seen = [];
      }
      await sleep(resumeWaitMs * (1 + Math.random()), signal);
    }
  }

  async *#watchOnce(
    query: WatchQuery,
    of: AddressShards,
    seen: readonly WatchPosition[],
    signal: AbortSignal,
  ): AsyncGenerator<Told, void, undefined> {
    // Where flows still are, before where they go to.
    const shards = of.shards.toReversed();
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, ended.signal]);
    const parts = shards.map((shard) => this.#parts(query, { ...of, shard }, seen, stop));
    try {
      const watched = new WatchedFlows(of.layout, await this.#directory.shards(boundsOf(signal)));
      yield* together(shards, parts, seen, watched);
    } finally {
      ended.abort(new Error("the watch has ended"));
      await Promise.allSettled(parts.map((part) => part.return()));
    }
  }

  /** Of one shard. */
  async *#parts(
    query: WatchQuery,
    of: AddressShards & { readonly shard: number },
    seen: readonly WatchPosition[],
    signal: AbortSignal,
  ): AsyncGenerator<Part, void, undefined> {
    const request = {
      address: query.address,
      owner: query.owner ?? "",
      after: watchPositionsToProto(seen),
      atLeast: positionsToProto(query.atLeast ?? []),
      of: addressShardToProto(of),
    };
    const pages = this.#directory.stream(of.shard, boundsOf(signal), (client, stop) =>
      serverStream(client, "watchFlows", request, { signal: stop }),
    );
    for await (const { content, snapshotComplete } of pages) {
      if (content === undefined) continue;
      const flows = content.value.flows.map((flow) => readFlow("flow", flow));
      const positions = readWatchPositions("positions", content.value.positions);
      yield { shard: of.shard, kind: content.$case, flows, complete: snapshotComplete, positions };
    }
  }
}

function boundsOf(signal: AbortSignal): Bounds {
  return { signal, endMs: Number.POSITIVE_INFINITY };
}

/** Snapshots one after the other, then changes as they come. */
async function* together(
  shards: readonly number[],
  parts: readonly AsyncGenerator<Part, void, undefined>[],
  seen: readonly WatchPosition[],
  watched: WatchedFlows,
): AsyncGenerator<Told, void, undefined> {
  const currentOf = ({ shard, flows }: Part) => flows.filter((flow) => watched.isCurrent(flow, shard));
  const reached = new Map(seen.map((position) => [position.shard, position]));
  const isFresh = !shards.every((shard) => reached.has(shard));
  if (isFresh) reached.clear();
  const note = (positions: readonly WatchPosition[]): readonly WatchPosition[] => {
    for (const position of positions) reached.set(position.shard, position);
    return [...reached.values()];
  };
  let first = true;
  for (const [index, part] of parts.entries()) {
    if (!isFresh) break;
    const isLast = index === parts.length - 1;
    for (let isComplete = false; !isComplete; first = false) {
      const { done, value } = await part.next();
      if (done || value.kind !== "snapshot") throw new SnapshotNeeded("a shard told no snapshot");
      isComplete = value.complete;
      const positions = note(value.positions);
      const event = {
        kind: "snapshot",
        flows: currentOf(value),
        first,
        complete: isComplete && isLast,
        positions,
      } as const;
      yield { event, positions };
    }
  }
  for await (const part of merged(parts)) {
    const { kind, complete } = part;
    const flows = currentOf(part);
    const positions = note(part.positions);
    if (kind === "changes") yield { event: { kind, flows, positions }, positions };
    else if (parts.length > 1) throw new SnapshotNeeded("a shard began anew");
    else yield { event: { kind, flows, first, complete, positions }, positions };
    first = false;
  }
}
