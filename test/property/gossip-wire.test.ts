import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { messageBytes, packetHeadBytes, streamMessageBytes } from "../../src/gossip/size.ts";
import { decodeStreamMessage, encodeStreamMessage } from "../../src/gossip/stream-wire.ts";
import { decodePacket, encodePacket } from "../../src/gossip/wire.ts";
import { packetMessage, streamMessage } from "./gossip-messages.ts";

const canonical = <T>(value: T): unknown =>
  JSON.parse(JSON.stringify(value, (_, inner) => (inner instanceof Uint8Array ? [...inner] : inner)));

describe("the wire form of gossip", () => {
  it("gives every packet back as it was, in exactly the bytes that were foretold", () => {
    fc.assert(
      fc.property(fc.array(packetMessage, { maxLength: 12 }), (messages) => {
        const bytes = encodePacket(messages);
        expect(bytes.length).toBe(messages.reduce((sum, message) => sum + messageBytes(message), packetHeadBytes));
        const decoded = decodePacket(bytes);
        expect(decoded.ok && canonical(decoded.value)).toEqual(canonical(messages));
      }),
    );
  });

  it("gives every message of a stream back as it was, in exactly the bytes that were foretold", () => {
    fc.assert(
      fc.property(streamMessage, (message) => {
        const bytes = encodeStreamMessage(message);
        expect(bytes.length).toBe(streamMessageBytes(message));
        const decoded = decodeStreamMessage(bytes);
        expect(decoded.ok && canonical(decoded.value)).toEqual(canonical(message));
      }),
    );
  });

  it("answers garbage with a reason, never with an exception", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const decoded of [decodePacket(bytes), decodeStreamMessage(bytes)])
          if (!decoded.ok) expect(decoded.reason).not.toBe("");
      }),
      { numRuns: 2_000 },
    );
  });

  it("refuses every truncation of what is not empty", () => {
    fc.assert(
      fc.property(fc.array(packetMessage, { minLength: 1, maxLength: 4 }), fc.nat(), (messages, cut) => {
        const bytes = encodePacket(messages);
        expect(decodePacket(bytes.subarray(0, cut % bytes.length)).ok).toBe(false);
      }),
    );
  });

  it("refuses an overflowing compound: more messages than it has, lengths beyond its end, bytes after the last", () => {
    const two = encodePacket([
      { kind: "ack", sequence: 7 },
      { kind: "ping", sequence: 8, target: "one" },
    ]);
    const changed = (at: number, value: number): Buffer => {
      const bytes = Buffer.from(two);
      bytes[at] = value;
      return bytes;
    };
    expect(decodePacket(two)).toMatchObject({ ok: true, value: [{ kind: "ack" }, { kind: "ping" }] });
    const overflowing = {
      "a third message": changed(0, 3),
      "all that a count can say": changed(0, 255),
      "fewer messages than there are": changed(0, 1),
      "a first message as long as can be said": changed(1, 255),
      "a first message that reaches into the second": changed(2, (two[2] ?? 0) + 1),
      "a text longer than its message": changed(two.length - 4, 255),
      "a byte after the last": Buffer.concat([two, Buffer.alloc(1)]),
    };
    for (const [what, bytes] of Object.entries(overflowing))
      expect({ what, ok: decodePacket(bytes).ok }).toEqual({ what, ok: false });
  });

  it("reads on or refuses when a byte is another, and stays within the bounds", () => {
    fc.assert(
      fc.property(
        fc.array(packetMessage, { minLength: 1, maxLength: 6 }),
        fc.nat(),
        fc.nat(255),
        (messages, at, value) => {
          const bytes = encodePacket(messages);
          bytes[at % bytes.length] = value;
          const decoded = decodePacket(bytes);
          if (decoded.ok) expect(() => encodePacket(decoded.value)).not.toThrow();
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
