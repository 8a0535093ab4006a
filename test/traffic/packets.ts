/** TCP packets as bytes, right or deliberately wrong. Pure. */

export interface TcpPacket {
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** "SA" is a SYN-ACK. */
  readonly flags: string;
  readonly wrongChecksum?: boolean;
}

const flagBits: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16 };
const headBytes = 20;
const tcp = 6;

export function tcpPacketBytes(packet: TcpPacket): Buffer {
  const ip = Buffer.alloc(headBytes);
  ip.writeUInt8(0x45, 0);
  ip.writeUInt16BE(2 * headBytes, 2);
  ip.writeUInt16BE(0x4000, 6);
  ip.writeUInt8(64, 8);
  ip.writeUInt8(tcp, 9);
  ip.set(octets(packet.source), 12);
  ip.set(octets(packet.destination), 16);
  ip.writeUInt16BE(internetChecksum(ip), 10);
  const segment = Buffer.alloc(headBytes);
  segment.writeUInt16BE(packet.sourcePort, 0);
  segment.writeUInt16BE(packet.destinationPort, 2);
  segment.writeUInt32BE(packet.sequence >>> 0, 4);
  segment.writeUInt32BE(packet.acknowledgement >>> 0, 8);
  segment.writeUInt8((headBytes / 4) << 4, 12);
  segment.writeUInt8(
    [...packet.flags].reduce((bits, flag) => bits | (flagBits[flag] ?? 0), 0),
    13,
  );
  segment.writeUInt16BE(64_240, 14);
  const pseudo = Buffer.from([...octets(packet.source), ...octets(packet.destination), 0, tcp, 0, headBytes]);
  const checksum = internetChecksum(Buffer.concat([pseudo, segment]));
  segment.writeUInt16BE(packet.wrongChecksum === true ? checksum ^ 0x5555 : checksum, 16);
  return Buffer.concat([ip, segment]);
}

/** RFC 1071. */
export function internetChecksum(bytes: Buffer): number {
  let sum = 0;
  for (let index = 0; index < bytes.length; index += 2) sum += bytes.readUInt16BE(index);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function octets(address: string): number[] {
  return address.split(".").map(Number);
}
