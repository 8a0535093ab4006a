/**
 * What is to be told to others a limited number of times, what was told least first.
 *
 * One item a name: a newer one takes the place of the older. Bounded: when full, what was told most goes first.
 */

interface Queued<T> {
  readonly name: string;
  readonly item: T;
  readonly bytes: number;
  /** Told this often. */
  transmits: number;
  /** Replaced, told often enough, or dropped; still lies in its tier. */
  gone: boolean;
}

/** Void entries that may lie in tiers beside the live ones before they are cleared away. */
const voidsMax = 64;

/** Items too large for the space left that are passed over before a tier is given up. */
const passesMax = 8;

export class RetransmitQueue<T> {
  readonly #capacity: number;
  readonly #byName = new Map<string, Queued<T>>();
  /** By transmits; the newest last. */
  readonly #tiers: Queued<T>[][] = [];
  #dropped = 0;
  #voids = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#byName.size;
  }

  /** Given up for want of room. */
  get dropped(): number {
    return this.#dropped;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  put(name: string, item: T, bytes: number): void {
    this.delete(name);
    if (this.#byName.size >= this.#capacity) this.#dropMostTold();
    const queued = { name, item, bytes, transmits: 0, gone: false };
    this.#byName.set(name, queued);
    this.#tier(0).push(queued);
  }

  delete(name: string): void {
    const queued = this.#byName.get(name);
    if (queued === undefined) return;
    queued.gone = true;
    this.#byName.delete(name);
    this.#voids++;
    if (this.#voids > this.#byName.size + voidsMax) this.#clearVoids();
  }

  /** Appends to `out` what fits into `bytesMax` and `countMax`; returns the bytes taken. */
  take(bytesMax: number, countMax: number, transmitLimit: number, out: T[]): number {
    if (this.#byName.size === 0) return 0;
    const taken: Queued<T>[] = [];
    let bytes = 0;
    for (const tier of this.#tiers) {
      let passes = 0;
      for (let index = tier.length - 1; index >= 0 && taken.length < countMax && passes < passesMax; index--) {
        const queued = tier[index] as Queued<T>;
        if (!queued.gone && bytes + queued.bytes > bytesMax) {
          passes++;
          continue;
        }
        if (index === tier.length - 1) tier.pop();
        else tier.splice(index, 1);
        if (queued.gone) {
          this.#voids--;
          continue;
        }
        taken.push(queued);
        bytes += queued.bytes;
      }
      if (taken.length >= countMax) break;
    }
    for (const queued of taken) this.#told(queued, transmitLimit, out);
    return bytes;
  }

  #told(queued: Queued<T>, transmitLimit: number, out: T[]): void {
    out.push(queued.item);
    queued.transmits++;
    if (queued.transmits >= transmitLimit) this.#byName.delete(queued.name);
    else this.#tier(queued.transmits).push(queued);
  }

  #tier(transmits: number): Queued<T>[] {
    while (this.#tiers.length <= transmits) this.#tiers.push([]);
    return this.#tiers[transmits] as Queued<T>[];
  }

  #clearVoids(): void {
    for (const [transmits, tier] of this.#tiers.entries())
      this.#tiers[transmits] = tier.filter((queued) => !queued.gone);
    this.#voids = 0;
  }

  #dropMostTold(): void {
    for (const tier of this.#tiers.toReversed()) {
      for (let queued = tier.pop(); queued !== undefined; queued = tier.pop()) {
        if (queued.gone) {
          this.#voids--;
          continue;
        }
        this.#byName.delete(queued.name);
        this.#dropped++;
        return;
      }
    }
  }
}
