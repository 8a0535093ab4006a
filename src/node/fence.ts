/**
 * Fences: who ordered a node's state, and which one it is.
 *
 * A node keeps the fence of its state beside that state, and {@link judgeFence} decides whether a new state may
 * replace it. That is what makes a store that lost writes, or a leader that does not know it was replaced, harmless.
 */

export interface Fence {
  /** Term of the coordinator's lease. */
  readonly term: bigint;
  readonly leader: string;
  /**
   * Names the lease itself, hexadecimal: a store that was emptied counts its terms from one again, and its leases of the
   * same numbers are others. Absent: from a version that did not say.
   */
  readonly lease?: string;
  /** Number of this node's state, one higher with every change. */
  readonly generation: bigint;
  /** SHA-256 of the encoded state, hexadecimal. */
  readonly digest: string;
}

export type FenceVerdict =
  /** Newer than what the node has. */
  | { readonly kind: "apply" }
  /** What the node has already; only term and leader may be newer. */
  | { readonly kind: "repeat" }
  | { readonly kind: "refuse"; readonly reason: string };

export function judgeFence(held: Fence | undefined, offered: Fence): FenceVerdict {
  if (held === undefined) return { kind: "apply" };
  if (offered.term < held.term) return refuse(`term ${offered.term} is below ${held.term}, which this node has seen`);
  if (offered.term === held.term && offered.leader !== held.leader)
    return refuse(`term ${offered.term} belongs to ${held.leader}, not to ${offered.leader}`);
  if (offered.term === held.term && !isSameLease(held, offered))
    return refuse(`term ${offered.term} of ${offered.leader} is another one than this node has seen`);
  if (offered.generation < held.generation)
    return refuse(`generation ${offered.generation} is below ${held.generation}, which this node has applied`);
  if (offered.generation > held.generation) return { kind: "apply" };
  if (offered.digest !== held.digest)
    return refuse(`generation ${offered.generation} was applied before, with other content`);
  return { kind: "repeat" };
}

export function isSameFence(one: Fence | undefined, other: Fence | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  const { term, leader, lease, generation, digest } = one;
  const isSameOrder = term === other.term && leader === other.leader && lease === other.lease;
  return isSameOrder && generation === other.generation && digest === other.digest;
}

/** Of two fences of one term: a lease that either does not name is told by its leader alone. */
function isSameLease(one: Fence, other: Fence): boolean {
  return one.lease === undefined || other.lease === undefined || one.lease === other.lease;
}

function refuse(reason: string): FenceVerdict {
  return { kind: "refuse", reason };
}
