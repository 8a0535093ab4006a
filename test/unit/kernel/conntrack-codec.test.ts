import { describe, expect, it } from "vitest";
import type { IpAddress } from "../../../src/flow/address.ts";
import { type ConntrackRecord, isTranslated, type Tuple } from "../../../src/flow/observe.ts";
import {
  attribute,
  concatBytes,
  decodeAttributes,
  nestedAttribute,
  u8Attribute,
} from "../../../src/kernel/attributes.ts";
import {
  ConntrackRowWriter,
  conntrackAttribute,
  conntrackMessage,
  tupleAttribute,
} from "../../../src/kernel/conntrack-codec.ts";
import { rowFilter, setMarkRequest } from "../../../src/kernel/conntrack-request.ts";
import { ConntrackRows } from "../../../src/kernel/conntrack-row.ts";
import { bytesOf, fixture, translatedEntry } from "./conntrack-fixtures.ts";

const plainTuple = ({ source, destination, sourcePort, destinationPort }: Tuple) => ({
  source,
  destination,
  sourcePort,
  destinationPort,
});
const plain = ({ event, protocol, original, reply, tcpState, status, mark, id, timeoutSeconds }: ConntrackRecord) => ({
  event,
  protocol,
  original: plainTuple(original),
  reply: plainTuple(reply),
  tcpState,
  status,
  mark,
  id,
  timeoutSeconds,
});

function decodeRows(...datagrams: Uint8Array[]): ConntrackRows {
  const writer = new ConntrackRowWriter();
  for (const datagram of datagrams) writer.addDatagram(datagram);
  return new ConntrackRows(writer.take());
}

function decode(...datagrams: Uint8Array[]) {
  const rows = decodeRows(...datagrams);
  return { records: [...rows].map(plain), count: rows.count, malformed: rows.malformed };
}

const original = { source: "10.9.0.2", destination: "10.9.0.1", sourcePort: 35_924, destinationPort: 8080 };
const reply = { source: "10.9.0.1", destination: "10.9.0.2", sourcePort: 8080, destinationPort: 35_924 };
const id = 0x8ffeac70;

describe("ConntrackRowWriter", () => {
  it("reads the life of a connection as the kernel told it", () => {
    const { newSynSent, established, marked, destroyed } = fixture;
    const { records, malformed } = decode(...[newSynSent, established, marked, destroyed].map(bytesOf));
    const same = { protocol: "tcp", original, reply, id };
    expect(records).toEqual([
      { ...same, event: "new", tcpState: "SYN_SENT", status: 0x08, mark: 0, timeoutSeconds: 120 },
      { ...same, event: "update", tcpState: "ESTABLISHED", status: 0x0e, mark: 0, timeoutSeconds: 432_000 },
      { ...same, event: "update", tcpState: "TIME_WAIT", status: 0x0e, mark: 0xf005_ff00, timeoutSeconds: 119 },
      { ...same, event: "destroy", tcpState: "TIME_WAIT", status: 0x20e, mark: 0xf005_ff00, timeoutSeconds: 119 },
    ]);
    expect(malformed).toBe(0);
  });

  it("reads IPv6 and UDP", () => {
    const { records } = decode(bytesOf(fixture.ipv6Closing), bytesOf(fixture.udp));
    expect(records).toMatchObject([
      { protocol: "tcp", tcpState: "FIN_WAIT", original: { source: "fd09::2", destination: "fd09::1" } },
      { protocol: "udp", event: "new", tcpState: undefined, original: { sourcePort: 52_180, destinationPort: 9999 } },
    ]);
  });

  it("reads both tuples of an entry that the host translates", () => {
    const writer = new ConntrackRowWriter();
    writer.addMessage(conntrackMessage.new, 0, bytesOf(translatedEntry));
    const [record] = new ConntrackRows(writer.take());
    expect(record && plain(record)).toMatchObject({
      event: "update",
      original: { destination: "10.1.1.1", destinationPort: 80 },
      reply: { source: "127.0.0.1", sourcePort: 8080, destination: "0.0.0.0", destinationPort: 53_040 },
    });
    expect(record && isTranslated(record)).toBe(true);
  });

  it("reads all messages of a datagram", () => {
    expect(decode(concatBytes([bytesOf(fixture.newSynSent), bytesOf(fixture.udp)])).count).toBe(2);
  });

  it("gives each row once, and goes on after more rows than its first buffer holds", () => {
    const writer = new ConntrackRowWriter();
    for (let i = 0; i < 1000; i++) writer.addDatagram(bytesOf(i % 2 === 0 ? fixture.established : fixture.udp));
    const protocols = [...new ConntrackRows(writer.take())].map((record) => record.protocol);
    expect(protocols).toEqual(Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? "tcp" : "udp")));
    expect(writer.take().count).toBe(0);
  });

  it("leaves out what is neither TCP nor UDP, and messages of other kinds, without counting them as malformed", () => {
    const icmp = nestedAttribute(
      conntrackAttribute.original,
      nestedAttribute(tupleAttribute.protocol, u8Attribute(1, 1)),
    );
    const writer = new ConntrackRowWriter();
    writer.addMessage(conntrackMessage.new, 0, concatBytes([new Uint8Array(4), icmp]));
    writer.addMessage(2, 0, new Uint8Array(20));
    expect(writer.take()).toMatchObject({ count: 0, malformed: 0 });
  });

  it.each<[string, (whole: Uint8Array) => Uint8Array]>([
    ["is cut", (whole) => whole.subarray(0, 100)],
    ["claims to be longer than it is", (whole) => new Uint8Array(whole).fill(0xff, 0, 2)],
    ["claims to be shorter than its header", (whole) => new Uint8Array(whole).fill(0, 0, 4)],
    ["has an attribute that is too long", (whole) => new Uint8Array(whole).fill(0xff, 20, 22)],
    ["has an address of 3 bytes", (whole) => new Uint8Array(whole).fill(7, 28, 29)],
    ["lacks a tuple", (whole) => new Uint8Array(whole).fill(99, 22, 23)],
    ["lacks a port of the original tuple", (whole) => new Uint8Array(whole).fill(99, 66, 67)],
    ["lacks a port of the reply tuple", (whole) => new Uint8Array(whole).fill(99, 118, 119)],
  ])("counts a message that %s, and reads the next one", (_what, spoil) => {
    const { records, malformed } = decode(spoil(bytesOf(fixture.established)), bytesOf(fixture.udp));
    expect(malformed).toBe(1);
    expect(records.map((record) => [record.protocol, record.tcpState])).toEqual([["udp", undefined]]);
  });

  it("leaves nothing of a message that was not kept in the row after it", () => {
    const spoilt = new Uint8Array(bytesOf(fixture.marked)).fill(99, 22, 23);
    expect(decode(spoilt, bytesOf(fixture.udp)).records).toEqual(decode(bytesOf(fixture.udp)).records);
  });

  it("takes a mark that is not 4 bytes long as malformed", () => {
    const payload = bytesOf(fixture.udp).subarray(16);
    const writer = new ConntrackRowWriter();
    writer.addMessage(
      conntrackMessage.new,
      0,
      concatBytes([payload, attribute(conntrackAttribute.mark, new Uint8Array(5))]),
    );
    expect(writer.take()).toMatchObject({ count: 0, malformed: 1 });
  });
});

describe("setMarkRequest", () => {
  it("leaves out the bits beyond the mask, which the kernel would flip", () => {
    const [record] = [...decodeRows(bytesOf(fixture.established))];
    if (record === undefined) throw new Error("the fixture can't be read");
    const attributes = decodeAttributes(setMarkRequest(record, 0xffff_ffff, 0x8000_00f0).subarray(4));
    expect(attributes?.be32(conntrackAttribute.mark)).toBe(0x8000_00f0);
    expect(attributes?.be32(conntrackAttribute.markMask)).toBe(0x8000_00f0);
  });
});

describe("rowFilter", () => {
  const kept = (filter: Parameters<typeof rowFilter>[0]) => {
    const writer = new ConntrackRowWriter(rowFilter(filter));
    for (const one of [fixture.established, fixture.udp, fixture.ipv6Closing]) writer.addDatagram(bytesOf(one));
    writer.addMessage(conntrackMessage.new, 0, bytesOf(translatedEntry));
    return [...new ConntrackRows(writer.take())].map((record) => record.original.destinationPort);
  };

  it("keeps all without conditions", () => {
    expect(kept({})).toEqual([8080, 9999, 8080, 80]);
  });

  it("keeps one protocol", () => {
    expect(kept({ protocol: "udp" })).toEqual([9999]);
  });

  it.each<[string, string, number[]]>([
    ["the original destination", "10.9.0.1", [8080, 9999]],
    ["the original source", "10.9.0.2", [8080, 9999]],
    ["an IPv6 end", "fd09::1", [8080]],
    ["where replies to a translated connection go", "0.0.0.0", [80]],
    ["not what a reply comes from behind the translation", "127.0.0.1", []],
    ["nobody", "10.9.0.3", []],
  ])("keeps the entries whose local address is %s", (_what, localAddress, ports) => {
    expect(kept({ localAddress: localAddress as IpAddress })).toEqual(ports);
  });
});
