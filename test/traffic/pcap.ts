/**
 * Reads what `tcpdump -w` wrote: the classic pcap format (draft-ietf-opsawg-pcap), Ethernet frames, TCP over IPv4
 * and IPv6. Pure: bytes to packets.
 */

export interface CapturedPacket {
  /** Microseconds since the Unix epoch: exact in a double until the year 2255. */
  readonly atUs: number;
  readonly source: string;
  readonly destination: string;
  /** IP protocol number; 6 is TCP. */
  readonly protocol: number;
  readonly tcp?: CapturedSegment;
}

export interface CapturedSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly syn: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  readonly ack: boolean;
  readonly payloadBytes: number;
}

const fileHeadBytes = 24;
const recordHeadBytes = 16;
const magicMicroseconds = 0xa1b2c3d4;
const magicNanoseconds = 0xa1b23c4d;
const linkTypeEthernet = 1;
const ethernetHeadBytes = 14;
const vlanTagBytes = 4;
const etherTypes = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100 } as const;
const tcp = 6;
const ipv6HeadBytes = 40;

/** A file that ends within a record, as one does that is still being written, yields the whole records. */
export function* readPcap(file: Buffer): Generator<CapturedPacket> {
  const { microsecondsPerTick, littleEndian } = readFileHead(file);
  const word = (at: number) => (littleEndian ? file.readUInt32LE(at) : file.readUInt32BE(at));
  let at = fileHeadBytes;
  while (at + recordHeadBytes <= file.length) {
    const captured = word(at + 8);
    const atUs = word(at) * 1e6 + word(at + 4) * microsecondsPerTick;
    const frame = file.subarray(at + recordHeadBytes, at + recordHeadBytes + captured);
    if (frame.length < captured) return;
    const packet = readFrame(frame, atUs);
    if (packet !== undefined) yield packet;
    at += recordHeadBytes + captured;
  }
}

function readFileHead(file: Buffer): { microsecondsPerTick: number; littleEndian: boolean } {
  if (file.length < fileHeadBytes) throw new Error("not a pcap file: it is shorter than its head");
  const littleEndian = isMagic(file.readUInt32LE(0));
  const magic = littleEndian ? file.readUInt32LE(0) : file.readUInt32BE(0);
  if (!isMagic(magic)) throw new Error(`not a pcap file: it begins with 0x${magic.toString(16)}`);
  const linkType = littleEndian ? file.readUInt32LE(20) : file.readUInt32BE(20);
  if ((linkType & 0xffff) !== linkTypeEthernet) throw new Error(`link type ${linkType} is not Ethernet`);
  return { microsecondsPerTick: magic === magicNanoseconds ? 1e-3 : 1, littleEndian };
}

function isMagic(word: number): boolean {
  return word === magicMicroseconds || word === magicNanoseconds;
}

/** Undefined for what is not IP, or too short to tell. */
function readFrame(frame: Buffer, atUs: number): CapturedPacket | undefined {
  if (frame.length < ethernetHeadBytes) return undefined;
  const tagged = frame.readUInt16BE(12) === etherTypes.vlan && frame.length >= ethernetHeadBytes + vlanTagBytes;
  const head = tagged ? ethernetHeadBytes + vlanTagBytes : ethernetHeadBytes;
  const etherType = frame.readUInt16BE(head - 2);
  const ip = frame.subarray(head);
  if (etherType === etherTypes.ipv4) return readIpv4(ip, atUs);
  if (etherType === etherTypes.ipv6) return readIpv6(ip, atUs);
  return undefined;
}

function readIpv4(ip: Buffer, atUs: number): CapturedPacket | undefined {
  if (ip.length < 20) return undefined;
  const headBytes = (ip.readUInt8(0) & 0x0f) * 4;
  const totalBytes = ip.readUInt16BE(2);
  const isFirstFragment = (ip.readUInt16BE(6) & 0x1fff) === 0;
  const protocol = ip.readUInt8(9);
  const segment = isFirstFragment ? readTcp(protocol, ip.subarray(headBytes), totalBytes - headBytes) : undefined;
  return {
    atUs,
    source: ip.subarray(12, 16).join("."),
    destination: ip.subarray(16, 20).join("."),
    protocol,
    ...(segment === undefined ? {} : { tcp: segment }),
  };
}

function readIpv6(ip: Buffer, atUs: number): CapturedPacket | undefined {
  if (ip.length < ipv6HeadBytes) return undefined;
  const protocol = ip.readUInt8(6);
  const segment = readTcp(protocol, ip.subarray(ipv6HeadBytes), ip.readUInt16BE(4));
  return {
    atUs,
    source: ipv6Text(ip.subarray(8, 24)),
    destination: ipv6Text(ip.subarray(24, 40)),
    protocol,
    ...(segment === undefined ? {} : { tcp: segment }),
  };
}

function readTcp(protocol: number, bytes: Buffer, lengthBytes: number): CapturedSegment | undefined {
  if (protocol !== tcp || bytes.length < 20) return undefined;
  const flags = bytes.readUInt8(13);
  return {
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    acknowledgement: bytes.readUInt32BE(8),
    fin: (flags & 1) !== 0,
    syn: (flags & 2) !== 0,
    rst: (flags & 4) !== 0,
    ack: (flags & 16) !== 0,
    payloadBytes: lengthBytes - (bytes.readUInt8(12) >> 4) * 4,
  };
}

/** All eight groups, nothing left out: only equality matters here. */
function ipv6Text(bytes: Buffer): string {
  return Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(":");
}
