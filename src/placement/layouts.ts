/** The layouts of an instance's addresses, which never go back, and where each flow is told of by them. */
import type { IpAddress } from "../flow/address.ts";
import { addressesPerMessageMax } from "../flow/events.ts";
import type { FlowKey } from "../flow/flow.ts";
import { slotOf } from "../flow/key-digest.ts";
import { type AddressPlace, belongsTo, isNewerLayout, type Layout, oneBucket, placeOf, shardsOf } from "./layout.ts";
import { fnv1a32 } from "./shard.ts";

/** Which flows belong to one shard, by the layouts of one moment. */
export interface Membership {
  readonly places: readonly AddressPlace[];
  has(key: FlowKey): boolean;
}

export class Layouts {
  readonly #shards: number;
  readonly #layouts = new Map<IpAddress, Layout>();
  /** Flows come in runs of one address. */
  #lastAddress: IpAddress | undefined;
  #lastBase = 0;
  #lastBuckets = 1;

  constructor(shards: number) {
    this.#shards = shards;
  }

  of(address: IpAddress): Layout {
    return this.#layouts.get(address) ?? oneBucket;
  }

  /** From now on, unless a newer one is known. */
  take(address: IpAddress, layout: Layout): void {
    const known = this.#layouts.get(address);
    if (known !== undefined && !isNewerLayout(layout, known)) return;
    this.#layouts.set(address, layout);
    this.#lastAddress = undefined;
  }

  shardOf(key: FlowKey): number {
    const { address } = key;
    if (address !== this.#lastAddress) {
      this.#lastAddress = address;
      this.#lastBase = fnv1a32(address);
      this.#lastBuckets = this.of(address).buckets;
    }
    return (this.#lastBase + (this.#lastBuckets === 1 ? 0 : slotOf(key) % this.#lastBuckets)) % this.#shards;
  }

  shardsOf(address: IpAddress): readonly number[] {
    return shardsOf(address, this.of(address), this.#shards);
  }

  /**
   * `addresses`: without any, all that layouts were told of, those first that ever had several buckets; what one message has no
   * room for is left to the default.
   */
  membersOf(shard: number, addresses: readonly IpAddress[]): Membership {
    const named = addresses.length > 0 ? addresses : this.#known().slice(0, addressesPerMessageMax);
    const places = new Map(named.map((it) => [it, placeOf(it, this.of(it), shard, this.#shards)]));
    return {
      places: [...places.values()],
      has: (key) => {
        const place = places.get(key.address) ?? placeOf(key.address, this.of(key.address), shard, this.#shards);
        return place.buckets === 1 ? place.bucket === 0 : belongsTo(place, slotOf(key));
      },
    };
  }

  #known(): IpAddress[] {
    const known = [...this.#layouts];
    const named = [...known.filter(([, it]) => it.generation > 0), ...known.filter(([, it]) => it.generation === 0)];
    return named.map(([address]) => address);
  }
}
