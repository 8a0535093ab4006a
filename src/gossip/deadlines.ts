/** Moments to come, the earliest first; a binary heap. An entry that has become void is the owner's to recognise. */

interface Entry {
  readonly atMs: number;
  readonly id: number;
}

export class Deadlines {
  readonly #heap: Entry[] = [];

  get nextMs(): number {
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  add(atMs: number, id: number): void {
    const heap = this.#heap;
    let index = heap.length;
    const entry = { atMs, id };
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent] as Entry;
      if (above.atMs <= atMs) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  /** The earliest, if it is due. */
  take(nowMs: number): Entry | undefined {
    const first = this.#heap[0];
    if (first === undefined || first.atMs > nowMs) return undefined;
    const last = this.#heap.pop() as Entry;
    if (this.#heap.length > 0) this.#sink(last);
    return first;
  }

  clear(): void {
    this.#heap.length = 0;
  }

  #sink(entry: Entry): void {
    const heap = this.#heap;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && (heap[child + 1] as Entry).atMs < (heap[child] as Entry).atMs) child++;
      const below = heap[child] as Entry;
      if (below.atMs >= entry.atMs) break;
      heap[index] = below;
      index = child;
    }
    heap[index] = entry;
  }
}
