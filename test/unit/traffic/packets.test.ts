import { describe, expect, it } from "vitest";
import { internetChecksum, tcpPacketBytes } from "../../traffic/packets.ts";

const packet = {
  source: "198.51.100.2",
  destination: "203.0.113.10",
  sourcePort: 50_000,
  destinationPort: 7000,
  sequence: 0xffff_fff0,
  acknowledgement: 7,
  flags: "SF",
} as const;

describe("a packet made for a test", () => {
  it("has checksums that a receiver finds right", () => {
    const bytes = tcpPacketBytes(packet);
    const pseudo = Buffer.concat([bytes.subarray(12, 20), Buffer.from([0, 6, 0, 20])]);
    expect(internetChecksum(bytes.subarray(0, 20))).toBe(0);
    expect(internetChecksum(Buffer.concat([pseudo, bytes.subarray(20)]))).toBe(0);
  });

  it("differs only in its checksum when that is to be wrong", () => {
    const [right, wrong] = [tcpPacketBytes(packet), tcpPacketBytes({ ...packet, wrongChecksum: true })];
    const differing = [...right].flatMap((byte, index) => (byte === wrong[index] ? [] : [index]));
    expect(differing).toEqual([36, 37]);
  });

  it("carries its flags, ports and numbers where TCP has them", () => {
    const bytes = tcpPacketBytes(packet);
    expect([bytes.readUInt16BE(20), bytes.readUInt16BE(22), bytes.readUInt32BE(24), bytes[33]]).toEqual([
      50_000, 7000, 0xffff_fff0, 3,
    ]);
  });
});
