/** Lifeguard's local health: how far we should doubt ourselves before we doubt others. 0 is well. */
export class Awareness {
  readonly #max: number;
  #score = 0;

  /** `max` 1: always well. */
  constructor(max: number) {
    this.#max = max;
  }

  get score(): number {
    return this.#score;
  }

  apply(delta: number): void {
    this.#score = Math.min(this.#max - 1, Math.max(0, this.#score + delta));
  }

  scale(ms: number): number {
    return ms * (this.#score + 1);
  }
}
