import { describe, expect, it } from "vitest";
import {
  attribute,
  be16Attribute,
  be32Attribute,
  concatBytes,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  nestedAttribute,
  textAttribute,
  u16Attribute,
  u32Attribute,
} from "../../../src/kernel/attributes.ts";

describe("netlink messages", () => {
  it("carry length, type, flags, sequence and port in host order", () => {
    const bytes = encodeMessage({ type: 0x10, flags: 0x305, sequence: 7 }, Uint8Array.of(0xaa));
    expect([...bytes]).toEqual([17, 0, 0, 0, 0x10, 0, 5, 3, 7, 0, 0, 0, 0, 0, 0, 0, 0xaa]);
  });

  it("follow each other in one datagram, padded to 4 bytes", () => {
    const one = encodeMessage({ type: 1, flags: 0, sequence: 1 }, Uint8Array.of(1, 2, 3, 4, 5));
    const two = encodeMessage({ type: 2, flags: 0, sequence: 2 }, new Uint8Array(0));
    const messages = decodeMessages(concatBytes([one, new Uint8Array(3), two]));
    expect(messages?.map(({ type, payload }) => [type, [...payload]])).toEqual([
      [1, [1, 2, 3, 4, 5]],
      [2, []],
    ]);
  });

  it("that claim more bytes than there are, or fewer than a header, are malformed", () => {
    const bytes = encodeMessage({ type: 1, flags: 0, sequence: 1 }, new Uint8Array(8));
    expect(decodeMessages(bytes.subarray(0, 20))).toBeUndefined();
    expect(decodeMessages(bytes.subarray(0, 7))).toBeUndefined();
    bytes[0] = 15;
    expect(decodeMessages(bytes)).toBeUndefined();
  });
});

describe("netlink attributes", () => {
  it("are a length, a type and a value, padded to 4 bytes", () => {
    expect([...u16Attribute(3, 0x0102)]).toEqual([6, 0, 3, 0, 2, 1, 0, 0]);
    expect([...be16Attribute(3, 0x0102)]).toEqual([6, 0, 3, 0, 1, 2, 0, 0]);
    expect([...textAttribute(1, "lo")]).toEqual([7, 0, 1, 0, 0x6c, 0x6f, 0, 0]);
    expect([...nestedAttribute(2, u32Attribute(1, 5))]).toEqual([12, 0, 2, 0x80, 8, 0, 1, 0, 5, 0, 0, 0]);
  });

  it("that are absent or too short read as undefined", () => {
    const attributes = decodeAttributes(concatBytes([u16Attribute(1, 9), attribute(2, new Uint8Array(0))]));
    expect(attributes?.u32(1)).toBeUndefined();
    expect(attributes?.be32(1)).toBeUndefined();
    expect(attributes?.u8(2)).toBeUndefined();
    expect(attributes?.text(2)).toBe("");
    expect(attributes?.bytes(9)).toBeUndefined();
    expect(attributes?.nested(1)?.has(0)).not.toBe(true);
  });

  it("of one type count by the last, as in the kernel", () => {
    expect(decodeAttributes(concatBytes([be32Attribute(4, 1), be32Attribute(4, 2)]))?.be32(4)).toBe(2);
  });

  it("that reach past the end, or are shorter than their header, are malformed", () => {
    const bytes = u32Attribute(1, 1);
    expect(decodeAttributes(bytes.subarray(0, 7))).toBeUndefined();
    expect(decodeAttributes(Uint8Array.of(3, 0, 1, 0))).toBeUndefined();
    expect(decodeAttributes(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0))).toBeUndefined();
  });

  it("too large for their length field are refused", () => {
    expect(() => attribute(1, new Uint8Array(65_532))).toThrow(RangeError);
  });
});
