/** What a process of `baton` ends with. */
import type { ErrorCode } from "../../src/remap/error.ts";

export const exitCodes = {
  done: 0,
  failed: 1,
  wrongUsage: 2,
  /** Nothing was begun: the cluster's state does not allow it. */
  refused: 3,
  unreachable: 4,
  /** Ctrl-C: watching ended, what was watched did not. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const { failed, wrongUsage, refused, unreachable } = exitCodes;

export const exitCodeOf: Record<ErrorCode, ExitCode> = {
  INVALID_ARGUMENT: wrongUsage,
  UNKNOWN_ADDRESS: refused,
  UNKNOWN_INSTANCE: refused,
  UNKNOWN_GATEWAY: refused,
  UNKNOWN_REMAP: refused,
  UNKNOWN_PRIVATE: refused,
  ADDRESS_EXISTS: refused,
  ADDRESS_BUSY: refused,
  PRIVATE_IN_USE: refused,
  NO_FREE_PRIVATE: refused,
  SOURCE_IS_TARGET: refused,
  INSTANCE_DOWN: refused,
  GATEWAY_DOWN: refused,
  REMAP_IN_PROGRESS: refused,
  MTU_TOO_SMALL: refused,
  CHANNEL_UNPROVEN: refused,
  CHANNEL_UNAVAILABLE: refused,
  WRONG_PHASE: refused,
  NODE_HELD_BACK: refused,
  NO_OFFLINE_HOOK: refused,
  UNSUPPORTED: refused,
  LIMIT_EXCEEDED: refused,
  UNKNOWN_MEMBER: refused,
  NOTHING_TO_MOVE: refused,
  SHARD_BEHIND: refused,
  ABORTED_BY_OPERATOR: failed,
  NODE_TIMEOUT: failed,
  NODE_FAILED: failed,
  TRACKER_BEHIND: failed,
  STORE_UNAVAILABLE: failed,
  INTERNAL: failed,
  NOT_LEADER: unreachable,
  SHARD_MOVED: unreachable,
  LAYOUT_CHANGED: unreachable,
};
