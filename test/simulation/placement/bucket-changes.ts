/** Changes of the number of buckets of addresses at random moments: one at a time for an address, as coordinators make them. */
import type { IpAddress } from "../../../src/flow/address.ts";
import { type Layout, layoutOf, shardsOf } from "../../../src/placement/layout.ts";
import type { Random } from "../random.ts";
import type { Instance } from "./instance.ts";

const chanceOfChange = 0.02;
/** In one tick, of an instance that has one to make. */
const chanceOfStep = 0.1;

interface Change {
  readonly layout: Layout;
  /** Instance and shard → where the stream was when the instance had told all. */
  readonly told: Map<string, ReadonlyMap<number, number>>;
}

export interface BucketParts {
  readonly shards: number;
  readonly random: Random;
  readonly instances: readonly Instance[];
  /** Of the shard's last message. */
  readonly endOf: (shard: number) => number;
  /** Every holder has applied that much, and lacks nothing that it knows of. */
  readonly isApplied: (shard: number, position: number) => boolean;
}

export class BucketChanges {
  /** By the newest epoch. */
  layouts: ReadonlyMap<IpAddress, Layout> = new Map();
  /** By the one before the last change: what a client goes by that has not heard. */
  former: ReadonlyMap<IpAddress, Layout> = new Map();
  settled = 0;
  readonly #parts: BucketParts;
  readonly #changes = new Map<IpAddress, Change>();

  constructor(parts: BucketParts) {
    this.#parts = parts;
  }

  /** After everything that was said before is stored. */
  tick(mayBegin: boolean): void {
    const { random } = this.#parts;
    if (mayBegin && random.chance(chanceOfChange)) this.#begin();
    for (const [address, change] of [...this.#changes]) {
      for (const instance of this.#concerned(address)) this.#proceed(instance, address, change);
      if (this.#hasArrived(address, change)) this.#settle(address, change.layout);
    }
  }

  /** What it had told counts no more. */
  restarted({ name }: Instance): void {
    for (const { told } of this.#changes.values()) told.delete(name);
  }

  #begin(): void {
    const { random, instances, shards } = this.#parts;
    const addresses = [...new Set(instances.flatMap((it) => it.addresses))];
    const address = addresses[random.below(addresses.length)] as IpAddress;
    const { buckets: before, generation } = layoutOf(this.layouts, address);
    const buckets = 1 + random.below(shards);
    if (this.#changes.has(address) || buckets === before) return;
    const layout = { buckets, generation: generation + 1, before };
    this.#changes.set(address, { layout, told: new Map() });
    this.#store(address, layout);
  }

  #proceed(instance: Instance, address: IpAddress, { layout, told }: Change): void {
    const { random, shards, endOf } = this.#parts;
    if (told.has(instance.name)) return;
    if (instance.stageOf(address) === "done")
      told.set(instance.name, new Map(shardsOf(address, layout, shards).map((shard) => [shard, endOf(shard)])));
    else if (random.chance(chanceOfStep)) instance.proceed(address, layout, random);
  }

  #hasArrived(address: IpAddress, { told }: Change): boolean {
    return this.#concerned(address).every(({ name }) => {
      const positions = told.get(name);
      return positions !== undefined && [...positions].every(([shard, at]) => this.#parts.isApplied(shard, at));
    });
  }

  #settle(address: IpAddress, { buckets, generation }: Layout): void {
    this.#changes.delete(address);
    this.settled++;
    this.#store(address, { buckets, generation });
  }

  #store(address: IpAddress, layout: Layout): void {
    this.former = this.layouts;
    this.layouts = new Map(this.layouts).set(address, layout);
    for (const instance of this.#concerned(address)) instance.lay(address, layout);
  }

  #concerned(address: IpAddress): readonly Instance[] {
    return this.#parts.instances.filter(({ addresses }) => addresses.includes(address));
  }
}
