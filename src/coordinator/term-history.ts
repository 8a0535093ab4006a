/**
 * Which states that nodes hold the store can explain: those of leases that it has, and those that an operator has accepted.
 * Pure.
 *
 * A store that was emptied, or put back from a copy, knows nothing of what the nodes pass on; what a leader would compute
 * from it would take their addresses away (invariant F7). So it orders such nodes nothing.
 */
import type { Fence } from "../node/fence.ts";

/** A term as the store tells of it. */
export interface KnownTerm {
  readonly leader: string;
  readonly lease: string;
}

/** The leadership that judges. */
export interface OwnTerm {
  readonly term: bigint;
  readonly name: string;
  readonly lease: string;
}

export type FenceOrigin =
  /** Ordered by this store's leaders, or accepted. */
  | { readonly kind: "known" }
  /** It proves that this leader is stale, or that its store has gone back. */
  | { readonly kind: "newer" }
  /** `acceptable`: an operator may accept it; a leader of this store can give it orders then. */
  | { readonly kind: "unexplained"; readonly reason: string; readonly acceptable: boolean };

/** A term further above the newest of the store than this is no term: claiming the next one would use up the numbers. */
export const termsAheadMax = 1_000_000n;

export class TermHistory {
  readonly #terms: ReadonlyMap<bigint, KnownTerm>;
  /** Whatever terms up to this one have ordered is accepted; 0: nothing is. */
  #accepted: bigint;

  constructor(terms: ReadonlyMap<bigint, KnownTerm>, accepted: bigint) {
    this.#terms = terms;
    this.#accepted = accepted;
  }

  get accepted(): bigint {
    return this.#accepted;
  }

  accept(term: bigint): void {
    if (term > this.#accepted) this.#accepted = term;
  }

  /** Of the state that a node holds, under the leader of `own`. */
  originOf(held: Fence, own: OwnTerm): FenceOrigin {
    if (held.term > own.term + termsAheadMax)
      return { kind: "unexplained", reason: implausible(held, own), acceptable: false };
    if (held.term > own.term) return { kind: "newer" };
    if (held.term === own.term) return { kind: isOf(held, { leader: own.name, lease: own.lease }) ? "known" : "newer" };
    if (held.term <= this.#accepted) return { kind: "known" };
    const term = this.#terms.get(held.term);
    return term !== undefined && isOf(held, term)
      ? { kind: "known" }
      : { kind: "unexplained", reason: unknown(held, term), acceptable: true };
  }
}

/** The next term that may be claimed above the newest of the store, when nodes were heard to hold `heard`. */
export function nextTerm(newest: bigint, heard: bigint): bigint {
  return (heard > newest && heard <= newest + termsAheadMax ? heard : newest) + 1n;
}

/** A node of an earlier version does not say the lease. */
function isOf(held: Fence, term: KnownTerm): boolean {
  return held.leader === term.leader && (held.lease === undefined || held.lease === term.lease);
}

function unknown({ term, leader }: Fence, other: KnownTerm | undefined): string {
  const store = other === undefined ? "the store has no such term" : "the store's term of that number is another one";
  const next =
    "if the store was lost, bring it back, or make baton addresses right, and then  baton cluster begin-anew";
  return `its state is of term ${term} of ${leader}, and ${store}: ${next}`;
}

function implausible({ term }: Fence, own: OwnTerm): string {
  const next = "stop the node, and take off what it has put into the kernel, with --cleanup";
  return `its state is of term ${term}, more than ${termsAheadMax} above term ${own.term}, so of no cluster of ours: ${next}`;
}
