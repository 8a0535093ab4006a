/** Numbers that tie answers to questions. They begin by chance, so that nobody foresees them. */
export class Sequence {
  #last: number;

  constructor(random: () => number) {
    this.#last = Math.floor(random() * 2 ** 32);
  }

  next(): number {
    this.#last = (this.#last + 1) >>> 0;
    return this.#last;
  }
}
