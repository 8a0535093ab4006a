/** Why something was refused or failed: the closed list of proto/baton/v1/remap.proto, as values. */

export const errorCodes = [
  "INVALID_ARGUMENT",
  "UNKNOWN_ADDRESS",
  "UNKNOWN_INSTANCE",
  "UNKNOWN_GATEWAY",
  "UNKNOWN_REMAP",
  "ADDRESS_EXISTS",
  "ADDRESS_BUSY",
  "PRIVATE_IN_USE",
  "UNKNOWN_PRIVATE",
  "NO_FREE_PRIVATE",
  "SOURCE_IS_TARGET",
  "INSTANCE_DOWN",
  "GATEWAY_DOWN",
  "REMAP_IN_PROGRESS",
  "MTU_TOO_SMALL",
  "CHANNEL_UNPROVEN",
  "CHANNEL_UNAVAILABLE",
  "NODE_TIMEOUT",
  "NODE_FAILED",
  "NODE_HELD_BACK",
  "TRACKER_BEHIND",
  "WRONG_PHASE",
  "NOT_LEADER",
  "STORE_UNAVAILABLE",
  "UNSUPPORTED",
  "ABORTED_BY_OPERATOR",
  "INTERNAL",
  "LIMIT_EXCEEDED",
  "NO_OFFLINE_HOOK",
  "SHARD_MOVED",
  "UNKNOWN_MEMBER",
  "NOTHING_TO_MOVE",
  "SHARD_BEHIND",
  "LAYOUT_CHANGED",
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** An expected refusal or failure: a value, not an exception. `message` names the cause and the next step. */
export interface BatonError {
  readonly code: ErrorCode;
  readonly message: string;
}
