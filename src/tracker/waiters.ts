/** Callers that wait until a shard has come to a position. */

/** Of one shard; more are told at once that the position was not reached. */
export const waitersMax = 10_000;

interface Waiter {
  readonly sequence: bigint;
  readonly done: (reached: boolean) => void;
}

export class Waiters {
  readonly #waiters = new Set<Waiter>();

  async wait(sequence: bigint, signal: AbortSignal): Promise<boolean> {
    if (signal.aborted || this.#waiters.size >= waitersMax) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter = { sequence, done: resolve };
    const abort = (): void => resolve(false);
    this.#waiters.add(waiter);
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener("abort", abort);
    }
  }

  /** Nobody's position is reached here any more. */
  giveUp(): void {
    for (const waiter of this.#waiters) waiter.done(false);
  }

  reach(sequence: bigint): void {
    for (const waiter of this.#waiters) if (waiter.sequence <= sequence) waiter.done(true);
  }
}
