import { describe, expect, it } from "vitest";
import {
  buildEchoRequest,
  buildTcpPacket,
  parseTcpPacket,
  type TcpPacket,
  tcpFlags,
} from "../../../src/dataplane/packet.ts";
import type { IpAddress } from "../../../src/flow/address.ts";

const packet: TcpPacket = {
  source: "198.51.100.2" as IpAddress,
  destination: "10.77.0.12" as IpAddress,
  sourcePort: 7703,
  destinationPort: 7,
  sequence: 0xfffffffe,
  acknowledgement: 1,
  flags: tcpFlags.psh | tcpFlags.ack,
  payload: Uint8Array.of(1, 2, 3),
};

/** One's complement sum, as slowly and plainly as it is defined. */
function onesComplement(bytes: readonly number[]): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

describe("building an echo request", () => {
  it("gives it its identifier and sequence, and checksums that sum up to all ones", () => {
    const { source, destination } = packet;
    const bytes = [...buildEchoRequest({ source, destination, identifier: 1023, sequence: 0xfffe })];
    expect(bytes.slice(0, 10)).toEqual([0x45, 0, 0, 28, 0, 0, 0x40, 0, 64, 1]);
    expect([...bytes.slice(20, 22), ...bytes.slice(24)]).toEqual([8, 0, 0x03, 0xff, 0xff, 0xfe]);
    expect(onesComplement(bytes.slice(0, 20))).toBe(0xffff);
    expect(onesComplement(bytes.slice(20))).toBe(0xffff);
  });
});

describe("building TCP packets", () => {
  it("gives both headers their lengths, and checksums that sum up to all ones", () => {
    const bytes = [...buildTcpPacket(packet)];
    expect(bytes).toHaveLength(43);
    expect(bytes.slice(0, 10)).toEqual([0x45, 0, 0, 43, 0, 0, 0x40, 0, 64, 6]);
    expect(onesComplement(bytes.slice(0, 20))).toBe(0xffff);
    const pseudoHeader = [...bytes.slice(12, 20), 0, 6, 0, 23];
    expect(onesComplement([...pseudoHeader, ...bytes.slice(20), 0])).toBe(0xffff);
  });

  it("refuses what does not fit", () => {
    expect(() => buildTcpPacket({ ...packet, payload: new Uint8Array(65_496) })).toThrow(RangeError);
    expect(() => buildTcpPacket({ ...packet, source: "fd77::1" as IpAddress })).toThrow(RangeError);
  });
});

describe("parsing TCP packets", () => {
  it("gives back what was built", () => {
    expect(parseTcpPacket(buildTcpPacket(packet, { timeToLive: 9 }))).toEqual({
      ...packet,
      timeToLive: 9,
      totalBytes: 43,
      intact: true,
    });
  });

  it("leaves out what follows the end of the packet", () => {
    const padded = new Uint8Array(60);
    padded.set(buildTcpPacket(packet));
    expect(parseTcpPacket(padded)).toMatchObject({ payload: packet.payload, intact: true });
  });

  it("reads a packet that was cut, and does not judge its checksums", () => {
    const cut = buildTcpPacket({ ...packet, payload: new Uint8Array(1_000) }).subarray(0, 64);
    const parsed = parseTcpPacket(cut);
    expect(parsed).toMatchObject({ totalBytes: 1_040, sourcePort: 7703 });
    expect(parsed?.intact).toBeUndefined();
    expect(parsed?.payload).toHaveLength(24);
  });

  it("notices a changed byte", () => {
    const bytes = buildTcpPacket(packet);
    bytes[42] = 99;
    expect(parseTcpPacket(bytes)?.intact).toBe(false);
    const header = buildTcpPacket(packet);
    header[8] = 1;
    expect(parseTcpPacket(header)?.intact).toBe(false);
  });

  it("skips options of both headers", () => {
    const plain = buildTcpPacket(packet);
    const bytes = new Uint8Array(plain.length + 8);
    bytes.set(plain.subarray(0, 20));
    bytes.set(plain.subarray(20, 40), 24);
    bytes.set(plain.subarray(40), 48);
    bytes.set([0x46, 0, 0, bytes.length], 0);
    bytes[24 + 12] = 6 << 4;
    expect(parseTcpPacket(bytes)).toMatchObject({ sourcePort: 7703, payload: packet.payload });
  });

  it.each([
    ["shorter than an IP header", (bytes: Uint8Array) => bytes.subarray(0, 19)],
    ["without a whole TCP header", (bytes: Uint8Array) => bytes.subarray(0, 39)],
    ["of IPv6", (bytes: Uint8Array) => bytes.with(0, 0x65)],
    ["of UDP", (bytes: Uint8Array) => bytes.with(9, 17)],
    ["that are fragments", (bytes: Uint8Array) => bytes.with(6, 0x20)],
    ["that are later fragments", (bytes: Uint8Array) => bytes.with(7, 1)],
    ["with an IP header shorter than 20 bytes", (bytes: Uint8Array) => bytes.with(0, 0x44)],
    ["with a total length inside the header", (bytes: Uint8Array) => bytes.with(3, 19)],
    ["with a TCP header shorter than 20 bytes", (bytes: Uint8Array) => bytes.with(32, 0x40)],
    ["with a TCP header longer than the packet", (bytes: Uint8Array) => bytes.with(32, 0xf0)],
  ])("refuses packets %s", (_, spoil) => {
    expect(parseTcpPacket(spoil(buildTcpPacket(packet)))).toBeUndefined();
  });
});
