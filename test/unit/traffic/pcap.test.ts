import { describe, expect, it } from "vitest";
import { type CapturedPacket, readPcap } from "../../traffic/pcap.ts";

/** Ethernet, IPv4, TCP, and so many bytes. */
function frame(options: { flags: number; payloadBytes: number }): Buffer {
  const bytes = Buffer.alloc(54 + options.payloadBytes);
  bytes.writeUInt16BE(0x0800, 12);
  bytes.writeUInt8(0x45, 14);
  bytes.writeUInt16BE(40 + options.payloadBytes, 16);
  bytes.writeUInt8(6, 23);
  bytes.set([203, 0, 113, 10, 198, 51, 100, 2], 26);
  bytes.writeUInt16BE(7001, 34);
  bytes.writeUInt16BE(50_000, 36);
  bytes.writeUInt32BE(4_000_000_000, 38);
  bytes.writeUInt32BE(77, 42);
  bytes.writeUInt8(5 << 4, 46);
  bytes.writeUInt8(options.flags, 47);
  return bytes;
}

function pcap(magic: number, frames: readonly Buffer[], keep = 65_535): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(magic, 0);
  head.writeUInt32LE(1, 20);
  const records = frames.map((bytes, index) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(1_700_000_000 + index, 0);
    record.writeUInt32LE(250, 4);
    record.writeUInt32LE(Math.min(keep, bytes.length), 8);
    record.writeUInt32LE(bytes.length, 12);
    return Buffer.concat([record, bytes.subarray(0, keep)]);
  });
  return Buffer.concat([head, ...records]);
}

const expected: CapturedPacket = {
  atUs: 1_700_000_000_000_250,
  source: "203.0.113.10",
  destination: "198.51.100.2",
  protocol: 6,
  tcp: {
    sourcePort: 7001,
    destinationPort: 50_000,
    sequence: 4_000_000_000,
    acknowledgement: 77,
    syn: false,
    fin: false,
    rst: false,
    ack: true,
    payloadBytes: 100,
  },
};

describe("a capture", () => {
  it("yields each packet with its addresses, ports, flags and length", () => {
    const flags = { ack: 16, "fin ack": 17, "syn ack": 18, rst: 4 };
    const packets = [
      ...readPcap(
        pcap(
          0xa1b2c3d4,
          Object.values(flags).map((bits) => frame({ flags: bits, payloadBytes: 100 })),
        ),
      ),
    ];
    expect(packets[0]).toEqual(expected);
    expect(packets[1]?.tcp).toMatchObject({ fin: true, syn: false, ack: true });
    expect(packets[2]?.tcp).toMatchObject({ syn: true, ack: true, rst: false });
    expect(packets[3]?.tcp).toMatchObject({ rst: true, ack: false });
  });

  it("tells the true length of a packet of which only the head was kept", () => {
    expect([...readPcap(pcap(0xa1b2c3d4, [frame({ flags: 16, payloadBytes: 100 })], 64))]).toEqual([expected]);
  });

  it("may count in nanoseconds", () => {
    const [packet] = readPcap(pcap(0xa1b23c4d, [frame({ flags: 16, payloadBytes: 0 })]));
    expect(Math.round(packet?.atUs ?? 0)).toBe(1_700_000_000_000_000);
  });

  it("may end in the midst of a record, as one does that is still written", () => {
    const whole = pcap(0xa1b2c3d4, [frame({ flags: 16, payloadBytes: 100 }), frame({ flags: 16, payloadBytes: 100 })]);
    expect([...readPcap(whole.subarray(0, whole.length - 20))]).toEqual([expected]);
  });

  it("is refused when it is none", () => {
    expect(() => [...readPcap(Buffer.from("this is not a capture at all"))]).toThrow("not a pcap file");
    expect(() => [...readPcap(Buffer.alloc(3))]).toThrow("not a pcap file");
  });
});
