/**
 * Which tracker holds which shard: the pure function that everyone computes alike.
 *
 * `hashring` gives each shard its own order of trackers, so that a tracker that comes or goes moves few shards. It is
 * asked once for each shard and epoch, without weights, which would move other trackers' points.
 */
import HashRing from "hashring";

export interface Tracker {
  readonly name: string;
  /** host:port or unix:PATH */
  readonly endpoint: string;
}

export interface ShardHolders {
  readonly primary: Tracker;
  /** Absent: the shard has one copy. Never the primary. */
  readonly standby?: Tracker;
}

export interface Assignment {
  readonly epoch: bigint;
  /** Index: shard. */
  readonly holders: readonly ShardHolders[];
}

/** Trackers' names are distinct, and there is at least one. */
export function assignShards(epoch: bigint, shards: number, trackers: readonly Tracker[]): Assignment {
  const byName = new Map(trackers.map((tracker) => [tracker.name, tracker]));
  if (byName.size !== trackers.length) throw new RangeError("two trackers have the same name");
  const ring = new HashRing([...byName.keys()].sort());
  const holders = Array.from({ length: shards }, (_, shard) => {
    const [primary, standby] = ring.range(`shard ${shard}`, 2).map((name) => byName.get(name));
    if (primary === undefined) throw new RangeError("there is no tracker to hold a shard");
    return standby === undefined ? { primary } : { primary, standby };
  });
  return { epoch, holders };
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
