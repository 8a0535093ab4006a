/**
 * What a tracker's database holds, byte for byte.
 *
 * Of every shard: a *checkpoint*, its table as of one message of the stream, in pages; the messages applied since, as the
 * stream has them; and the position, which says what of all this counts. Keys: shard (2 bytes), kind (1), then what names
 * the row; numbers big-endian, so that a shard is one range and messages lie in order. Every value ends with a checksum
 * over its key and itself, for LevelDB doesn't check what it reads. A row that doesn't read back is a fault of the disk
 * or another version's.
 */
import { crc32 } from "node:zlib";

/** Where a shard's data stand, stored in one batch with them. */
export interface Position {
  /** Stream sequence of the last message applied. */
  readonly sequence: bigint;
  /** Of that message's bytes; tells another stream from this one. */
  readonly fingerprint: Uint8Array;
  /** The shard was lost, and not every instance has told its flows again. */
  readonly rebuilding: boolean;
}

/** Which pages count, and from which message on the others do. */
export interface Checkpoint {
  /** Random: pages of another checkpoint, which a crash has left, are never taken for this one's. */
  readonly id: bigint;
  /** Stream sequence of the last message applied to the pages. */
  readonly sequence: bigint;
  readonly pages: number;
}

/** 2 to 4 were rows of single flows, in an earlier form. */
export const rowKinds = { position: 1, page: 5, message: 6 } as const;
export type RowKind = (typeof rowKinds)[keyof typeof rowKinds];

/** Of the form that this program writes, and alone reads. */
const positionVersion = 2;
const headBytes = 3;
const positionHeadBytes = 2 + 8 + 8 + 8 + 4;
const checksumBytes = 4;
const sequenceBytes = 8;
/** Far more than there are. */
const pageMax = 0xffff_ffff;

/** A row of the database that this program did not write, or not like this. */
export class RecordFault extends Error {
  override readonly name = "RecordFault";
}

export function positionKey(shard: number): Buffer {
  return keyOf(shard, rowKinds.position);
}

export function pageKey(shard: number, checkpoint: bigint, page: number): Buffer {
  const name = Buffer.alloc(12);
  name.writeBigUInt64BE(checkpoint);
  name.writeUInt32BE(page, 8);
  return keyOf(shard, rowKinds.page, name);
}

export function messageKey(shard: number, sequence: bigint): Buffer {
  const name = Buffer.alloc(sequenceBytes);
  name.writeBigUInt64BE(sequence);
  return keyOf(shard, rowKinds.message, name);
}

export interface KeyRange {
  readonly gte: Buffer;
  readonly lt: Buffer;
}

/** All rows of a shard. */
export function shardRange(shard: number): KeyRange {
  return { gte: keyOf(shard, 0), lt: keyOf(shard + 1, 0) };
}

export function pagesOfCheckpoint(shard: number, id: bigint): KeyRange {
  return { gte: pageKey(shard, id, 0), lt: pageKey(shard, id, pageMax) };
}

export function pagesOfOthers(shard: number, id: bigint): readonly KeyRange[] {
  return [
    { gte: keyOf(shard, rowKinds.page), lt: pageKey(shard, id, 0) },
    { gte: pageKey(shard, id, pageMax), lt: keyOf(shard, rowKinds.page + 1) },
  ];
}

/** Messages after this one. */
export function laterMessages(shard: number, sequence: bigint): KeyRange {
  return { gte: messageKey(shard, sequence + 1n), lt: keyOf(shard, rowKinds.message + 1) };
}

/** Messages up to this one, and itself. */
export function earlierMessages(shard: number, sequence: bigint): KeyRange {
  return { gte: messageKey(shard, 0n), lt: messageKey(shard, sequence + 1n) };
}

export function readKey(key: Buffer): { readonly shard: number; readonly kind: number; readonly name: Buffer } {
  if (key.length < headBytes) throw new RecordFault(`a key of ${key.length} bytes`);
  return { shard: key.readUInt16BE(0), kind: key.readUInt8(2), name: key.subarray(headBytes) };
}

/** Of a message's row. */
export function sequenceOfKey(key: Buffer): bigint {
  const { kind, name } = readKey(key);
  if (kind !== rowKinds.message || name.length !== sequenceBytes)
    throw new RecordFault(`a message's key of kind ${kind}`);
  return name.readBigUInt64BE();
}

export function encodePosition({ sequence, fingerprint, rebuilding }: Position, checkpoint: Checkpoint): Buffer {
  const value = Buffer.alloc(positionHeadBytes);
  value.writeUInt8(positionVersion);
  value.writeUInt8(rebuilding ? 1 : 0, 1);
  value.writeBigUInt64BE(sequence, 2);
  value.writeBigUInt64BE(checkpoint.id, 10);
  value.writeBigUInt64BE(checkpoint.sequence, 18);
  value.writeUInt32BE(checkpoint.pages, 26);
  return Buffer.concat([value, fingerprint]);
}

export function decodePosition(value: Buffer): { readonly position: Position; readonly checkpoint: Checkpoint } {
  if (value.length < positionHeadBytes || value[0] !== positionVersion)
    throw new RecordFault(
      `a position of ${value.length} bytes and version ${value[0]}; this program reads version ${positionVersion}`,
    );
  return {
    position: {
      sequence: value.readBigUInt64BE(2),
      fingerprint: value.subarray(positionHeadBytes),
      rebuilding: value.readUInt8(1) === 1,
    },
    checkpoint: {
      id: value.readBigUInt64BE(10),
      sequence: value.readBigUInt64BE(18),
      pages: value.readUInt32BE(26),
    },
  };
}

/** `previous`: the sequence of the shard's message before, so that a row that is gone is missed. */
export function encodeMessage(previous: bigint, data: Uint8Array): Buffer {
  const head = Buffer.alloc(sequenceBytes);
  head.writeBigUInt64BE(previous);
  return Buffer.concat([head, data]);
}

export function decodeMessage(value: Buffer): { readonly previous: bigint; readonly data: Buffer } {
  if (value.length < sequenceBytes) throw new RecordFault(`a message of ${value.length} bytes`);
  return { previous: value.readBigUInt64BE(), data: value.subarray(sequenceBytes) };
}

export function seal(key: Buffer, value: Buffer): Buffer {
  const sealed = Buffer.allocUnsafe(value.length + checksumBytes);
  sealed.set(value);
  sealed.writeUInt32BE(crc32(value, crc32(key)), value.length);
  return sealed;
}

export function unseal(key: Buffer, sealed: Buffer): Buffer {
  const value = sealed.subarray(0, Math.max(0, sealed.length - checksumBytes));
  if (sealed.length < checksumBytes || sealed.readUInt32BE(value.length) !== crc32(value, crc32(key)))
    throw new RecordFault(`a row of ${sealed.length} bytes whose checksum is wrong`);
  return value;
}

function keyOf(shard: number, kind: number, name: Uint8Array = new Uint8Array()): Buffer {
  const key = Buffer.allocUnsafe(headBytes + name.length);
  key.writeUInt16BE(shard);
  key.writeUInt8(kind, 2);
  key.set(name, headBytes);
  return key;
}
