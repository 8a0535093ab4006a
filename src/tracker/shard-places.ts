/**
 * Which flows of each address belong to a shard, by the newest layout that anybody has named in its messages; and what becomes
 * of a flow that its owner's snapshot leaves out (SPEC K3 to K5).
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { slotOf } from "../flow/key-digest.ts";
import { type AddressPlace, belongsTo, type Place } from "../placement/layout.ts";

/** `moved`: told of in another shard. `kept`: nothing was said of it. */
export type Fate = "ended" | "moved" | "kept";

export class ShardPlaces {
  readonly #places = new Map<IpAddress, Place>();

  /** Undefined: all, by the default. */
  of(address: IpAddress): Place | undefined {
    return this.#places.get(address);
  }

  *all(): Generator<AddressPlace> {
    for (const [address, place] of this.#places) yield { address, ...place };
  }

  /** Changes nothing where a place as new is known. */
  take({ address, ...place }: AddressPlace): void {
    if (place.generation > this.#generationOf(address)) this.#places.set(address, place);
  }

  hasElsewhere(key: FlowKey): boolean {
    const place = this.#places.get(key.address);
    return place !== undefined && !belongsTo(place, slotOf(key));
  }

  /** `told`: by which place the snapshot speaks of the address; undefined: its sender has nothing of it. */
  fateOf(key: FlowKey, told: Place | undefined): Fate {
    if (told === undefined || belongsTo(told, slotOf(key))) return "ended";
    // Somebody who goes by an older layout than others knows nothing of what belongs elsewhere by his.
    return told.generation >= this.#generationOf(key.address) ? "moved" : "kept";
  }

  #generationOf(address: IpAddress): number {
    return this.#places.get(address)?.generation ?? 0;
  }
}
