/**
 * The flows of a slab as they were at one moment, read little by little while it changes.
 *
 * A copy of all would hold the event loop for as long as the system takes to give it so much memory. So the view reads the
 * slab itself, and the slab tells it of each slot that is about to change, which it keeps if it is still to be read.
 */
import { type IpAddress, writeIpAddressWords } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { peerWords } from "../flow/flow-words.ts";
import type { FlowFacts, FlowSlab } from "./flow-slab.ts";

export interface SlabEntry {
  readonly key: FlowKey;
  readonly facts: FlowFacts;
}

/** So many slots are passed over in a fraction of a millisecond. */
export const passedMax = 8_192;

/** A reader who is so slow that more than this has changed gets a copy of all after all: that is less memory. */
export const keptMax = 20_000;

export class SlabView implements Iterable<SlabEntry | undefined> {
  /** Undefined: not wanted, whatever lies there now. */
  readonly #kept = new Map<number, SlabEntry | undefined>();
  readonly #size: number;
  readonly #peer: Uint32Array | undefined;
  #slab: FlowSlab;
  #isCopied = false;
  #next = 0;

  /** With a peer: of its flows alone. */
  constructor(slab: FlowSlab, peer?: IpAddress) {
    this.#slab = slab;
    this.#size = slab.size;
    if (peer === undefined) return;
    this.#peer = new Uint32Array(peerWords);
    writeIpAddressWords(peer, this.#peer);
  }

  /** Something of the slab is still to be read. */
  get isOpen(): boolean {
    return this.#next < this.#size && !this.#isCopied;
  }

  /** Before the slot is written to. */
  keep(slot: number): void {
    if (!this.isOpen || slot < this.#next || slot >= this.#size || this.#kept.has(slot)) return;
    if (this.#kept.size < keptMax) {
      this.#kept.set(slot, this.#entryAt(slot));
      return;
    }
    this.#slab = this.#slab.copy();
    this.#isCopied = true;
  }

  /** Once: what was read is not kept. Undefined: {@link passedMax} were passed over, and who reads may want to pause. */
  *[Symbol.iterator](): Generator<SlabEntry | undefined, void, undefined> {
    let passed = 0;
    try {
      while (this.#next < this.#size) {
        const slot = this.#next;
        const entry = this.#kept.has(slot) ? this.#kept.get(slot) : this.#entryAt(slot);
        this.#kept.delete(slot);
        this.#next++;
        passed = entry === undefined ? passed + 1 : 0;
        if (entry === undefined && passed < passedMax) continue;
        passed = 0;
        yield entry;
      }
    } finally {
      this.close();
    }
  }

  /** Nothing more is read of it: the slab need not tell it of anything. */
  close(): void {
    this.#next = this.#size;
    this.#kept.clear();
  }

  /** Undefined: not wanted. */
  #entryAt(slot: number): SlabEntry | undefined {
    if (!this.#isWanted(slot)) return undefined;
    return { key: this.#slab.keyAt(slot), facts: this.#slab.factsAt(slot) };
  }

  /** Told from the words alone: objects of those that are not wanted would be most of what a walk costs. */
  #isWanted(slot: number): boolean {
    const peer = this.#peer;
    if (peer === undefined) return true;
    // From the last, in which IPv4 addresses differ.
    for (let word = peerWords - 1; word >= 0; word--) if (this.#slab.wordAt(slot, word) !== peer[word]) return false;
    return true;
  }
}
