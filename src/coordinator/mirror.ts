/** The bucket as this process sees it, by one watch. A follower keeps it too, so a takeover has little to read. */
import type { KvChange } from "../bus/kv.ts";

export class Mirror {
  readonly #values = new Map<string, Uint8Array>();
  readonly #waiting = new Set<() => void>();
  readonly #listeners = new Set<(change: KvChange) => void>();
  #revision = 0;
  #complete = false;

  get values(): ReadonlyMap<string, Uint8Array> {
    return this.#values;
  }

  /** All that was stored when the watch began is here. */
  get complete(): boolean {
    return this.#complete;
  }

  apply(change: KvChange): void {
    this.#revision = Math.max(this.#revision, change.revision);
    if (change.value === undefined) this.#values.delete(change.key);
    else this.#values.set(change.key, change.value);
    this.#wake();
    for (const listener of this.#listeners) listener(change);
  }

  /** Calls back at every change from now on, until the signal aborts. */
  onChange(listener: (change: KvChange) => void, signal: AbortSignal): void {
    this.#listeners.add(listener);
    signal.addEventListener("abort", () => this.#listeners.delete(listener), { once: true });
  }

  noteComplete(): void {
    this.#complete = true;
    this.#wake();
  }

  /** Waits until everything up to a revision has been seen. Throws the abort reason. */
  async reached(revision: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!this.#complete || this.#revision < revision) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
      await promise;
      this.#waiting.delete(resolve);
      signal.throwIfAborted();
    }
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
