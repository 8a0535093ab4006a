/** Which shard a public address belongs to. Fixed for a cluster's life: trackers' data is laid out by it. */
import type { IpAddress } from "../flow/address.ts";

const offsetBasis = 0x811c9dc5;
const prime = 0x01000193;

/** 32-bit FNV-1a of the text's bytes; addresses are ASCII. */
export function fnv1a32(text: string): number {
  let hash = offsetBasis;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), prime);
  return hash >>> 0;
}

export function shardOf(address: IpAddress, shards: number): number {
  return fnv1a32(address) % shards;
}
