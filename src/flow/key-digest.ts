/**
 * What two tables of flows compare instead of their content: how many keys there are, and the exclusive-or of their
 * hashes. A key's hash is the 64-bit FNV-1a of {@link flowKeyText}; it is kept in halves, for a bigint a flow is slow.
 */
import { type FlowKey, flowKeyText } from "./flow.ts";

const offsetBasisHigh = 0xcbf29ce4;
const offsetBasisLow = 0x84222325;
/** The prime is 2⁴⁰ + this. */
const primeLow = 0x1b3;
const twoTo32 = 0x1_0000_0000;

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
    this.#toggle(flowKeyText(key));
  }

  remove(key: FlowKey): void {
    this.#flows--;
    this.#toggle(flowKeyText(key));
  }

  /** Adds the keys of a set that has none in common with this one. */
  merge(other: KeyDigest): void {
    this.#flows += other.#flows;
    this.#high ^= other.#high;
    this.#low ^= other.#low;
  }

  #toggle(text: string): void {
    let high = offsetBasisHigh;
    let low = offsetBasisLow;
    for (let index = 0; index < text.length; index++) {
      low = (low ^ text.charCodeAt(index)) >>> 0;
      const product = low * primeLow;
      high = (Math.imul(high, primeLow) + Math.trunc(product / twoTo32) + (low << 8)) | 0;
      low = product >>> 0;
    }
    this.#high ^= high;
    this.#low ^= low;
  }
}

export function isSameDigest(one: Digest, other: Digest): boolean {
  return one.flows === other.flows && one.keyXor === other.keyXor;
}
