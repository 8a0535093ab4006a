/** Which copy answers, and how long a call waits for it to come to a position. */
import type { IpAddress } from "../flow/address.ts";
import type { ShardPosition } from "../node/state.ts";
import { isNewerLayout, type Layout, layoutOf, shardsOf } from "../placement/layout.ts";
import type { ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import type { DetailedError } from "./errors.ts";
import { type CallContext, Refusal } from "./handler.ts";
import { flowsPerPage } from "./tracker-limits.ts";

/** Of a call without a deadline. */
const waitMaxMs = 30_000;
/** Part of the time that is left which may be spent on waiting; the rest is for the answer's way back. */
const waitShare = 0.9;

/** Throws a {@link Refusal} when this tracker does not answer for the shard. */
export function replicaFor(tracker: Tracker, shard: number): ShardReplica {
  const replica = tracker.replica(shard);
  if (replica !== undefined) return replica;
  if (shard >= tracker.shards)
    throw new Refusal({
      code: "INVALID_ARGUMENT",
      message: `there is no shard ${shard}: the cluster has ${tracker.shards}`,
    });
  throw new Refusal(movedError(tracker, shard));
}

export function movedError(tracker: Tracker, shard: number): DetailedError {
  const { epoch, tracker: other } = tracker.elsewhere(shard);
  if (epoch === undefined) return unknownEpoch;
  const where =
    other === undefined ? "nobody answers for it yet: ask again" : `${other.name} at ${other.endpoint} answers`;
  return {
    code: "SHARD_MOVED",
    message: `shard ${shard} is not answered for here: in epoch ${epoch}, ${where}`,
    details: { epoch: String(epoch), ...(other !== undefined && { leader: other.endpoint }) },
  };
}

/** Throws a {@link Refusal} where the caller goes by an older layout of the address than this tracker. */
export function checkLayout(tracker: Tracker, address: IpAddress, theirs: Layout): void {
  const known = layoutOf(tracker.assignment?.layouts, address);
  if (isNewerLayout(known, theirs)) throw new Refusal(layoutError(tracker, address));
}

/** Throws a {@link Refusal} where flows of the address were told of by a newer layout than the caller's. */
export function checkPlace(tracker: Tracker, { table }: ShardReplica, address: IpAddress, theirs: Layout): void {
  if ((table.placeOf(address)?.generation ?? 0) <= theirs.generation) return;
  // Instances may have heard of an epoch that this tracker has not: one after its own.
  const isAhead = isAheadOf(tracker, table, address);
  throw new Refusal(layoutError(tracker, address, isAhead ? 1n : 0n));
}

/** Instances tell the flows of the address by a layout of which this tracker has not heard. */
export function isAheadOf({ assignment }: Tracker, table: ShardReplica["table"], address: IpAddress): boolean {
  return (table.placeOf(address)?.generation ?? 0) > layoutOf(assignment?.layouts, address).generation;
}

export function layoutError({ assignment }: Tracker, address: IpAddress, ahead = 0n): DetailedError {
  const epoch = String((assignment?.epoch ?? 0n) + ahead);
  return {
    code: "LAYOUT_CHANGED",
    message: `the flows of ${address} lie in other buckets by epoch ${epoch}: ask for the assignment, or ask a coordinator`,
    details: { epoch },
  };
}

/** Which shard of an address is asked for, by this layout. Throws a {@link Refusal}. */
export function shardAsked(tracker: Tracker, address: IpAddress, layout: Layout, named: number | undefined): number {
  checkLayout(tracker, address, layout);
  const shards = shardsOf(address, layout, tracker.shards);
  const shard = named ?? shards[0] ?? 0;
  if (!shards.includes(shard))
    throw new Refusal({ code: "INVALID_ARGUMENT", message: `of.shard: expected one of ${shards}, found ${shard}` });
  return shard;
}

export const unknownEpoch: DetailedError = {
  code: "STORE_UNAVAILABLE",
  message: "this tracker does not know yet who holds which shard: see whether it reaches NATS, and ask another one",
};

/** Returns the positions that were not applied and stored in time; those of shards that are not held here are among them. */
export async function waitForPositions(
  tracker: Tracker,
  positions: readonly ShardPosition[],
  { signal, deadlineMs }: CallContext,
): Promise<ShardPosition[]> {
  if (positions.length === 0) return [];
  const leftMs = Math.max(0, Math.min(waitMaxMs, (deadlineMs - Date.now()) * waitShare));
  const stop = AbortSignal.any([signal, AbortSignal.timeout(Math.trunc(leftMs))]);
  const waits = positions.map(async (position) => {
    const reached = await tracker.replica(position.shard)?.reached(position.sequence, stop);
    return reached === true ? [] : [position];
  });
  return (await Promise.all(waits)).flat();
}

/** The shard's copy, once it has come to what is asked of this shard. Throws a {@link Refusal}. */
export async function caughtUp(
  tracker: Tracker,
  shard: number,
  atLeast: readonly ShardPosition[],
  context: CallContext,
): Promise<ShardReplica> {
  const replica = replicaFor(tracker, shard);
  const asked = atLeast.filter((position) => position.shard === shard);
  const behind = await waitForPositions(tracker, asked, context);
  if (behind.length > 0) throw new Refusal(missedError(tracker, behind));
  return replica;
}

/** Why positions were not reached: a shard may have moved on meanwhile. */
export function missedError(tracker: Tracker, missed: readonly ShardPosition[]): DetailedError {
  const moved = missed.find(({ shard }) => tracker.replica(shard) === undefined);
  return moved === undefined ? behindError(missed) : movedError(tracker, moved.shard);
}

function behindError(behind: readonly ShardPosition[]): DetailedError {
  const shards = [...new Set(behind.map(({ shard }) => shard))].join(",");
  return {
    code: "TRACKER_BEHIND",
    message: `these shards have not reached the positions asked for: ${shards}; try again, or look at the tracker's lag`,
    details: { behind: shards },
  };
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly isLast: boolean;
}

/**
 * Items are taken as pages are; without any there is one empty page. One that is undefined has taken its time to say that there
 * is nothing: what there is by then is a page, for its reader to pause at.
 */
export function* pagesOf<T>(items: Iterable<T | undefined>): Generator<Page<T>> {
  let page: T[] = [];
  for (const item of items) {
    if (page.length === flowsPerPage || item === undefined) {
      yield { items: page, isLast: false };
      page = [];
    }
    if (item !== undefined) page.push(item);
  }
  yield { items: page, isLast: true };
}
