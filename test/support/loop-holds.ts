/**
 * How long this process's event loop was held at a time, on a machine that others use as well: the time in which the main
 * thread was ready to run and had no processor is not its own doing, and left out. Waiting for the kernel counts.
 */
import { readFileSync } from "node:fs";

const intervalMs = 1;

/** Milliseconds in which the main thread could have run, or did run, or slept; not those in which it had no processor. */
export function ownTimeMs(): number {
  // Nanoseconds on a processor, nanoseconds of waiting for one, turns on one.
  const [, waited] = readFileSync("/proc/self/schedstat", "utf8").split(" ");
  return performance.now() - Number(waited) / 1e6;
}

export class LoopHolds implements Disposable {
  readonly #timer: NodeJS.Timeout;
  #longestMs = 0;
  #atMs = ownTimeMs();

  constructor() {
    this.#timer = setInterval(() => this.#look(), intervalMs);
  }

  get longestMs(): number {
    this.#look();
    return this.#longestMs;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const atMs = ownTimeMs();
    this.#longestMs = Math.max(this.#longestMs, atMs - this.#atMs);
    this.#atMs = atMs;
  }
}
