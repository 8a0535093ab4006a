/** A flow as LevelDB and redis get it: a key and a value of its own, packed, with all that a tracker stores of it. */
import { mappedBytes, writeIpAddressWords } from "../../../src/flow/address.ts";
import type { LiveFlow } from "../../../src/flow/flow.ts";
import {
  changedAtAt,
  keyWords,
  kindAt,
  openedAtAt,
  rowWords,
  writeLong,
  writeRowWords,
} from "../../../src/flow/flow-words.ts";

const wordBytes = 4;
const kindBytes = 1;
const shardBytes = 2;
/** The words after the key's. */
const factWords = rowWords - openedAtAt;
/** Of their own, and in the key the peer and the ports. */
const words = new Uint32Array(rowWords);
const addressWords = new Uint32Array(mappedBytes / wordBytes);

/** Shard, address, protocol, peer, ports, owner. */
export function keyOfFlow(shard: number, { key, owner }: LiveFlow): Buffer {
  const name = Buffer.from(owner);
  const bytes = Buffer.allocUnsafe(shardBytes + mappedBytes + kindBytes + wordBytes * (keyWords - 1) + name.length);
  let at = bytes.writeUInt16BE(shard);
  writeIpAddressWords(key.address, addressWords);
  for (const word of addressWords) at = bytes.writeUInt32BE(word, at);
  at = bytes.writeUInt8(key.protocol === "tcp" ? 6 : 17, at);
  writeRowWords({ key, state: "open", openedAtMs: 0, generation: 0n }, words);
  for (const word of words.subarray(0, kindAt)) at = bytes.writeUInt32BE(word, at);
  bytes.set(name, at);
  return bytes;
}

/** State, when it opened, generation, the message that told of it. */
export function valueOfFlow(flow: LiveFlow, changedAt: bigint): Buffer {
  writeRowWords(flow, words);
  writeLong(words, changedAtAt, changedAt);
  const bytes = Buffer.allocUnsafe(kindBytes + wordBytes * factWords);
  let at = bytes.writeUInt8((words[kindAt] ?? 0) & 0xff);
  for (const word of words.subarray(openedAtAt)) at = bytes.writeUInt32BE(word, at);
  return bytes;
}
