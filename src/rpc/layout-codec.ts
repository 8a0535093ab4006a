/** In which shards the flows of addresses lie ↔ the messages of flow.proto. */
import type { IpAddress } from "../flow/address.ts";
import type {
  AddressLayout as AddressLayoutMessage,
  AddressPlace as AddressPlaceMessage,
  BucketLayout as BucketLayoutMessage,
} from "../gen/baton/v1/flow.ts";
import type { AddressShard } from "../gen/baton/v1/tracker.ts";
import {
  type AddressLayout,
  type AddressPlace,
  bucketsMax,
  type Layout,
  type LayoutMap,
  layoutGenerationMax,
  oneBucket,
} from "../placement/layout.ts";
import { FieldFault, readAddress, readInteger, readList, readPresent } from "./fields.ts";

export function layoutToProto({ buckets, generation, before = 0 }: Layout): BucketLayoutMessage {
  return { buckets, generation, before };
}

export function readLayout(field: string, { buckets, generation, before }: BucketLayoutMessage): Layout {
  const layout = {
    buckets: readInteger(`${field}.buckets`, buckets, 1, bucketsMax),
    generation: readInteger(`${field}.generation`, generation, 0, layoutGenerationMax),
  };
  return before === 0 ? layout : { ...layout, before: readInteger(`${field}.before`, before, 1, bucketsMax) };
}

/** Absent: the default. */
export function placeToProto({ address, buckets, generation, bucket }: AddressPlace): AddressPlaceMessage {
  return { address, buckets, generation, bucket };
}

export function readPlaces(field: string, messages: readonly AddressPlaceMessage[], max: number): AddressPlace[] {
  return readList(field, messages, max, ({ address, buckets, generation, bucket }, item) => ({
    address: readAddress(`${item}.address`, address),
    buckets: readInteger(`${item}.buckets`, buckets, 1, bucketsMax),
    generation: readInteger(`${item}.generation`, generation, 0, layoutGenerationMax),
    ...(bucket !== undefined && { bucket: readInteger(`${item}.bucket`, bucket, 0, buckets - 1) }),
  }));
}

/** Absent: the address has the default, and its only shard is meant. */
export function addressShardToProto(of: { readonly shard: number; readonly layout: Layout }): AddressShard | undefined {
  return of.layout.generation === 0 ? undefined : { shard: of.shard, layout: layoutToProto(of.layout) };
}

export function readOptionalLayout(field: string, message: BucketLayoutMessage | undefined): Layout {
  return message === undefined ? oneBucket : readLayout(field, message);
}

export function layoutsToProto(layouts: Iterable<AddressLayout>): AddressLayoutMessage[] {
  return Array.from(layouts, ({ address, layout }) => ({ address, layout: layoutToProto(layout) }));
}

export function layoutMapToProto(layouts: LayoutMap | undefined): AddressLayoutMessage[] {
  return layoutsToProto([...(layouts ?? [])].map(([address, layout]) => ({ address, layout })));
}

export function readLayouts(field: string, messages: readonly AddressLayoutMessage[], max: number): AddressLayout[] {
  return readList(field, messages, max, ({ address, layout }, item) => ({
    address: readAddress(`${item}.address`, address),
    layout: readLayout(`${item}.layout`, readPresent(`${item}.layout`, layout)),
  }));
}

export function readLayoutMap(field: string, messages: readonly AddressLayoutMessage[], max: number): LayoutMap {
  const map = new Map<IpAddress, Layout>();
  for (const { address, layout } of readLayouts(field, messages, max)) map.set(address, layout);
  if (map.size !== messages.length) throw new FieldFault(field, "each address once", "one twice");
  return map;
}
