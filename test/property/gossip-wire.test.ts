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
