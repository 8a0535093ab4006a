/**
 * Whom a copy that has nothing takes a shard from, and whether it copies or builds it from the stream. Pure.
 */
import { type Assignment, holdersOf, type Tracker } from "../placement/assignment.ts";
import type { PeerReplica } from "./peers.ts";

/** Trackers that may have a shard: who holds it now, then who did in earlier epochs, the newest first. */
export function candidatesFor(
  shard: number,
  self: string,
  current: Assignment,
  earlier: readonly Assignment[],
): readonly Tracker[] {
  const found = new Map<string, Tracker>();
  for (const assignment of [current, ...earlier])
    for (const holder of holdersOf(assignment, shard))
      if (holder.name !== self && !found.has(holder.name) && found.size < candidatesMax) found.set(holder.name, holder);
  return [...found.values()];
}

export const candidatesMax = 8;

export interface Asked {
  readonly tracker: Tracker;
  /** "silent": it did not answer. "none": it has nothing of the shard. */
  readonly replica: PeerReplica | "silent" | "none";
  /** It held the shard in an earlier epoch, so it should have it. */
  readonly former: boolean;
}

export type GiverChoice =
  | { readonly kind: "found"; readonly tracker: Tracker }
  /** Somebody should have it, and may soon be able to give it. */
  | { readonly kind: "wait" }
  | { readonly kind: "nobody" };

/** Of those who answer for the shard the one that has come furthest; a whole copy before one that misses messages. */
export function chooseGiver(asked: readonly Asked[]): GiverChoice {
  const able = asked.flatMap(({ tracker, replica }) =>
    typeof replica === "object" && canGive(replica) ? [{ tracker, replica }] : [],
  );
  able.sort(
    (a, b) =>
      Number(b.replica.complete) - Number(a.replica.complete) || (a.replica.applied < b.replica.applied ? 1 : -1),
  );
  const [best] = able;
  if (best !== undefined) return { kind: "found", tracker: best.tracker };
  const mayCome = asked.some(({ replica, former }) =>
    typeof replica === "object"
      ? replica.phase === "tailing" && (replica.flows > 0 || former)
      : replica === "silent" && former,
  );
  return mayCome ? { kind: "wait" } : { kind: "nobody" };
}

function canGive({ phase }: PeerReplica): boolean {
  return phase === "serving" || phase === "leaving";
}

/** Messages of the whole stream that are read faster than a copy is asked for, sent and stored. */
export const replayMessagesMax = 5_000n;

/** The stream has all that ever was, and not much of it. */
export function isReplayCheaper(range: { readonly first: bigint; readonly last: bigint }): boolean {
  return range.first <= 1n && range.last <= replayMessagesMax;
}
