/** What a tracker answers when it is asked for a flow. */
import type { Flow } from "./flow.ts";

export type FlowAnswer =
  | { readonly kind: "owned"; readonly flow: Flow }
  /** Positive evidence that the flow was there and has ended. */
  | { readonly kind: "closed"; readonly owner: string; readonly appliedSequence: bigint }
  /** The shard is complete and has no such flow. No evidence about a flow younger than the sequence. */
  | { readonly kind: "absent"; readonly appliedSequence: bigint }
  /** The shard can't say: it is behind, being rebuilt, or served elsewhere. */
  | { readonly kind: "unknown"; readonly reason: string };
