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
  /** Whose flows are not all told where they belong by the layout that is gone by: where they lay, they have to stay. */
  readonly #moving = new Set<IpAddress>();
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
    if (layout.before === undefined) this.#moving.delete(address);
    else this.#moving.add(address);
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

  placeIn(shard: number, address: IpAddress): AddressPlace {
    return placeOf(address, this.of(address), shard, this.#shards);
  }

  /** All flows of the address are told where they belong by the layout of this generation. */
  toldAll(address: IpAddress, generation: number): void {
    if (this.of(address).generation === generation) this.#moving.delete(address);
  }

  /** The shard may hold flows that are told of elsewhere by now, or lack some that were told of elsewhere before. */
  isMoving(shard: number): boolean {
    return [...this.#moving].some((address) => this.shardsOf(address).includes(shard));
  }

  /** Of the addresses of which the shard need not keep what belongs elsewhere. */
  releasedIn(shard: number): readonly AddressPlace[] {
    return [...this.#layouts]
      .filter(([address, { generation }]) => generation > 0 && !this.#moving.has(address))
      .map(([address]) => this.placeIn(shard, address));
  }

  /**
   * `addresses`: without any, all that layouts were told of, those first that ever had several buckets; what one message has no
   * room for is left to the default.
   */
  membersOf(shard: number, addresses: readonly IpAddress[]): Membership {
    const named = addresses.length > 0 ? addresses : this.#known().slice(0, addressesPerMessageMax);
    const places = new Map(named.map((it) => [it, this.placeIn(shard, it)]));
    return {
      places: [...places.values()],
      has: (key) => {
        const place = places.get(key.address) ?? this.placeIn(shard, key.address);
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
