import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { buildTcpPacket, parseTcpPacket } from "../../src/dataplane/packet.ts";
import { ipAddressFromBytes } from "../../src/flow/address.ts";
import {
  type Attributes,
  attribute,
  concatBytes,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  walkAttributes,
} from "../../src/kernel/attributes.ts";
import { decodeLoggedPackets } from "../../src/kernel/nflog-source.ts";

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });
const attributeType = fc.integer({ min: 0, max: 0x3fff });
const port = fc.integer({ min: 0, max: 0xffff });
const word = fc.integer({ min: 0, max: 0xffffffff });
const address = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((raw) => ipAddressFromBytes(raw));

/** Well-formed bytes, some of them changed and the end cut off: more telling than noise. */
const spoilt = (whole: fc.Arbitrary<Uint8Array>) =>
  fc.tuple(whole, fc.array(fc.tuple(fc.nat(), fc.nat(255))), fc.nat()).map(([original, changes, cut]) => {
    const copy = original.slice(0, original.length - (cut % 8));
    for (const [at, value] of changes) if (copy.length > 0) copy[at % copy.length] = value;
    return copy;
  });

const attributes = fc.array(fc.tuple(attributeType, bytes(40)), { maxLength: 8 });
const datagram = fc
  .array(fc.tuple(port, port, word, attributes), { maxLength: 4 })
  .map((messages) =>
    concatBytes(
      messages.map(([type, flags, sequence, inside]) =>
        encodeMessage(
          { type, flags, sequence },
          concatBytes([new Uint8Array(4), ...inside.map((one) => attribute(...one))]),
        ),
      ),
    ),
  );

describe("netlink bytes", () => {
  it("messages come back as they were encoded", () => {
    const message = fc.record({ type: port, flags: port, sequence: word, payload: bytes(64) });
    fc.assert(
      fc.property(fc.array(message), (messages) => {
        const encoded = messages.map((one) => {
          const whole = encodeMessage(one, one.payload);
          return concatBytes([whole, new Uint8Array(-whole.length & 3)]);
        });
        expect(decodeMessages(concatBytes(encoded))).toEqual(messages.map((one) => ({ ...one, port: 0 })));
      }),
    );
  });

  it("attributes come back as they were encoded, also nested", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(attributeType, bytes(64)), { selector: ([type]) => type }), (list) => {
        const encoded = concatBytes(list.map(([type, value]) => attribute(type, value)));
        const check = (decoded: Attributes | undefined) => {
          for (const [type, value] of list) expect(decoded?.bytes(type)).toEqual(value);
        };
        check(decodeAttributes(encoded));
        check(decodeAttributes(nestedAttribute(5, encoded))?.nested(5));
      }),
    );
  });

  it("whatever comes in, nothing is thrown and nothing read outside of it", () => {
    fc.assert(
      fc.property(fc.oneof(bytes(256), spoilt(datagram)), (received) => {
        for (const { payload } of decodeMessages(received) ?? []) {
          expect(payload.byteOffset + payload.length).toBeLessThanOrEqual(received.byteOffset + received.length);
          decodeAttributes(payload)?.nested(1)?.nested(1);
        }
        decodeLoggedPackets(received);
      }),
      { numRuns: 1_000 },
    );
  });

  it("attributes are visited within the bounds given, one after the other", () => {
    fc.assert(
      fc.property(bytes(128), fc.nat(140), fc.nat(140), (received, start, end) => {
        let last = start;
        walkAttributes(received, start, end, (_, from, to) => {
          expect(from).toBeGreaterThanOrEqual(last + 4);
          expect(to).toBeGreaterThanOrEqual(from);
          expect(to).toBeLessThanOrEqual(Math.min(end, received.length));
          last = to;
        });
      }),
      { numRuns: 1_000 },
    );
  });
});

describe("packets", () => {
  const packet = fc.record({
    source: address,
    destination: address,
    sourcePort: port,
    destinationPort: port,
    sequence: word,
    acknowledgement: word,
    flags: fc.integer({ min: 0, max: 0xff }),
    payload: bytes(200),
  });

  it("come back as they were built, with right checksums", () => {
    fc.assert(
      fc.property(packet, (one) => {
        expect(parseTcpPacket(buildTcpPacket(one))).toMatchObject({ ...one, intact: true });
      }),
    );
  });

  it("with one byte changed are refused or known not to be intact, unless the change says the same", () => {
    fc.assert(
      fc.property(packet, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, at, change) => {
        const built = buildTcpPacket(one);
        const index = at % built.length;
        built[index] = (built[index] ?? 0) ^ change;
        expect(parseTcpPacket(built)?.intact).not.toBe(true);
      }),
    );
  });

  it("whatever comes in, nothing is thrown and no payload is longer than what came", () => {
    fc.assert(
      fc.property(fc.oneof(bytes(128), spoilt(packet.map((one) => buildTcpPacket(one)))), (received) => {
        expect(parseTcpPacket(received)?.payload.length ?? 0).toBeLessThanOrEqual(received.length);
      }),
      { numRuns: 1_000 },
    );
  });
});
