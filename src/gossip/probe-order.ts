/**
 * Whom to probe next: everybody once a round, each round in another order (SWIM 4.3), so that a crash is noticed by
 * somebody soon and by everybody within one round. Newcomers come in at random: at the end they would all wait.
 */
import type { MemberTable } from "./member-table.ts";

const firstCapacity = 16;

export class ProbeOrder {
  readonly #table: MemberTable;
  readonly #random: () => number;
  readonly #slots: number[] = [];
  #listed = new Uint8Array(firstCapacity);
  #next = 0;

  constructor(table: MemberTable, random: () => number) {
    this.#table = table;
    this.#random = random;
  }

  add(slot: number): void {
    while (slot >= this.#listed.length) {
      const larger = new Uint8Array(2 * this.#listed.length);
      larger.set(this.#listed);
      this.#listed = larger;
    }
    if (this.#listed[slot] === 1) return;
    this.#listed[slot] = 1;
    this.#slots.push(slot);
    this.#swap(Math.floor(this.#random() * this.#slots.length), this.#slots.length - 1);
  }

  /** Undefined: nobody lives. */
  next(): number | undefined {
    for (let rounds = 0; rounds < 2; rounds++) {
      while (this.#next < this.#slots.length) {
        const slot = this.#slots[this.#next++] as number;
        if (this.#table.isLive(slot)) return slot;
      }
      this.#newRound();
    }
    return undefined;
  }

  #newRound(): void {
    let kept = 0;
    for (const slot of this.#slots) {
      if (this.#table.isLive(slot)) this.#slots[kept++] = slot;
      else this.#listed[slot] = 0;
    }
    this.#slots.length = kept;
    for (let index = kept - 1; index > 0; index--) this.#swap(index, Math.floor(this.#random() * (index + 1)));
    this.#next = 0;
  }

  #swap(one: number, other: number): void {
    const slot = this.#slots[one] as number;
    this.#slots[one] = this.#slots[other] as number;
    this.#slots[other] = slot;
  }
}
