/** Time as all processes of one machine see it, and how late this process itself is. */

/** CLOCK_MONOTONIC, milliseconds. */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

const sampleEveryMs = 5;

/** Notices when the process could not run: a silence shorter than that may be its own. */
export class OwnDelay implements Disposable {
  #longestMs = 0;
  #lastMs = monotonicMs();
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => this.#sample(), sampleEveryMs);
    this.#timer.unref();
  }

  get longestMs(): number {
    return this.#longestMs;
  }

  mark(): void {
    this.#longestMs = 0;
    this.#lastMs = monotonicMs();
  }

  #sample(): void {
    const nowMs = monotonicMs();
    this.#longestMs = Math.max(this.#longestMs, nowMs - this.#lastMs - sampleEveryMs);
    this.#lastMs = nowMs;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
