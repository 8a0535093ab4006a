/**
 * The epochs of a cluster: immutable assignments, numbered. Whoever computes the next one creates it under its number;
 * of several that do so at once one succeeds, and the others see what it has decided. The highest number rules.
 */
import type { Assignment } from "./assignment.ts";

export interface EpochLog {
  /** The newest that is known here; undefined: none yet. */
  readonly current: Assignment | undefined;
  /**
   * Stores `next`, or tells that its number is somebody else's; either way {@link current} is that epoch or a newer one
   * afterwards. Numbers that are taken by records nobody can read are passed over: it is stored under the first one after
   * them. Waits while the store is away; throws the abort reason.
   */
  create(next: Assignment, signal: AbortSignal): Promise<"created" | "taken">;
  /** The newest that is known, then every newer one; of several that come together the last. Throws the abort reason. */
  changes(signal: AbortSignal): AsyncGenerator<Assignment>;
}

/** Epochs before the current one, as far as they are remembered: who held a shard then may still have it. */
export interface EpochHistory extends EpochLog {
  /** Newest first, at most {@link earlierEpochsMax}. */
  readonly earlier: readonly Assignment[];
}

export const earlierEpochsMax = 8;
