/**
 * Chance that can be repeated: the same seed gives the same numbers, on every machine.
 *
 * Owns the state of one generator (sfc32 by Chris Doty-Humphrey, 128 bits). `fork` makes an independent one, so that one
 * part's draws don't shift another part's.
 */
const warmUpRounds = 12;
const wordRange = 0x1_0000_0000;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, stream = 0) {
    this.#a = seed | 0;
    this.#b = Math.floor(seed / wordRange) | 0;
    this.#c = stream | 0;
    for (let round = 0; round < warmUpRounds; round++) this.word();
  }

  /** 32 bits. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return sum >>> 0;
  }

  /** In [0, 1). */
  readonly next = (): number => this.word() / wordRange;

  /** An integer in [0, bound). */
  below(bound: number): number {
    return Math.floor(this.next() * bound);
  }

  chance(probability: number): boolean {
    return probability > 0 && this.next() < probability;
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  /** `count` different integers in [0, bound). */
  sample(bound: number, count: number): number[] {
    const numbers = Array.from({ length: bound }, (_, index) => index);
    for (let index = 0; index < Math.min(count, bound); index++) {
      const other = index + this.below(bound - index);
      [numbers[index], numbers[other]] = [numbers[other] ?? 0, numbers[index] ?? 0];
    }
    return numbers.slice(0, count);
  }

  fork(stream: number): Random {
    return new Random(this.word() * wordRange + this.word(), stream);
  }
}
