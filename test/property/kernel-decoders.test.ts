/** Decoders of what kernels send, fed with anything: they never fail, and never lose what comes after. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseIpAddress } from "../../src/flow/address.ts";
import { concatBytes, encodeMessage } from "../../src/kernel/attributes.ts";
import { ConntrackRowWriter, conntrackMessage } from "../../src/kernel/conntrack-codec.ts";
import { setMarkRequest } from "../../src/kernel/conntrack-request.ts";
import { ConntrackRows } from "../../src/kernel/conntrack-row.ts";
import { decodeSocket } from "../../src/kernel/sock-diag-codec.ts";
import { bytesOf, fixture } from "../unit/kernel/conntrack-fixtures.ts";

const whole = Object.values(fixture).map(bytesOf);

/** A true message with some bytes changed, perhaps cut. */
const spoilt = fc
  .tuple(fc.constantFrom(...whole), fc.array(fc.tuple(fc.nat(255), fc.nat(255)), { maxLength: 8 }), fc.nat(260))
  .map(([message, changes, length]) => {
    const bytes = message.slice();
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return bytes.subarray(0, length);
  });

describe("the conntrack decoder", () => {
  it("bears any bytes, and its rows can always be read", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(spoilt, fc.uint8Array({ maxLength: 300 })), { maxLength: 20 }), (datagrams) => {
        const writer = new ConntrackRowWriter();
        for (const datagram of datagrams) writer.addDatagram(datagram);
        const rows = new ConntrackRows(writer.take());
        let count = 0;
        for (const { event, protocol, original, reply } of rows) {
          expect(["new", "update", "destroy"]).toContain(event);
          expect(["tcp", "udp"]).toContain(protocol);
          for (const address of [original.source, original.destination, reply.source, reply.destination]) {
            expect(parseIpAddress(address)).toBe(address);
          }
          count++;
        }
        expect(count).toBe(rows.count);
      }),
      { numRuns: 1000 },
    );
  });

  it("reads a true message the same whatever was read before it", () => {
    const textOf = (writer: ConntrackRowWriter) => {
      const last = [...new ConntrackRows(writer.take())].at(-1);
      return last && [last.event, last.protocol, last.original.source, last.reply.sourcePort, last.tcpState, last.mark];
    };
    fc.assert(
      fc.property(fc.array(spoilt, { maxLength: 5 }), fc.constantFrom(...whole), (before, message) => {
        const used = new ConntrackRowWriter();
        for (const datagram of before) used.addDatagram(datagram);
        used.addDatagram(message);
        const fresh = new ConntrackRowWriter();
        fresh.addDatagram(message);
        expect(textOf(used)).toEqual(textOf(fresh));
      }),
    );
  });

  it("bears any payload of a message of its kinds", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.values(conntrackMessage)),
        fc.uint8Array({ maxLength: 200 }),
        (type, payload) => {
          const writer = new ConntrackRowWriter();
          writer.addDatagram(encodeMessage({ type, flags: 0, sequence: 0 }, concatBytes([new Uint8Array(4), payload])));
          expect(writer.take().count).toBe(0);
        },
      ),
    );
  });
});

describe("requests about conntrack entries", () => {
  it("name the entry in the form in which the kernel tells of it", () => {
    for (const message of whole) {
      const writer = new ConntrackRowWriter();
      writer.addDatagram(message);
      const [record] = new ConntrackRows(writer.take());
      if (record === undefined) throw new Error("a fixture can't be read");
      const request = Buffer.from(setMarkRequest(record, 1, 1));
      const tuple = Buffer.from(message).subarray(16, 20 + (message[20] ?? 0));
      expect(request.subarray(0, 1)).toEqual(tuple.subarray(0, 1));
      expect(request.subarray(4, tuple.length)).toEqual(tuple.subarray(4));
    }
  });
});

describe("the sock_diag decoder", () => {
  it("bears any bytes", () => {
    const plausible = fc
      .tuple(fc.constantFrom(2, 10), fc.nat(15), fc.uint8Array({ minLength: 60, maxLength: 120 }))
      .map(([family, state, rest]) => Uint8Array.of(family, state, ...rest));
    fc.assert(
      fc.property(fc.oneof(plausible, fc.uint8Array({ maxLength: 120 })), (bytes) => {
        const socket = decodeSocket(bytes);
        if (socket === undefined) return;
        expect([parseIpAddress(socket.local), parseIpAddress(socket.remote)]).toEqual([socket.local, socket.remote]);
      }),
      { numRuns: 1000 },
    );
  });
});
