/**
 * What two tables of flows compare instead of their content: how many keys there are, and the exclusive-or of their
 * hashes. A key's hash is the 64-bit FNV-1a of its text by `flowKeyText`; it is kept in halves, for a bigint a flow is slow.
 */
import type { FlowKey } from "./flow.ts";

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
    this.#toggle(key);
  }

  remove(key: FlowKey): void {
    this.#flows--;
    this.#toggle(key);
  }

  /** Adds the keys of a set that has none in common with this one. */
  merge(other: KeyDigest): void {
    this.#flows += other.#flows;
    this.#high ^= other.#high;
    this.#low ^= other.#low;
  }

  #toggle(key: FlowKey): void {
    const hash = hashOf(key);
    this.#high ^= hash.high;
    this.#low ^= hash.low;
  }
}

/** In the order of `flowKeyText`, whose first three parts most flows have in common with the one before. */
function hashOf(key: FlowKey): Fnv1a {
  if (key.port !== begun.key?.port || key.address !== begun.key.address || key.protocol !== begun.key.protocol) {
    begun.hash.begin(offsetBasis);
    begun.hash.take(`${key.protocol} ${key.address} ${key.port} `);
    begun.key = key;
  }
  hash.begin(begun.hash);
  hash.take(key.peer);
  hash.take(" ");
  hash.take(String(key.peerPort));
  return hash;
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
}

const hash = new Fnv1a();
const begun: { readonly hash: Fnv1a; key: FlowKey | undefined } = { hash: new Fnv1a(), key: undefined };

export function isSameDigest(one: Digest, other: Digest): boolean {
  return one.flows === other.flows && one.keyXor === other.keyXor;
}
