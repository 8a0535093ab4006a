/** The next epoch when an operator moves a shard, or lets it be moved again. Pure. */
import { type Assignment, holdersOf, type ShardHolders, type Tracker } from "./assignment.ts";

export type Moved =
  | { readonly ok: true; readonly next: Assignment }
  /** `reason`: a sentence for the operator. */
  | { readonly ok: false; readonly reason: string };

/**
 * `to` becomes the primary, pinned. The standby stays; when it is the one that becomes primary, the primary becomes
 * standby. A shard with one copy keeps to one.
 */
export function moveShard(current: Assignment, shard: number, to: Tracker): Moved {
  const holders = current.holders[shard];
  if (holders === undefined) return { ok: false, reason: noSuchShard(current, shard) };
  if (holders.primary.name === to.name) return { ok: false, reason: `shard ${shard} is at ${to.name} already` };
  const standby = holders.standby?.name === to.name ? holders.primary : holders.standby;
  return changed(current, shard, { primary: to, ...(standby !== undefined && { standby }), pinned: true });
}

export function unpinShard(current: Assignment, shard: number): Moved {
  const holders = current.holders[shard];
  if (holders === undefined) return { ok: false, reason: noSuchShard(current, shard) };
  if (holders.pinned === undefined) return { ok: false, reason: `shard ${shard} is not pinned` };
  const { pinned: _, ...free } = holders;
  return changed(current, shard, free);
}

/** By name; of one that is named with several endpoints, the endpoint of the lowest shard. */
export function trackersOf(assignment: Assignment): ReadonlyMap<string, Tracker> {
  const found = new Map<string, Tracker>();
  for (const shard of assignment.holders.keys())
    for (const holder of holdersOf(assignment, shard)) if (!found.has(holder.name)) found.set(holder.name, holder);
  return found;
}

function noSuchShard({ holders }: Assignment, shard: number): string {
  return `there is no shard ${shard}: the cluster has ${holders.length}, numbered from 0`;
}

function changed(current: Assignment, shard: number, to: ShardHolders): Moved {
  const { epoch, holders } = current;
  return { ok: true, next: { ...current, epoch: epoch + 1n, holders: holders.with(shard, to) } };
}
