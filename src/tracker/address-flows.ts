/** The flows at one address, of all owners, for many look-ups: as of now, until the next change. */
import type { FlowFacts } from "./flow-slab.ts";
import type { OwnedSlab, Place } from "./owner-index.ts";

/** A live flow where it lies. */
export interface FoundPlace extends Place {
  readonly via: string | undefined;
}

export class AddressFlows {
  readonly #owners: readonly OwnedSlab[];
  readonly #vias: ReadonlyMap<string, string> | undefined;

  constructor(owners: readonly OwnedSlab[], vias: ReadonlyMap<string, string> | undefined) {
    this.#owners = owners;
    this.#vias = vias;
  }

  /**
   * The flow whose key without its address lies there as words; undefined: no such flow is live. Two owners may claim one
   * key: an old flow that died in silence, and a new one of the same peer and port at the address's new owner. The younger
   * generation is the one that lives, then what was told of last.
   */
  find(words: Uint32Array, at = 0): FoundPlace | undefined {
    let best: FoundPlace | undefined;
    for (const { owner, slab } of this.#owners) {
      const slot = slab.slotOf(words, at);
      if (slot === undefined) continue;
      if (best === undefined || isYounger(slab.factsAt(slot), best.slab.factsAt(best.slot)))
        best = { owner, slab, slot, via: this.#vias?.get(owner) };
    }
    return best;
  }
}

function isYounger(one: FlowFacts, other: FlowFacts): boolean {
  if (one.generation !== other.generation) return one.generation > other.generation;
  return one.changedAt > other.changedAt;
}
