/** Which tracker holds which shard: one epoch of it. next-assignment.ts computes the next. */

import type { LayoutMap } from "./layout.ts";
import { nextAssignment } from "./next-assignment.ts";
import { nothingKnown } from "./situation.ts";

export interface Tracker {
  readonly name: string;
  /** host:port or unix:PATH */
  readonly endpoint: string;
}

export interface ShardHolders {
  readonly primary: Tracker;
  /** Absent: the shard has one copy. Never the primary. */
  readonly standby?: Tracker;
  /** An operator has chosen the primary: it stays until the shard is moved again or unpinned. */
  readonly pinned?: true;
}

export interface Assignment {
  readonly epoch: bigint;
  /** Index: shard. */
  readonly holders: readonly ShardHolders[];
  /** Of addresses that have, or had, more than one bucket; absent: there are none. */
  readonly layouts?: LayoutMap;
}

/**
 * An assignment of trackers that nothing is known of but that they are there. Trackers' names are distinct, and there is
 * at least one.
 */
export function assignShards(epoch: bigint, shards: number, trackers: readonly Tracker[]): Assignment {
  const candidates = trackers.map(
    (tracker) => ({ ...tracker, state: "alive", load: 0, cpus: 1, memoryBytes: 1024 ** 4, hosting: "ready" }) as const,
  );
  const first = nextAssignment({ ...nothingKnown, shards, candidates });
  if (first.kind === "unchanged") throw new RangeError("there is no tracker to hold a shard");
  return { ...first.next, epoch };
}

export function holdersOf(assignment: Assignment, shard: number): readonly Tracker[] {
  const holders = assignment.holders[shard];
  if (holders === undefined) return [];
  return holders.standby === undefined ? [holders.primary] : [holders.primary, holders.standby];
}

export function shardsOf(assignment: Assignment, tracker: string): number[] {
  return assignment.holders.flatMap((_, shard) =>
    holdersOf(assignment, shard).some((holder) => holder.name === tracker) ? [shard] : [],
  );
}
