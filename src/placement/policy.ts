/** The figures that placement goes by. */

export interface PlacementPolicy {
  /** How far above its part a member may be: the ε of consistent hashing with bounded loads. */
  readonly slack: number;
  /** Copies that are being made at a time. */
  readonly handoffsMax: number;
  /** Primaries that change places with their standbys in one epoch: each sends clients elsewhere, and copies nothing. */
  readonly swapsMax: number;
  /** From one epoch to the next one that nothing compels. */
  readonly moveIntervalMs: number;
  /**
   * From one epoch to the next one that relieves a member: its load must show first what the last one did. Doubled for each
   * that there was of late: where relief does not end, the cause is not among what it moves.
   */
  readonly reliefIntervalMs: number;
  /** What a new holder has told of a shard before that may be from when it held it last. */
  readonly toldMs: number;
  /** Where nobody tells who has caught up: how long a copy takes. */
  readonly handoffMs: number;
  /** A copy that has not caught up by then no longer keeps others waiting. */
  readonly handoffMaxMs: number;
  /** A shard that has moved is not moved on for a load before that. */
  readonly restMs: number;
  /** How long a member must be over-loaded to be relieved. */
  readonly overloadedMs: number;
  /** How long it must not have been so to be given shards again: giving is fast, taking back slow. */
  readonly calmMs: number;
}

export const defaultPolicy: PlacementPolicy = {
  slack: 0.25,
  handoffsMax: 4,
  swapsMax: 4,
  moveIntervalMs: 10_000,
  reliefIntervalMs: 60_000,
  toldMs: 10_000,
  handoffMs: 30_000,
  handoffMaxMs: 600_000,
  restMs: 120_000,
  overloadedMs: 30_000,
  calmMs: 600_000,
};
