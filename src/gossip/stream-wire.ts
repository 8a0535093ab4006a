/** Messages of streams in bytes: a kind, then its fields. Decoding is total, as in wire.ts. */
import { ByteReader, ByteWriter } from "./bytes.ts";
import { membersMax } from "./member-table.ts";
import { digestBuckets, type StreamMessage, type SyncEntry, type SyncRequest } from "./message.ts";
import { streamMessageBytes } from "./size.ts";
import {
  type Decoded,
  readFlag,
  readIncarnation,
  readLoad,
  readName,
  readProfile,
  readState,
  writeLoad,
  writeProfile,
  writeState,
} from "./wire.ts";

const kinds = ["stream-ping", "stream-ack", "sync-request", "sync-reply", "sync-finish"] as const;
const firstKind = 1;

export function encodeStreamMessage(message: StreamMessage): Buffer {
  const writer = new ByteWriter(streamMessageBytes(message));
  writer.u8(kinds.indexOf(message.kind) + firstKind);
  switch (message.kind) {
    case "stream-ping":
      writer.u32(message.sequence);
      writer.text(message.target);
      break;
    case "stream-ack":
      writer.u32(message.sequence);
      break;
    case "sync-request":
      writeRequest(writer, message);
      break;
    case "sync-reply":
      writer.u8(message.buckets.length);
      for (const bucket of message.buckets) writer.u8(bucket);
      writeEntries(writer, message.entries);
      break;
    case "sync-finish":
      writeEntries(writer, message.entries);
      break;
    default:
      message satisfies never;
  }
  return writer.done();
}

export function decodeStreamMessage(bytes: Uint8Array): Decoded<StreamMessage> {
  const reader = new ByteReader(bytes);
  const number = reader.u8();
  const kind = kinds[number - firstKind];
  if (kind === undefined) return { ok: false, reason: `stream message of kind ${number}` };
  const value = readMessage(reader, kind);
  reader.end();
  return reader.fault === undefined ? { ok: true, value } : { ok: false, reason: `${kind}: ${reader.fault}` };
}

function readMessage(reader: ByteReader, kind: (typeof kinds)[number]): StreamMessage {
  switch (kind) {
    case "stream-ping":
      return { kind, sequence: reader.u32(), target: readName(reader) };
    case "stream-ack":
      return { kind, sequence: reader.u32() };
    case "sync-request":
      return readRequest(reader);
    case "sync-reply":
      return { kind, buckets: readBuckets(reader), entries: readEntries(reader) };
    case "sync-finish":
      return { kind, entries: readEntries(reader) };
    default:
      return kind satisfies never;
  }
}

function writeRequest(writer: ByteWriter, { digests, held, self }: SyncRequest): void {
  writer.u8(digests.length);
  for (const digest of digests) writer.u32(digest);
  writer.u8(held === undefined ? 0 : 1);
  if (held !== undefined) {
    writer.text(held.name);
    writer.u32(held.incarnation);
    writeState(writer, held.state);
  }
  writeEntry(writer, self);
}

function readRequest(reader: ByteReader): SyncRequest {
  const count = reader.u8();
  if (count !== digestBuckets) reader.fail(`${count} digests, and ${digestBuckets} are wanted`);
  const digests = Array.from({ length: reader.fault === undefined ? count : 0 }, () => reader.u32());
  const held = readFlag(reader)
    ? { name: readName(reader), incarnation: readIncarnation(reader), state: readState(reader) }
    : undefined;
  return { kind: "sync-request", digests, held, self: readEntry(reader) };
}

/** Each once, in order. */
function readBuckets(reader: ByteReader): number[] {
  const count = reader.u8();
  const buckets: number[] = [];
  for (let index = 0; index < count && reader.fault === undefined; index++) {
    const bucket = reader.u8();
    if (bucket >= digestBuckets || bucket <= (buckets.at(-1) ?? -1)) reader.fail(`bucket ${bucket}`);
    buckets.push(bucket);
  }
  return buckets;
}

function writeEntries(writer: ByteWriter, entries: readonly SyncEntry[]): void {
  writer.u16(entries.length);
  for (const entry of entries) writeEntry(writer, entry);
}

function readEntries(reader: ByteReader): SyncEntry[] {
  const count = reader.u16();
  if (count > membersMax) reader.fail(`${count} members, and ${membersMax} are allowed`);
  const entries: SyncEntry[] = [];
  for (let index = 0; index < count && reader.fault === undefined; index++) entries.push(readEntry(reader));
  return entries;
}

function writeEntry(writer: ByteWriter, { profile, incarnation, state, load }: SyncEntry): void {
  writeProfile(writer, profile);
  writer.u32(incarnation);
  writeState(writer, state);
  writeLoad(writer, load);
}

function readEntry(reader: ByteReader): SyncEntry {
  const profile = readProfile(reader);
  return { profile, incarnation: readIncarnation(reader), state: readState(reader), load: readLoad(reader) };
}
