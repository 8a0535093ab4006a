/**
 * Membership of an address in a set of prefixes, fast enough to be asked for every connection event.
 *
 * IPv4, which is nearly all of them, is compared as numbers; IPv6 goes through {@link prefixContains}.
 */
import { familyOf, type IpAddress, type Prefix, prefixContains } from "./address.ts";

interface Ipv4Range {
  readonly network: number;
  readonly mask: number;
}

export class PrefixSet {
  readonly #ipv4: readonly Ipv4Range[];
  readonly #ipv6: readonly Prefix[];

  constructor(prefixes: readonly Prefix[]) {
    this.#ipv4 = prefixes.filter((prefix) => familyOf(prefix.address) === 4).map(toIpv4Range);
    this.#ipv6 = prefixes.filter((prefix) => familyOf(prefix.address) === 6);
  }

  contains(address: IpAddress): boolean {
    if (familyOf(address) === 6) return this.#ipv6.some((prefix) => prefixContains(prefix, address));
    const number = ipv4ToNumber(address);
    for (const range of this.#ipv4) if ((number & range.mask) === range.network) return true;
    return false;
  }
}

function toIpv4Range(prefix: Prefix): Ipv4Range {
  // A shift by 32 is a shift by 0 in JavaScript, so the empty mask needs its own case.
  const mask = prefix.length === 0 ? 0 : -1 << (32 - prefix.length);
  return { network: ipv4ToNumber(prefix.address) & mask, mask };
}

/** Signed 32 bits, as the bitwise operators give them. */
function ipv4ToNumber(address: IpAddress): number {
  let number = 0;
  let part = 0;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (code === dot) {
      number = (number << 8) | part;
      part = 0;
    } else {
      part = part * 10 + (code - zero);
    }
  }
  return (number << 8) | part;
}

const dot = ".".charCodeAt(0);
const zero = "0".charCodeAt(0);
