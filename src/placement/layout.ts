/**
 * In how many buckets the flows of an address lie, and so in which shards.
 *
 * An address has one bucket by default, and all of its flows lie in one shard. A hot one is given more, in shards that follow
 * each other. A change of a layout is a generation of its own: while `before` is there, flows may still lie where the layout
 * before put them, and whoever asks has to ask there too (SPEC K).
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { slotOf, slots } from "../flow/key-digest.ts";
import { fnv1a32 } from "./shard.ts";

export interface Layout {
  /** 1 to {@link bucketsMax}, and no more than there are shards. */
  readonly buckets: number;
  /** The higher one is the newer; 0: the address never had another than the default. */
  readonly generation: number;
  /** Buckets of the generation before, where flows may still be. Absent: nothing is left there. */
  readonly before?: number;
}

export interface AddressLayout {
  readonly address: IpAddress;
  readonly layout: Layout;
}

/** Which flows of an address belong to one shard, by some layout. */
export interface Place {
  readonly buckets: number;
  readonly generation: number;
  /** Absent: the shard is none of them. */
  readonly bucket?: number;
}

export interface AddressPlace extends Place {
  readonly address: IpAddress;
}

export type LayoutMap = ReadonlyMap<IpAddress, Layout>;

/** Parts of a layout: a bucket is the remainder of a slot. */
export const bucketsMax = slots;
/** Addresses of a cluster that have, or once had, more than one bucket. */
export const layoutsMax = 1_024;
export const layoutGenerationMax = 0xffff_ffff;

export const oneBucket: Layout = { buckets: 1, generation: 0 };

/** Bucket 0 of any layout is where the only one was. */
export function shardOfBucket(address: IpAddress, bucket: number, shards: number): number {
  return (fnv1a32(address) + bucket) % shards;
}

export function shardUnder(key: FlowKey, buckets: number, shards: number): number {
  return shardOfBucket(key.address, buckets === 1 ? 0 : slotOf(key) % buckets, shards);
}

/** Where changes of the flow are told. */
export function shardOfKey(key: FlowKey, layout: Layout, shards: number): number {
  return shardUnder(key, layout.buckets, shards);
}

/** Where a flow may be, the newer place first: one shard, but for a flow that changes its own. */
export function shardsToAsk(key: FlowKey, layout: Layout, shards: number): readonly number[] {
  const now = shardOfKey(key, layout, shards);
  if (layout.before === undefined) return [now];
  const before = shardUnder(key, layout.before, shards);
  return before === now ? [now] : [now, before];
}

export function shardsUnder(address: IpAddress, buckets: number, shards: number): readonly number[] {
  return Array.from({ length: buckets }, (_, bucket) => shardOfBucket(address, bucket, shards));
}

/** All shards in which flows of the address may be, those that are new first. */
export function shardsOf(address: IpAddress, layout: Layout, shards: number): readonly number[] {
  return [...newShardsOf(address, layout, shards), ...oldShardsOf(address, layout, shards)];
}

/** Those that the layout before did not have. */
export function newShardsOf(address: IpAddress, { buckets, before }: Layout, shards: number): readonly number[] {
  const now = shardsUnder(address, buckets, shards);
  return before === undefined ? now : now.slice(before);
}

/** Those that the layout before had; none, where nothing is left of it. */
export function oldShardsOf(address: IpAddress, { before }: Layout, shards: number): readonly number[] {
  return before === undefined ? [] : shardsUnder(address, before, shards);
}

export function placeOf(address: IpAddress, layout: Layout, shard: number, shards: number): AddressPlace {
  const { buckets, generation } = layout;
  const bucket = (shard + shards - shardOfBucket(address, 0, shards)) % shards;
  return bucket < buckets ? { address, buckets, generation, bucket } : { address, buckets, generation };
}

export function belongsTo({ buckets, bucket }: Place, slot: number): boolean {
  return slot % buckets === bucket;
}

export function layoutOf(layouts: LayoutMap | undefined, address: IpAddress): Layout {
  return layouts?.get(address) ?? oneBucket;
}

/** The same question has the same answers. */
export function isSameLayout(one: Layout, other: Layout): boolean {
  return one.buckets === other.buckets && one.generation === other.generation && one.before === other.before;
}

/** Of each address the newer one: what a later record leaves out, or has an older layout of, goes on as before. */
export function newestLayouts(before: LayoutMap, after: LayoutMap): LayoutMap {
  const newest = new Map(after);
  for (const [address, layout] of before)
    if (isNewerLayout(layout, layoutOf(after, address))) newest.set(address, layout);
  return newest;
}

export function changedLayouts(before: LayoutMap | undefined, after: LayoutMap | undefined): ReadonlySet<IpAddress> {
  const named = new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])]);
  return new Set([...named].filter((address) => !isSameLayout(layoutOf(before, address), layoutOf(after, address))));
}

/** Told later: of a higher generation, or of the same one that is settled by now. */
export function isNewerLayout(one: Layout, other: Layout): boolean {
  if (one.generation !== other.generation) return one.generation > other.generation;
  return one.before === undefined && other.before !== undefined;
}
