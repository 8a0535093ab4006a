/** Telling a node that comes back from another one that has its name. Pure. */
import type { NodeHello } from "../node/status.ts";

/**
 * One process, or two of one host: a network card in common. Where one of them has no card that could be told from
 * others, it is believed.
 */
export function isSameHost(left: NodeHello, right: NodeHello): boolean {
  if (left.boot === right.boot) return true;
  const [cards, others] = [cardsOf(left), cardsOf(right)];
  return cards.length === 0 || others.length === 0 || cards.some((card) => others.includes(card));
}

/** Where it is, for a person who looks for it. */
export function describeHost({ devices, privateAddresses }: NodeHello): string {
  const own = devices.flatMap(({ addresses }) => addresses.map(({ address }) => address));
  const known =
    privateAddresses.length > 0 ? privateAddresses : own.filter((address) => !/^(127\.|::1$|fe80:)/.test(address));
  return known.length === 0 ? "another host" : `the host with ${known.join(", ")}`;
}

function cardsOf({ devices }: NodeHello): readonly string[] {
  return devices.map(({ linkAddress }) => linkAddress).filter((address) => /[1-9a-f]/i.test(address));
}
