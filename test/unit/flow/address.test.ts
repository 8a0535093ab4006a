import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  compareIpAddresses,
  formatPrefix,
  type IpAddress,
  ipAddressFromBytes,
  ipAddressToBytes,
  parseIpAddress,
  parsePrefix,
  prefixContains,
} from "../../../src/flow/address.ts";

function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new RangeError(`not an address: ${text}`);
  return address;
}

describe("IP addresses", () => {
  test.each([
    ["203.0.113.10", "203.0.113.10"],
    ["2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["::", "::"],
    ["::ffff:203.0.113.10", "203.0.113.10"],
    ["64:ff9b::203.0.113.10", "64:ff9b::cb00:710a"],
  ])("%s is canonically %s (RFC 5952)", (text, canonical) => {
    expect(parseIpAddress(text)).toBe(canonical);
  });

  test.each(["", "203.0.113", "203.0.113.256", "fe80::1%eth0", "2001:db8:::1", "localhost", "203.0.113.10/32"])(
    "%s is none",
    (text) => {
      expect(parseIpAddress(text)).toBeUndefined();
    },
  );

  test("come back from their bytes unchanged", () => {
    fc.assert(
      fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (text) => {
        const address = ip(text);
        expect(ipAddressFromBytes(ipAddressToBytes(address))).toBe(address);
        expect(parseIpAddress(address)).toBe(address);
      }),
    );
  });

  test("have 4 or 16 bytes and no other number", () => {
    expect(() => ipAddressFromBytes(new Uint8Array(5))).toThrow(/4 or 16 bytes, not 5/);
  });

  test("sort by number, IPv4 first", () => {
    const sorted = ["2001:db8::1", "203.0.113.10", "203.0.113.9", "::1"].map(ip).sort(compareIpAddresses);
    expect(sorted).toEqual(["203.0.113.9", "203.0.113.10", "::1", "2001:db8::1"]);
  });
});

describe("prefixes", () => {
  test.each([
    ["10.77.0.5/24", "10.77.0.0/24"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["10.77.0.5", "10.77.0.5/32"],
    ["fd77::1:5/64", "fd77::/64"],
    ["10.255.255.255/9", "10.128.0.0/9"],
  ])("%s is %s", (text, canonical) => {
    const prefix = parsePrefix(text);
    expect(prefix === undefined ? undefined : formatPrefix(prefix)).toBe(canonical);
  });

  test.each(["10.0.0.0/33", "fd77::/129", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/-1", "/24"])("%s is none", (text) => {
    expect(parsePrefix(text)).toBeUndefined();
  });

  test.each([
    ["10.77.0.0/24", "10.77.0.255", true],
    ["10.77.0.0/24", "10.77.1.0", false],
    ["0.0.0.0/0", "203.0.113.10", true],
    ["0.0.0.0/0", "2001:db8::1", false],
    ["fd77::/64", "fd77::ffff", true],
  ])("%s holds %s: %s", (text, address, held) => {
    const prefix = parsePrefix(text);
    expect(prefix !== undefined && prefixContains(prefix, ip(address))).toBe(held);
  });
});
