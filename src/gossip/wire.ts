/**
 * Messages in bytes. Decoding is total: any input gives messages within their bounds, or a reason.
 *
 * A packet is a count, and for each message the length of what follows (2), its kind (1) and its fields. Kinds that we
 * don't know are passed over: a newer version may use them. size.ts knows every length without encoding.
 */
import { formatMemberAddress, hostFromBytes, hostPortOf, hostToBytes } from "./address.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import {
  incarnationMax,
  isMemberName,
  loadLevels,
  type MemberAddress,
  type MemberName,
  type MemberProfile,
  type MemberState,
  memberStates,
  metadataBytesMax,
} from "./member.ts";
import { type LoadReport, loadsPerMessageMax, messagesPerPacketMax, type PacketMessage } from "./message.ts";
import { messageBytes, packetHeadBytes } from "./size.ts";

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string };

const kinds = ["ping", "indirect-ping", "ack", "nack", "alive", "suspect", "dead", "loads"] as const;
const firstKind = 1;

export function encodePacket(messages: readonly PacketMessage[]): Buffer {
  if (messages.length > messagesPerPacketMax) throw new RangeError(`${messages.length} messages in a packet`);
  const bytes = messages.reduce((sum, message) => sum + messageBytes(message), packetHeadBytes);
  const writer = new ByteWriter(bytes);
  writer.u8(messages.length);
  for (const message of messages) {
    const start = writer.length;
    writer.u16(0);
    writer.u8(kinds.indexOf(message.kind) + firstKind);
    writeMessage(writer, message);
    writer.u16At(writer.length - start - 2, start);
  }
  return writer.done();
}

export function decodePacket(bytes: Uint8Array): Decoded<PacketMessage[]> {
  const reader = new ByteReader(bytes);
  const messages: PacketMessage[] = [];
  const count = reader.u8();
  for (let index = 0; index < count && reader.fault === undefined; index++) {
    const body = new ByteReader(reader.bytes(reader.u16()));
    if (reader.fault !== undefined) break;
    const kind = kinds[body.u8() - firstKind];
    const message = kind === undefined ? undefined : readMessage(body, kind);
    if (message !== undefined) body.end();
    if (body.fault !== undefined)
      return { ok: false, reason: `message ${index + 1}, ${kind ?? "empty"}: ${body.fault}` };
    if (message !== undefined) messages.push(message);
  }
  reader.end();
  return reader.fault === undefined ? { ok: true, value: messages } : { ok: false, reason: `packet: ${reader.fault}` };
}

function writeMessage(writer: ByteWriter, message: PacketMessage): void {
  switch (message.kind) {
    case "ping":
      writer.u32(message.sequence);
      writer.text(message.target);
      return;
    case "indirect-ping":
      writer.u32(message.sequence);
      writer.text(message.target);
      writeAddress(writer, message.targetAddress);
      writer.u8(message.nack ? 1 : 0);
      return;
    case "ack":
    case "nack":
      writer.u32(message.sequence);
      return;
    case "alive":
      writer.u32(message.incarnation);
      writeProfile(writer, message.profile);
      return;
    case "suspect":
    case "dead":
      writer.u32(message.incarnation);
      writer.text(message.name);
      writer.text(message.from);
      return;
    case "loads":
      writer.u8(message.reports.length);
      for (const report of message.reports) {
        writer.text(report.name);
        writeLoad(writer, report);
      }
      return;
    default:
      message satisfies never;
  }
}

function readMessage(reader: ByteReader, kind: (typeof kinds)[number]): PacketMessage {
  switch (kind) {
    case "ping":
      return { kind, sequence: reader.u32(), target: readName(reader) };
    case "indirect-ping": {
      const [sequence, target, targetAddress] = [reader.u32(), readName(reader), readAddress(reader)];
      return { kind, sequence, target, targetAddress, nack: readFlag(reader) };
    }
    case "ack":
    case "nack":
      return { kind, sequence: reader.u32() };
    case "alive":
      return { kind, incarnation: readIncarnation(reader), profile: readProfile(reader) };
    case "suspect":
    case "dead":
      return { kind, incarnation: readIncarnation(reader), name: readName(reader), from: readName(reader) };
    case "loads":
      return { kind, reports: readReports(reader) };
    default:
      return kind satisfies never;
  }
}

function readReports(reader: ByteReader): LoadReport[] {
  const count = reader.u8();
  if (count > loadsPerMessageMax) reader.fail(`${count} loads, and ${loadsPerMessageMax} are allowed`);
  const reports: LoadReport[] = [];
  for (let index = 0; index < count && reader.fault === undefined; index++)
    reports.push({ name: readName(reader), ...readLoad(reader) });
  return reports;
}

export function writeProfile(writer: ByteWriter, { name, address, metadata, versions }: MemberProfile): void {
  writer.text(name);
  writeAddress(writer, address);
  writer.u16(metadata.length);
  writer.bytes(metadata);
  writer.u8(versions.min);
  writer.u8(versions.max);
  writer.u8(versions.current);
}

export function readProfile(reader: ByteReader): MemberProfile {
  const [name, address, length] = [readName(reader), readAddress(reader), reader.u16()];
  if (length > metadataBytesMax) reader.fail(`${length} bytes of metadata, and ${metadataBytesMax} are allowed`);
  /* A copy: the profile outlives the packet, and must not keep all of it. */
  const metadata = Uint8Array.from(reader.bytes(length));
  const versions = { min: reader.u8(), max: reader.u8(), current: reader.u8() };
  if (versions.min > versions.current || versions.current > versions.max)
    reader.fail(`protocol version ${versions.current} of ${versions.min} to ${versions.max}`);
  return { name, address, metadata, versions };
}

export function writeLoad(writer: ByteWriter, load: Omit<LoadReport, "name">): void {
  writer.u32(load.incarnation);
  writer.u32(load.version);
  writer.u8(load.level);
}

export function readLoad(reader: ByteReader): Omit<LoadReport, "name"> {
  const load = { incarnation: readIncarnation(reader), version: reader.u32(), level: reader.u8() };
  if (load.level >= loadLevels) reader.fail(`load level ${load.level}`);
  return load;
}

export function readName(reader: ByteReader): MemberName {
  const name = reader.text();
  if (reader.fault === undefined && !isMemberName(name)) reader.fail("a name of characters that names don't have");
  return name;
}

export function readIncarnation(reader: ByteReader): number {
  const incarnation = reader.u32();
  if (incarnation > incarnationMax) reader.fail(`incarnation ${incarnation}`);
  return incarnation;
}

export function readFlag(reader: ByteReader): boolean {
  const flag = reader.u8();
  if (flag > 1) reader.fail(`a flag of ${flag}`);
  return flag === 1;
}

export function writeState(writer: ByteWriter, state: MemberState): void {
  writer.u8(memberStates.indexOf(state));
}

export function readState(reader: ByteReader): MemberState {
  const index = reader.u8();
  const state = memberStates[index];
  if (state === undefined) reader.fail(`state ${index}`);
  return state ?? "dead";
}

function writeAddress(writer: ByteWriter, address: MemberAddress): void {
  const { host, port } = hostPortOf(address);
  const bytes = hostToBytes(host);
  writer.u8(bytes.length);
  writer.bytes(bytes);
  writer.u16(port);
}

function readAddress(reader: ByteReader): MemberAddress {
  const length = reader.u8();
  if (length !== 4 && length !== 16) reader.fail(`an address of ${length} bytes`);
  const [host, port] = [reader.bytes(length), reader.u16()];
  if (port === 0) reader.fail("port 0");
  return reader.fault === undefined ? formatMemberAddress(hostFromBytes(host), port) : "";
}
