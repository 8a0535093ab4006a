/**
 * What a tracker's database holds, byte for byte.
 *
 * Keys: shard (2 bytes), kind (1), then what names the row; numbers big-endian, so that a shard is one range. Values
 * begin with the version of their form. A row that doesn't read back is a fault of the disk or a newer program's.
 */
import { ipAddressFromBytes, ipAddressToBytes, mappedBytes, parseIpAddress } from "../flow/address.ts";
import type { FlowKey, LiveFlowState, Protocol } from "../flow/flow.ts";
import type { FlowRecord } from "./owner-index.ts";
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

export const rowKinds = { position: 1, flow: 2, tombstone: 3, sender: 4 } as const;
export type RowKind = (typeof rowKinds)[keyof typeof rowKinds];

const version = 1;
const protocols: readonly Protocol[] = ["tcp", "udp"];
const states: readonly LiveFlowState[] = ["half-open", "open", "closing"];
const keyHeadBytes = 3;
const flowKeyBytes = 1 + mappedBytes + 2 + mappedBytes + 2;
const recordBytes = 2 + 8 + 8 + 8;
const positionHeadBytes = 2 + 8;

/** A row of the database that this program did not write, or not like this. */
export class RecordFault extends Error {
  override readonly name = "RecordFault";
}

export function rowKey(shard: number, kind: RowKind, name: Uint8Array = new Uint8Array()): Buffer {
  const key = Buffer.allocUnsafe(keyHeadBytes + name.length);
  key.writeUInt16BE(shard);
  key.writeUInt8(kind, 2);
  key.set(name, keyHeadBytes);
  return key;
}

/** All rows of a shard: from the first key on, up to and without the second. */
export function shardRange(shard: number): { gte: Buffer; lt: Buffer } {
  return { gte: rowKey(shard, 0 as RowKind), lt: rowKey(shard + 1, 0 as RowKind) };
}

export function readRowKey(key: Buffer): { readonly kind: number; readonly name: Buffer } {
  if (key.length < keyHeadBytes) throw new RecordFault(`a key of ${key.length} bytes`);
  return { kind: key.readUInt8(2), name: key.subarray(keyHeadBytes) };
}

/** The flow key first: all owners of a key lie side by side. */
export function flowName(owner: string, key: FlowKey): Buffer {
  return Buffer.concat([flowKeyToBytes(key), Buffer.from(owner)]);
}

export function tombstoneName(key: FlowKey): Buffer {
  return flowKeyToBytes(key);
}

export function encodeRecord({ flow, changedAt }: FlowRecord): Buffer {
  const value = Buffer.allocUnsafe(recordBytes);
  value.writeUInt8(version);
  value.writeUInt8(states.indexOf(flow.state as LiveFlowState), 1);
  value.writeBigUInt64BE(BigInt(flow.openedAtMs), 2);
  value.writeBigUInt64BE(flow.generation, 10);
  value.writeBigUInt64BE(changedAt, 18);
  return value;
}

export function decodeRecord(name: Buffer, value: Buffer): FlowRecord {
  checkVersion(value, recordBytes);
  const state = states[value.readUInt8(1)];
  if (state === undefined) throw new RecordFault(`a flow's state ${value.readUInt8(1)}`);
  const key = flowKeyFromBytes(name);
  const owner = name.subarray(flowKeyBytes).toString();
  const openedAtMs = Number(value.readBigUInt64BE(2));
  return {
    flow: { key, owner, state, openedAtMs, generation: value.readBigUInt64BE(10) },
    changedAt: value.readBigUInt64BE(18),
  };
}

export function encodeTombstone({ owner, closedAt }: Tombstone): Buffer {
  const value = Buffer.alloc(9);
  value.writeUInt8(version);
  value.writeBigUInt64BE(closedAt, 1);
  return Buffer.concat([value, Buffer.from(owner)]);
}

export function decodeTombstone(name: Buffer, value: Buffer): Tombstone {
  checkVersion(value, 9);
  return { key: flowKeyFromBytes(name), owner: value.subarray(9).toString(), closedAt: value.readBigUInt64BE(1) };
}

export function encodePosition({ sequence, fingerprint, rebuilding }: Position): Buffer {
  const value = Buffer.alloc(positionHeadBytes);
  value.writeUInt8(version);
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
  return Buffer.concat([Buffer.from([version]), Buffer.from(text)]);
}

type Stored<T> = T extends bigint ? string : T extends object ? { [Key in keyof T]: Stored<T[Key]> } : T;

export function decodeSender(value: Buffer): Sender {
  checkVersion(value, 1);
  const stored = JSON.parse(value.subarray(1).toString()) as Stored<Sender>;
  const boots = stored.boots.map(({ boot, sequence }) => ({ boot, sequence: BigInt(sequence) }));
  const sender: Sender = { instance: stored.instance, boots, retired: [...stored.retired], broken: stored.broken };
  if (stored.snapshot !== undefined) {
    const { id, boot, begunAt, addresses, flows } = stored.snapshot;
    const scope = addresses.flatMap((text) => parseIpAddress(String(text)) ?? []);
    sender.snapshot = { id: BigInt(id), boot, begunAt: BigInt(begunAt), addresses: scope, flows };
  }
  if (stored.forwards !== undefined)
    sender.forwards = stored.forwards.flatMap(({ address, owner }) => {
      const known = parseIpAddress(String(address));
      return known === undefined ? [] : [{ address: known, owner }];
    });
  return sender;
}

function flowKeyToBytes(key: FlowKey): Buffer {
  const bytes = Buffer.allocUnsafe(flowKeyBytes);
  bytes.set(ipAddressToBytes(key.address));
  bytes.writeUInt8(protocols.indexOf(key.protocol), mappedBytes);
  bytes.writeUInt16BE(key.port, mappedBytes + 1);
  bytes.set(ipAddressToBytes(key.peer), mappedBytes + 3);
  bytes.writeUInt16BE(key.peerPort, 2 * mappedBytes + 3);
  return bytes;
}

function flowKeyFromBytes(bytes: Buffer): FlowKey {
  if (bytes.length < flowKeyBytes) throw new RecordFault(`a flow's key of ${bytes.length} bytes`);
  const protocol = protocols[bytes.readUInt8(mappedBytes)];
  if (protocol === undefined) throw new RecordFault(`a flow's protocol ${bytes.readUInt8(mappedBytes)}`);
  return {
    address: ipAddressFromBytes(bytes.subarray(0, mappedBytes)),
    protocol,
    port: bytes.readUInt16BE(mappedBytes + 1),
    peer: ipAddressFromBytes(bytes.subarray(mappedBytes + 3, 2 * mappedBytes + 3)),
    peerPort: bytes.readUInt16BE(2 * mappedBytes + 3),
  };
}

function checkVersion(value: Buffer, bytesMin: number): void {
  if (value.length < bytesMin || value[0] !== version)
    throw new RecordFault(
      `a value of ${value.length} bytes and version ${value[0]}; this program reads version ${version}`,
    );
}
