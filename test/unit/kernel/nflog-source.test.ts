import { describe, expect, it } from "vitest";
import { attribute, be32Attribute, concatBytes, encodeMessage, textAttribute } from "../../../src/kernel/attributes.ts";
import { decodeLoggedPackets } from "../../../src/kernel/nflog-source.ts";

const packetType = 0x400;
const group7701 = Uint8Array.of(2, 0, 0x1e, 0x15);

function logged(type: number, header: Uint8Array, ...attributes: Uint8Array[]): Uint8Array {
  return encodeMessage({ type, flags: 0, sequence: 0 }, concatBytes([header, ...attributes]));
}

describe("logged packets", () => {
  it("have group, bytes, prefix, mark, device, source and number", () => {
    const datagram = logged(
      packetType,
      group7701,
      be32Attribute(2, 0x10000),
      be32Attribute(4, 3),
      attribute(8, Uint8Array.of(0, 6, 0, 0, 2, 0, 0, 0, 0, 0x11, 0, 0)),
      attribute(9, Uint8Array.of(0x45, 0)),
      textAttribute(10, "unknown"),
      be32Attribute(12, 42),
    );
    expect(decodeLoggedPackets(datagram)).toEqual([
      {
        group: 7701,
        payload: Uint8Array.of(0x45, 0),
        prefix: "unknown",
        mark: 0x10000,
        inputDevice: 3,
        sourceLinkAddress: "02:00:00:00:00:11",
        sequence: 42,
      },
    ]);
  });

  it("of this host have neither device nor source", () => {
    expect(decodeLoggedPackets(logged(packetType, group7701, attribute(9, Uint8Array.of(1))))).toEqual([
      { group: 7701, payload: Uint8Array.of(1), prefix: "", mark: 0, inputDevice: 0, sequence: 0 },
    ]);
  });

  it("come several in a datagram, and what is malformed or no packet is left out", () => {
    const good = logged(packetType, group7701, attribute(9, Uint8Array.of(1, 2, 3, 4)));
    const other = logged(packetType + 1, group7701, attribute(9, Uint8Array.of(9, 9, 9, 9)));
    const torn = logged(packetType, group7701, Uint8Array.of(200, 0, 9, 0));
    const empty = logged(packetType, new Uint8Array(0));
    const payloads = decodeLoggedPackets(concatBytes([good, other, torn, empty, good])).map(({ payload }) => [
      ...payload,
    ]);
    expect(payloads).toEqual([
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ]);
    expect(decodeLoggedPackets(good.subarray(0, good.length - 1))).toEqual([]);
  });
});
