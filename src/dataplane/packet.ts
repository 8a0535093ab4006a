/**
 * IPv4 packets with TCP inside (RFC 791, RFC 9293), bytes to values and back; and echo requests.
 *
 * Parsing takes bytes from strangers: it reads nothing outside them, and says what does not add up.
 */
import { type IpAddress, ipAddressFromBytes, ipAddressToBytes } from "../flow/address.ts";

export const tcpFlags = { fin: 0x01, syn: 0x02, rst: 0x04, psh: 0x08, ack: 0x10, urg: 0x20 } as const;

export interface TcpPacket {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Bits of {@link tcpFlags}. */
  readonly flags: number;
  readonly payload: Uint8Array;
}

export interface EchoRequest {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  /** 16 bits, as the sequence. */
  readonly identifier: number;
  readonly sequence: number;
}

export interface TcpPacketOptions {
  readonly timeToLive?: number;
  readonly window?: number;
}

export interface ParsedTcpPacket extends TcpPacket {
  readonly timeToLive: number;
  /** What the IP header says of the whole packet; more than was there where a copy was cut. */
  readonly totalBytes: number;
  /** Both checksums are right; `undefined` where the packet was cut and nobody can say. */
  readonly intact: boolean | undefined;
}

const ipHeaderBytes = 20;
const tcpHeaderBytes = 20;
const icmpHeaderBytes = 8;
const icmpProtocol = 1;
const echoRequestType = 8;
/** Headers of the packets that are built here; they have no options. */
export const tcpPacketHeaderBytes = ipHeaderBytes + tcpHeaderBytes;
const maxPacketBytes = 65_535;
const tcpProtocol = 6;
const dontFragment = 0x4000;
const moreFragments = 0x2000;
const fragmentOffsetMask = 0x1fff;
const defaultTimeToLive = 64;
const defaultWindow = 65_535;

/** Has "don't fragment" set. @throws RangeError for addresses that are no IPv4 and payloads that do not fit */
export function buildTcpPacket(packet: TcpPacket, options: TcpPacketOptions = {}): Uint8Array {
  const totalBytes = tcpPacketHeaderBytes + packet.payload.length;
  if (totalBytes > maxPacketBytes) throw new RangeError(`a packet of ${totalBytes} bytes exceeds ${maxPacketBytes}`);
  const bytes = new Uint8Array(totalBytes);
  const view = new DataView(bytes.buffer);
  writeIpHeader(bytes, { ...packet, protocol: tcpProtocol, timeToLive: options.timeToLive ?? defaultTimeToLive });
  const tcp = ipHeaderBytes;
  view.setUint16(tcp, packet.sourcePort);
  view.setUint16(tcp + 2, packet.destinationPort);
  view.setUint32(tcp + 4, packet.sequence);
  view.setUint32(tcp + 8, packet.acknowledgement);
  view.setUint8(tcp + 12, (tcpHeaderBytes / 4) << 4);
  view.setUint8(tcp + 13, packet.flags);
  view.setUint16(tcp + 14, options.window ?? defaultWindow);
  bytes.set(packet.payload, tcpPacketHeaderBytes);
  view.setUint16(tcp + 16, segmentChecksum(bytes, tcp));
  return bytes;
}

/** An ICMP echo request without content (RFC 792). @throws RangeError for addresses that are no IPv4 */
export function buildEchoRequest(echo: EchoRequest): Uint8Array {
  const bytes = new Uint8Array(ipHeaderBytes + icmpHeaderBytes);
  const view = new DataView(bytes.buffer);
  writeIpHeader(bytes, { ...echo, protocol: icmpProtocol, timeToLive: defaultTimeToLive });
  view.setUint8(ipHeaderBytes, echoRequestType);
  view.setUint16(ipHeaderBytes + 4, echo.identifier);
  view.setUint16(ipHeaderBytes + 6, echo.sequence);
  view.setUint16(ipHeaderBytes + 2, checksum(bytes.subarray(ipHeaderBytes)));
  return bytes;
}

/**
 * A packet from its IP header on, whole or cut short after the TCP header; what follows its end is left out. Undefined:
 * no TCP in IPv4, a fragment, or lengths that do not add up.
 */
export function parseTcpPacket(bytes: Uint8Array): ParsedTcpPacket | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const tcp = tcpHeaderStart(view);
  if (tcp === undefined) return undefined;
  const totalBytes = view.getUint16(2);
  const present = bytes.subarray(0, totalBytes);
  if (present.length < tcp + tcpHeaderBytes) return undefined;
  const dataStart = tcp + (view.getUint8(tcp + 12) >> 4) * 4;
  if (dataStart < tcp + tcpHeaderBytes || dataStart > totalBytes) return undefined;
  return {
    source: ipAddressFromBytes(bytes.subarray(12, 16)),
    destination: ipAddressFromBytes(bytes.subarray(16, 20)),
    sourcePort: view.getUint16(tcp),
    destinationPort: view.getUint16(tcp + 2),
    sequence: view.getUint32(tcp + 4),
    acknowledgement: view.getUint32(tcp + 8),
    flags: view.getUint8(tcp + 13),
    payload: present.subarray(dataStart),
    timeToLive: view.getUint8(8),
    totalBytes,
    intact: present.length < totalBytes ? undefined : isIntact(present, tcp),
  };
}

/** Where the IP header ends, if it is whole, unfragmented and followed by TCP. */
function tcpHeaderStart(view: DataView): number | undefined {
  if (view.byteLength < ipHeaderBytes || view.getUint8(0) >> 4 !== 4) return undefined;
  if (view.getUint8(9) !== tcpProtocol || (view.getUint16(6) & (moreFragments | fragmentOffsetMask)) !== 0)
    return undefined;
  const headerBytes = (view.getUint8(0) & 0x0f) * 4;
  return headerBytes < ipHeaderBytes || view.getUint16(2) < headerBytes ? undefined : headerBytes;
}

function isIntact(packet: Uint8Array, headerBytes: number): boolean {
  return checksum(packet.subarray(0, headerBytes)) === 0 && segmentChecksum(packet, headerBytes) === 0;
}

/** Of the TCP segment with its pseudo header (RFC 9293 3.1). */
function segmentChecksum(packet: Uint8Array, start: number): number {
  return checksum(packet.subarray(start), sum(packet.subarray(12, 20)) + tcpProtocol + packet.length - start);
}

/** The internet checksum (RFC 1071); 0 over bytes that carry a right one. */
function checksum(bytes: Uint8Array, initial = 0): number {
  let folded = initial + sum(bytes);
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

function sum(bytes: Uint8Array): number {
  let total = 0;
  for (let at = 0; at < bytes.length; at += 2) total += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return total;
}

interface IpHeader {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly protocol: number;
  readonly timeToLive: number;
}

function writeIpHeader(bytes: Uint8Array, { source, destination, protocol, timeToLive }: IpHeader): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  view.setUint8(0, 0x45);
  view.setUint16(2, bytes.length);
  view.setUint16(6, dontFragment);
  view.setUint8(8, timeToLive);
  view.setUint8(9, protocol);
  bytes.set(ipv4Bytes(source), 12);
  bytes.set(ipv4Bytes(destination), 16);
  view.setUint16(10, checksum(bytes.subarray(0, ipHeaderBytes)));
}

function ipv4Bytes(address: IpAddress): Uint8Array {
  if (address.includes(":")) throw new RangeError(`${address} is no IPv4 address`);
  return ipAddressToBytes(address).subarray(12);
}
