/** All that the next assignment is computed from. Who knows the same computes the same. */
import type { Assignment } from "./assignment.ts";
import type { Candidate } from "./candidate.ts";
import { type LoadHistory, noLoads } from "./load-history.ts";
import { defaultPolicy, type PlacementPolicy } from "./policy.ts";

export interface Situation {
  readonly shards: number;
  /** In any order; names are distinct. */
  readonly candidates: readonly Candidate[];
  readonly previous: Assignment | undefined;
  /** Shard → the member that an operator wants its primary at. Ignored while that member is away or to stop. */
  readonly pins: ReadonlyMap<number, string>;
  readonly loads: LoadHistory;
  /** By some clock that never goes back. */
  readonly nowMs: number;
  /** When the previous epoch came; absent: nobody remembers, so it is long ago. */
  readonly epochAtMs?: number;
  /** Shard → when its holders last changed; absent: long ago. */
  readonly movedAtMs: ReadonlyMap<number, number>;
  /** Shard → holder → since when it is one; absent: long ago. */
  readonly heldSinceMs: ReadonlyMap<number, ReadonlyMap<string, number>>;
  /** Epochs of late that relieved somebody. */
  readonly reliefs: number;
  readonly policy: PlacementPolicy;
}

/** Before anything has been seen: what there is beside the members. */
export const nothingKnown: Omit<Situation, "shards" | "candidates"> = {
  previous: undefined,
  pins: new Map(),
  loads: noLoads,
  nowMs: 0,
  movedAtMs: new Map(),
  heldSinceMs: new Map(),
  reliefs: 0,
  policy: defaultPolicy,
};
