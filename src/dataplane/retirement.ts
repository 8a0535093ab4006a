/**
 * When a translation on its way out may go: once its counter has stood still for a while, and at the latest after a
 * bound, for a source that never falls silent must not hold up a drain.
 */
import type { IpAddress } from "../flow/address.ts";

/** The design's dwell: the last packets of the old way are under way for much less. */
export const quietMs = 1_000;
export const retirementMaxMs = 10_000;

export interface RetirementWatch {
  readonly packets: bigint;
  /** By a clock that never goes back, as all times here. */
  readonly startedMs: number;
  readonly changedMs: number;
}

export type RetirementWatches = ReadonlyMap<IpAddress, RetirementWatch>;

/** The watches after a look at the counters. What is no longer counted is no longer watched. */
export function watchRetiring(
  watches: RetirementWatches,
  packets: ReadonlyMap<IpAddress, bigint>,
  nowMs: number,
): RetirementWatches {
  const next = new Map<IpAddress, RetirementWatch>();
  for (const [address, count] of packets) {
    const watch = watches.get(address);
    if (watch === undefined) next.set(address, { packets: count, startedMs: nowMs, changedMs: nowMs });
    else next.set(address, watch.packets === count ? watch : { ...watch, packets: count, changedMs: nowMs });
  }
  return next;
}

export function dueToGo(watches: RetirementWatches, nowMs: number): readonly IpAddress[] {
  return [...watches]
    .filter(([, watch]) => nowMs - watch.changedMs >= quietMs || nowMs - watch.startedMs >= retirementMaxMs)
    .map(([address]) => address);
}
