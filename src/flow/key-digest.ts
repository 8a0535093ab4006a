/**
 * What two tables of flows compare instead of their content: how many keys there are, and the exclusive-or of their
 * hashes. A key's hash is the 64-bit FNV-1a of its text by `flowKeyText`; it is kept in halves, for a bigint a flow is slow.
 */
import { type IpAddress, ipAddressFromWords, ipv4WordOf } from "./address.ts";
import type { FlowKey, Protocol } from "./flow.ts";
import { portsAt, protocolAt } from "./flow-words.ts";

const offsetBasis = { high: 0xcbf29ce4, low: 0x84222325 };
/** The prime is 2⁴⁰ + this. */
const primeLow = 0x1b3;

export interface Digest {
  readonly flows: number;
  readonly keyXor: bigint;
}

export class KeyDigest implements Digest {
  #flows = 0;
  #high = 0;
  #low = 0;

  get flows(): number {
    return this.#flows;
  }

  get keyXor(): bigint {
    return (BigInt(this.#high >>> 0) << 32n) | BigInt(this.#low >>> 0);
  }

  add(key: FlowKey): void {
    this.#flows++;
    this.#toggle(hashOf(key));
  }

  remove(key: FlowKey): void {
    this.#flows--;
    this.#toggle(hashOf(key));
  }

  /** The same for a key whose words lie there. */
  addWords(address: IpAddress, words: Uint32Array, at: number): void {
    this.#flows++;
    this.#toggle(hashOfWords(address, words, at));
  }

  removeWords(address: IpAddress, words: Uint32Array, at: number): void {
    this.#flows--;
    this.#toggle(hashOfWords(address, words, at));
  }

  /** Of a key whose hash is known. */
  addHash(hash: Fnv1a): void {
    this.#flows++;
    this.#toggle(hash);
  }

  removeHash(hash: Fnv1a): void {
    this.#flows--;
    this.#toggle(hash);
  }

  /** Adds the keys of a set that has none in common with this one. */
  merge(other: KeyDigest): void {
    this.#flows += other.#flows;
    this.#high ^= other.#high;
    this.#low ^= other.#low;
  }

  #toggle({ high, low }: Fnv1a): void {
    this.#high ^= high;
    this.#low ^= low;
  }
}

/** Parts of an address's flows that always stay together. */
export const slots = 64;

export function slotOf(key: FlowKey): number {
  return slotOfHash(hashOf(key));
}

/** The same for a key whose words lie there. */
export function slotOfWords(address: IpAddress, words: Uint32Array, at: number): number {
  return slotOfHash(hashOfWords(address, words, at));
}

/** The lowest bits of FNV-1a depend on few bits of the text; folded, on all. */
function slotOfHash({ high, low }: Fnv1a): number {
  const folded = high ^ low ^ (high >>> 15) ^ (low >>> 15);
  return (folded ^ (folded >>> 6)) & (slots - 1);
}

/** Of many keys, so that those of any of their slots can be told apart. */
export class SlotDigests {
  readonly #slots: (KeyDigest | undefined)[] = new Array(slots).fill(undefined);

  add(key: FlowKey): void {
    const found = hashOf(key);
    const slot = slotOfHash(found);
    let digest = this.#slots[slot];
    if (digest === undefined) {
      digest = new KeyDigest();
      this.#slots[slot] = digest;
    }
    digest.addHash(found);
  }

  remove(key: FlowKey): void {
    const found = hashOf(key);
    this.#slots[slotOfHash(found)]?.removeHash(found);
  }

  /** Of the slots that are wanted, together. */
  sum(isWanted: (slot: number) => boolean): KeyDigest {
    const sum = new KeyDigest();
    for (const [slot, digest] of this.#slots.entries()) if (digest !== undefined && isWanted(slot)) sum.merge(digest);
    return sum;
  }
}

function hashOf({ protocol, address, port, peer, peerPort }: FlowKey): Fnv1a {
  begin(protocol, address, port);
  hash.take(peer);
  hash.take(" ");
  hash.take(String(peerPort));
  return hash;
}

function hashOfWords(address: IpAddress, words: Uint32Array, at: number): Fnv1a {
  const ports = words[at + portsAt] ?? 0;
  begin(protocolAt(words, at), address, ports & 0xffff);
  const peer = ipv4WordOf(words, at);
  if (peer === undefined) {
    hash.take(ipAddressFromWords(words, at));
    hash.take(" ");
  } else {
    hash.take(octetsBefore.dot[peer >>> 24] ?? "");
    hash.take(octetsBefore.dot[(peer >>> 16) & 0xff] ?? "");
    hash.take(octetsBefore.dot[(peer >>> 8) & 0xff] ?? "");
    hash.take(octetsBefore.space[peer & 0xff] ?? "");
  }
  hash.takeNumber(ports >>> 16);
  return hash;
}

/** The parts of `flowKeyText` come in this order; most flows have the first three in common with the one before. */
function begin(protocol: Protocol, address: IpAddress, port: number): void {
  if (port !== begun.port || address !== begun.address || protocol !== begun.protocol) {
    begun.hash.begin(offsetBasis);
    begun.hash.take(`${protocol} ${address} ${port} `);
    begun.protocol = protocol;
    begun.address = address;
    begun.port = port;
  }
  hash.begin(begun.hash);
}

class Fnv1a {
  high = 0;
  low = 0;

  begin({ high, low }: { readonly high: number; readonly low: number }): void {
    this.high = high | 0;
    this.low = low | 0;
  }

  /** Multiplies 16 bits at a time: products stay small integers, which are several times as fast as others. */
  take(text: string): void {
    let { high, low } = this;
    for (let index = 0; index < text.length; index++) {
      low ^= text.charCodeAt(index);
      const lower = (low & 0xffff) * primeLow;
      const upper = (low >>> 16) * primeLow + (lower >>> 16);
      high = (Math.imul(high, primeLow) + (upper >>> 16) + (low << 8)) | 0;
      low = (upper << 16) | (lower & 0xffff);
    }
    this.high = high;
    this.low = low;
  }

  /** A number below 100,000 as its decimal text. */
  takeNumber(value: number): void {
    if (value >= 10_000) this.take(digits[(value / 10_000) | 0] ?? "");
    if (value >= 1_000) this.take(digits[((value / 1_000) | 0) % 10] ?? "");
    if (value >= 100) this.take(digits[((value / 100) | 0) % 10] ?? "");
    if (value >= 10) this.take(digits[((value / 10) | 0) % 10] ?? "");
    this.take(digits[value % 10] ?? "");
  }
}

const digits = "0123456789";
const hash = new Fnv1a();
const begun: { readonly hash: Fnv1a; protocol: Protocol; address: IpAddress | undefined; port: number } = {
  hash: new Fnv1a(),
  protocol: "tcp",
  address: undefined,
  port: 0,
};
/** Every octet's text, with what follows it. */
const octetsBefore = {
  dot: Array.from({ length: 256 }, (_, octet) => `${octet}.`),
  space: Array.from({ length: 256 }, (_, octet) => `${octet} `),
};

export function isSameDigest(one: Digest, other: Digest): boolean {
  return one.flows === other.flows && one.keyXor === other.keyXor;
}
