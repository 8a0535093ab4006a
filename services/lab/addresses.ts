/**
 * The lab's address plan. Scripts and tests of others rely on it, so it never depends on how many hosts there are.
 *
 * Fabric 10.77.0.0/24 and fd77::/64: the last part of the IPv6 address is written with the digits of the IPv4 one.
 * Clients' side 198.51.100.0/24 and 2001:db8:c::/64. Public 203.0.113.0/24 and 2001:db8:f::/64.
 */

export const fabricPrefixes = ["10.77.0.0/24", "fd77::/64"] as const;
export const publicPrefixes = ["203.0.113.0/24", "2001:db8:f::/64"] as const;

/** Source of channel proofs: an address reserved for benchmarks (RFC 2544), which nobody in the lab has. */
export const probeSource = "198.18.0.1";

/** Public addresses that `up` maps: to the first instance, the second, … */
export const firstPublicAddresses = ["203.0.113.10", "203.0.113.11"] as const;

const firstHost = { gateway: 1, instance: 11, nats: 21, tracker: 31, coordinator: 41 } as const;
export type FabricRole = keyof typeof firstHost;

/** An instance's second private address is this much above its first. */
const secondPrivateOffset = 100;

/** A gateway beside the first must leave room for clients, who follow directly upon it. */
const laterGatewayOffset = 200;

export interface Numbered {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** `index` counts from 0. The first entry is the one that others send to. */
export function fabricNumbers(role: FabricRole, index: number): readonly Numbered[] {
  const number = firstHost[role] + index;
  const numbers = role === "instance" ? [number, number + secondPrivateOffset] : [number];
  return numbers.map((last) => ({ ipv4: `10.77.0.${last}`, ipv6: `fd77::${last}` }));
}

export function clientNumber(index: number): Numbered {
  return clientSide(2 + index);
}

export function gatewayPublicNumber(index: number): Numbered {
  return clientSide(index === 0 ? 1 : laterGatewayOffset + 1 + index);
}

function clientSide(last: number): Numbered {
  return { ipv4: `198.51.100.${last}`, ipv6: `2001:db8:c::${last}` };
}

/** A link-layer address that stays the same across reboots, as a real card's does: locally administered. */
export function linkAddressFor(ipv4: string): string {
  const octets = ipv4.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  return ["02", "ba", ...octets].join(":");
}
