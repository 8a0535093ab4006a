/** Which flows of each address belong to a shard, by the newest layout that anybody has named in its messages (SPEC K3, K5). */
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { slotOf } from "../flow/key-digest.ts";
import { type AddressPlace, belongsTo, type Place } from "../placement/layout.ts";

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

  /** Nobody has named a newer one of its address. */
  isNewest({ address, generation }: AddressPlace): boolean {
    return generation >= this.#generationOf(address);
  }

  #generationOf(address: IpAddress): number {
    return this.#places.get(address)?.generation ?? 0;
  }
}
