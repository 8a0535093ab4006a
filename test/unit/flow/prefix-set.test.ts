import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type IpAddress,
  ipAddressFromBytes,
  type Prefix,
  parsePrefix,
  prefixContains,
} from "../../../src/flow/address.ts";
import { PrefixSet } from "../../../src/flow/prefix-set.ts";

const address = fc
  .oneof(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(ipAddressFromBytes);

const prefix = fc.tuple(address, fc.nat(128)).map(([base, length]) => {
  const bits = base.includes(":") ? length : length % 33;
  return parsePrefix(`${base}/${bits}`) as Prefix;
});

describe("PrefixSet", () => {
  it("holds exactly the addresses that one of its prefixes contains", () => {
    fc.assert(
      fc.property(fc.array(prefix, { maxLength: 5 }), address, (prefixes, candidate) => {
        const expected = prefixes.some((one) => prefixContains(one, candidate));
        expect(new PrefixSet(prefixes).contains(candidate)).toBe(expected);
      }),
    );
  });

  it("holds the first and the last address of each prefix, whatever its length", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 4, maxLength: 4 }), fc.nat(32), (bytes, length) => {
        const base = ipAddressFromBytes(bytes);
        const network = parsePrefix(`${base}/${length}`) as Prefix;
        const last = network.address
          .split(".")
          .map((part, index) => Number(part) | (0xff >> Math.min(8, Math.max(0, length - 8 * index))))
          .join(".") as IpAddress;
        const set = new PrefixSet([network]);
        expect([set.contains(network.address), set.contains(base), set.contains(last)]).toEqual([true, true, true]);
      }),
    );
  });

  it("is empty without prefixes", () => {
    expect(new PrefixSet([]).contains("10.0.0.1" as IpAddress)).toBe(false);
  });
});
