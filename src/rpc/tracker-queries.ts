/** What trackers are asked, and what they answer, as their clients speak of it. */
import type { IpAddress } from "../flow/address.ts";
import type { Flow } from "../flow/flow.ts";
import type { ShardPosition } from "../node/state.ts";

/** Why a flow that is not found is not absent for sure. */
export const movingReason = "the flows of its address are on their way to other buckets";

/** Times that a question is asked anew because the flows of an address lie elsewhere by then. */
export const layoutAttemptsMax = 4;

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
}

export interface ListQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
  /** None: all. */
  readonly limit?: number;
  readonly atLeast?: readonly ShardPosition[];
}

export interface WatchQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly atLeast?: readonly ShardPosition[];
}

export interface CountQuery {
  readonly address?: IpAddress;
  /** Without an address: of these; without either: of all. */
  readonly shards?: readonly number[];
  readonly atLeast?: readonly ShardPosition[];
}

export type WatchEvent =
  /** `first`: what earlier events told begins anew. `complete`: the last part. */
  | {
      readonly kind: "snapshot";
      readonly flows: Flow[];
      readonly first: boolean;
      readonly complete: boolean;
      /** As of where in the event stream. */
      readonly positions: readonly ShardPosition[];
    }
  /** In order; a closed flow is gone. */
  | { readonly kind: "changes"; readonly flows: Flow[]; readonly positions: readonly ShardPosition[] };

export interface FlowCounts {
  readonly counts: readonly {
    readonly address: IpAddress;
    readonly owner: string;
    /** Open, half-open and closing ones together. */
    readonly flows: number;
    readonly halfOpen: number;
  }[];
  readonly positions: readonly ShardPosition[];
  /** False: a shard concerned is being rebuilt, and counts may be too low. */
  readonly complete: boolean;
}

export type BarrierOutcome =
  | { readonly reached: true }
  /** Shards that had not come to their positions when time was up. */
  | { readonly reached: false; readonly behind: readonly number[] };
