/**
 * What a tracker's database holds, byte for byte.
 *
 * Keys: shard (2 bytes), kind (1), then what names the row; numbers big-endian, so that a shard is one range. Values
 * begin with the version of their form. A row that doesn't read back is a fault of the disk or a newer program's.
 */
import {
  type IpAddress,
  ipAddressFromWords,
  mappedBytes,
  parseIpAddress,
  writeIpAddressWords,
} from "../flow/address.ts";
import type { FlowKey, LiveFlowState, Protocol } from "../flow/flow.ts";
import type { AddressPlace, Place } from "../placement/layout.ts";
import type { Sender } from "./sender.ts";
import type { Tombstone } from "./tombstones.ts";

/** Where a shard's data stand, stored in one batch with them. */
export interface Position {
  /** Stream sequence of the last message applied. */
  readonly sequence: bigint;
  /** Of that message's bytes; tells another stream from this one. */
  readonly fingerprint: Uint8Array;
  /** The shard was lost, and not every instance has told its flows again. */
  readonly rebuilding: boolean;
}

export const rowKinds = { position: 1, flow: 2, tombstone: 3, sender: 4, place: 5 } as const;
export type RowKind = (typeof rowKinds)[keyof typeof rowKinds];

/** Of the form that this program writes, and alone reads. */
export const recordVersion = 1;
export const protocols: readonly Protocol[] = ["tcp", "udp"];
export const states: readonly LiveFlowState[] = ["half-open", "open", "closing"];
export const keyHeadBytes = 3;
/** Of a flow, without its owner: all owners of a key lie side by side. */
export const flowKeyBytes = 1 + mappedBytes + 2 + mappedBytes + 2;
const positionHeadBytes = 2 + 8;

/** A row of the database that this program did not write, or not like this. */
export class RecordFault extends Error {
  override readonly name = "RecordFault";
}

export function rowKey(shard: number, kind: RowKind, name: Uint8Array = new Uint8Array()): Buffer {
  const key = Buffer.allocUnsafe(keyHeadBytes + name.length);
  writeRowHead(viewOf(key), shard, kind);
  key.set(name, keyHeadBytes);
  return key;
}

/** All rows of a shard: from the first key on, up to and without the second. */
export function shardRange(shard: number): { gte: Buffer; lt: Buffer } {
  return { gte: rowKey(shard, 0 as RowKind), lt: rowKey(shard + 1, 0 as RowKind) };
}

export function readRowKey(key: Buffer): { readonly shard: number; readonly kind: number; readonly name: Buffer } {
  if (key.length < keyHeadBytes) throw new RecordFault(`a key of ${key.length} bytes`);
  return { shard: key.readUInt16BE(0), kind: key.readUInt8(2), name: key.subarray(keyHeadBytes) };
}

export function tombstoneRowKey(shard: number, key: FlowKey): Buffer {
  const row = Buffer.alloc(keyHeadBytes + flowKeyBytes);
  const view = viewOf(row);
  writeRowHead(view, shard, rowKinds.tombstone);
  writeFlowKey(view, keyHeadBytes, key);
  return row;
}

export function encodeTombstone({ owner, closedAt }: Tombstone): Buffer {
  const value = Buffer.alloc(9);
  value.writeUInt8(recordVersion);
  value.writeBigUInt64BE(closedAt, 1);
  return Buffer.concat([value, Buffer.from(owner)]);
}

export function decodeTombstone(name: Buffer, value: Buffer): Tombstone {
  checkVersion(value, 9);
  return { key: readFlowKey(name), owner: value.subarray(9).toString(), closedAt: value.readBigUInt64BE(1) };
}

export function encodePosition({ sequence, fingerprint, rebuilding }: Position): Buffer {
  const value = Buffer.alloc(positionHeadBytes);
  value.writeUInt8(recordVersion);
  value.writeUInt8(rebuilding ? 1 : 0, 1);
  value.writeBigUInt64BE(sequence, 2);
  return Buffer.concat([value, fingerprint]);
}

export function decodePosition(value: Buffer): Position {
  checkVersion(value, positionHeadBytes);
  return {
    sequence: value.readBigUInt64BE(2),
    fingerprint: value.subarray(positionHeadBytes),
    rebuilding: value.readUInt8(1) === 1,
  };
}

/** Senders are few and of changing form: JSON, with sequences as text. */
export function encodeSender(sender: Sender): Buffer {
  const text = JSON.stringify(sender, (_, value: unknown) => (typeof value === "bigint" ? value.toString() : value));
  return Buffer.concat([Buffer.from([recordVersion]), Buffer.from(text)]);
}

type Stored<T> = T extends bigint ? string : T extends object ? { [Key in keyof T]: Stored<T[Key]> } : T;

type StoredPlace = Omit<AddressPlace, "address"> & { readonly address: unknown };

export function decodeSender(value: Buffer): Sender {
  checkVersion(value, 1);
  const stored = JSON.parse(value.subarray(1).toString()) as Stored<Sender>;
  const boots = stored.boots.map(({ boot, sequence }) => ({ boot, sequence: BigInt(sequence) }));
  const sender: Sender = { instance: stored.instance, boots, retired: [...stored.retired], broken: stored.broken };
  if (stored.snapshot !== undefined) {
    const { id, boot, begunAt, addresses, places = [], flows } = stored.snapshot;
    const scope = addresses.flatMap((text) => parseIpAddress(String(text)) ?? []);
    sender.snapshot = {
      id: BigInt(id),
      boot,
      begunAt: BigInt(begunAt),
      addresses: scope,
      places: places.flatMap(readPlace),
      flows,
    };
  }
  if (stored.forwards !== undefined)
    sender.forwards = stored.forwards.flatMap(({ address, owner }) => {
      const known = parseIpAddress(String(address));
      return known === undefined ? [] : [{ address: known, owner }];
    });
  return sender;
}

/** One for each address that has, or had, several buckets: JSON, as senders are. */
export function placeRowKey(shard: number, address: IpAddress): Buffer {
  const name = Buffer.alloc(mappedBytes);
  writeAddress(viewOf(name), 0, address);
  return rowKey(shard, rowKinds.place, name);
}

export function encodePlace(place: Place): Buffer {
  return Buffer.concat([Buffer.from([recordVersion]), Buffer.from(JSON.stringify(place))]);
}

export function decodePlace(name: Buffer, value: Buffer): AddressPlace {
  checkVersion(value, 1);
  if (name.length < mappedBytes) throw new RecordFault(`an address of ${name.length} bytes`);
  const place = JSON.parse(value.subarray(1).toString()) as Place;
  return { ...place, address: readAddress(name, 0) };
}

function readPlace({ address, buckets, generation, bucket }: StoredPlace): AddressPlace[] {
  const known = parseIpAddress(String(address));
  if (known === undefined) return [];
  return [{ address: known, buckets, generation, ...(bucket !== undefined && { bucket }) }];
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function writeRowHead(row: DataView, shard: number, kind: RowKind): void {
  row.setUint16(0, shard);
  row.setUint8(2, kind);
}

/** Of the address that is written or read, one at a time. */
const words = new Uint32Array(mappedBytes / 4);

function writeFlowKey(row: DataView, at: number, key: FlowKey, hasNewAddress = true): void {
  if (hasNewAddress) writeAddress(row, at, key.address);
  row.setUint8(at + mappedBytes, protocols.indexOf(key.protocol));
  row.setUint16(at + mappedBytes + 1, key.port);
  writeAddress(row, at + mappedBytes + 3, key.peer);
  row.setUint16(at + 2 * mappedBytes + 3, key.peerPort);
}

function writeAddress(row: DataView, at: number, address: IpAddress): void {
  writeIpAddressWords(address, words);
  for (let n = 0; n < words.length; n++) row.setUint32(at + 4 * n, words[n] ?? 0);
}

function readFlowKey(bytes: Buffer): FlowKey {
  if (bytes.length < flowKeyBytes) throw new RecordFault(`a flow's key of ${bytes.length} bytes`);
  const protocol = protocols[bytes.readUInt8(mappedBytes)];
  if (protocol === undefined) throw new RecordFault(`a flow's protocol ${bytes.readUInt8(mappedBytes)}`);
  return {
    address: readAddress(bytes, 0),
    protocol,
    port: bytes.readUInt16BE(mappedBytes + 1),
    peer: readAddress(bytes, mappedBytes + 3),
    peerPort: bytes.readUInt16BE(2 * mappedBytes + 3),
  };
}

function readAddress(bytes: Buffer, at: number): IpAddress {
  for (let n = 0; n < words.length; n++) words[n] = bytes.readUInt32BE(at + 4 * n);
  return ipAddressFromWords(words);
}

function checkVersion(value: Buffer, bytesMin: number): void {
  if (value.length < bytesMin || value[0] !== recordVersion)
    throw new RecordFault(
      `a value of ${value.length} bytes and version ${value[0]}; this program reads version ${recordVersion}`,
    );
}
