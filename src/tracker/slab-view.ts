/**
 * The flows of a slab as they were at one moment, read little by little while it changes.
 *
 * A copy of all would hold the event loop for as long as the system takes to give it so much memory. So the view reads the
 * slab itself, and the slab tells it of each slot that is about to change, which it keeps if it is still to be read.
 */
import type { FlowKey } from "../flow/flow.ts";
import type { FlowFacts, FlowSlab } from "./flow-slab.ts";

export interface SlabEntry {
  readonly key: FlowKey;
  readonly facts: FlowFacts;
}

/** A reader who is so slow that more than this has changed gets a copy of all after all: that is less memory. */
export const keptMax = 20_000;

export class SlabView implements Iterable<SlabEntry> {
  readonly #kept = new Map<number, SlabEntry>();
  readonly #size: number;
  #slab: FlowSlab;
  #isCopied = false;
  #next = 0;

  constructor(slab: FlowSlab) {
    this.#slab = slab;
    this.#size = slab.size;
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

  /** Once: what was read is not kept. */
  *[Symbol.iterator](): Generator<SlabEntry, void, undefined> {
    try {
      while (this.#next < this.#size) {
        const slot = this.#next;
        const entry = this.#kept.get(slot) ?? this.#entryAt(slot);
        this.#kept.delete(slot);
        this.#next++;
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

  #entryAt(slot: number): SlabEntry {
    return { key: this.#slab.keyAt(slot), facts: this.#slab.factsAt(slot) };
  }
}
