/**
 * A queue of bounded length between producers that can't wait and one consumer that can.
 * A full queue refuses; what refusal means is the producer's to decide.
 */
export class BoundedQueue<T> {
  readonly capacity: number;
  /** Items before `#head` are taken already. */
  #items: (T | undefined)[] = [];
  #head = 0;
  #closed = false;
  #wake: (() => void) | undefined;

  constructor(capacity: number) {
    if (!Number.isSafeInteger(capacity) || capacity < 1)
      throw new RangeError(`capacity must be 1 or more: ${capacity}`);
    this.capacity = capacity;
  }

  get size(): number {
    return this.#items.length - this.#head;
  }

  /** False: full, or closed; the item was not taken. */
  push(item: T): boolean {
    if (this.#closed || this.size >= this.capacity) return false;
    this.#items.push(item);
    this.#wake?.();
    return true;
  }

  /** No more is taken; what is queued can still be read. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** All that is queued, after waiting for at least one item. Empty: the queue is closed. */
  async takeAll(signal: AbortSignal): Promise<T[]> {
    signal.throwIfAborted();
    while (this.size === 0 && !this.#closed) await this.#changed(signal);
    const taken = this.#items.slice(this.#head) as T[];
    this.#items = [];
    this.#head = 0;
    return taken;
  }

  /** Items in order, until the queue is closed and empty. Throws the abort reason. */
  async *items(signal: AbortSignal): AsyncGenerator<T, void, undefined> {
    for (;;) {
      signal.throwIfAborted();
      while (this.size === 0 && !this.#closed) await this.#changed(signal);
      if (this.size === 0) return;
      yield this.#shift();
    }
  }

  #shift(): T {
    const item = this.#items[this.#head] as T;
    this.#items[this.#head] = undefined;
    this.#head++;
    if (this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  async #changed(signal: AbortSignal): Promise<void> {
    if (this.#wake !== undefined) throw new Error("a queue has one consumer, and it is waiting already");
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => resolve();
    this.#wake = wake;
    signal.addEventListener("abort", wake, { once: true });
    await promise;
    signal.removeEventListener("abort", wake);
    this.#wake = undefined;
    signal.throwIfAborted();
  }
}
