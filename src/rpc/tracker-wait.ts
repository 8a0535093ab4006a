/** Which copy answers, and how long a call waits for it to come to a position. */
import type { ShardPosition } from "../node/state.ts";
import type { ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import type { DetailedError } from "./errors.ts";
import { type CallContext, Refusal } from "./handler.ts";
import { flowsPerPage } from "./tracker-limits.ts";

/** Of a call without a deadline. */
const waitMaxMs = 30_000;
/** Part of the time that is left which may be spent on waiting; the rest is for the answer's way back. */
const waitShare = 0.9;

/** Throws a {@link Refusal} when this tracker does not hold the shard. */
export function replicaFor(tracker: Tracker, shard: number): ShardReplica {
  const replica = tracker.replica(shard);
  if (replica !== undefined) return replica;
  const [primary] = tracker.holdersOf(shard);
  if (primary === undefined)
    throw new Refusal({
      code: "INVALID_ARGUMENT",
      message: `there is no shard ${shard}: the cluster has ${tracker.shards}`,
    });
  const { epoch } = tracker.assignment;
  throw new Refusal({
    code: "SHARD_MOVED",
    message: `shard ${shard} is not held here: in epoch ${epoch}, ${primary.name} at ${primary.endpoint} holds it`,
    details: { epoch: String(epoch), leader: primary.endpoint },
  });
}

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
  if (behind.length > 0) throw new Refusal(behindError(behind));
  return replica;
}

export function behindError(behind: readonly ShardPosition[]): DetailedError {
  const shards = [...new Set(behind.map(({ shard }) => shard))].join(",");
  return {
    code: "TRACKER_BEHIND",
    message: `these shards have not reached the positions asked for: ${shards}; try again, or look at the tracker's lag`,
    details: { behind: shards },
  };
}

export function* pagesOf<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += flowsPerPage) yield items.slice(start, start + flowsPerPage);
}
