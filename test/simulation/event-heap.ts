/**
 * What will happen, earliest first; what is due at the same moment comes in the order in which it was added, so that a
 * run can be repeated.
 *
 * A binary heap over columns: at a million events a second, an object for each and its comparison would cost more than
 * what the events do.
 */
const initialCapacity = 1024;

export class EventHeap<T> {
  #times = new Float64Array(initialCapacity);
  #orders = new Float64Array(initialCapacity);
  readonly #events: T[] = [];
  #added = 0;

  get size(): number {
    return this.#events.length;
  }

  /** When the earliest is due; undefined: there is none. */
  get nextMs(): number | undefined {
    return this.#events.length === 0 ? undefined : this.#times[0];
  }

  add(atMs: number, event: T): void {
    let index = this.#events.length;
    if (index === this.#times.length) this.#grow();
    this.#events.push(event);
    const order = this.#added++;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (this.#timeAt(parent) <= atMs) break;
      this.#move(parent, index);
      index = parent;
    }
    this.#set(index, atMs, order, event);
  }

  /** The earliest event, taken out; only where there is one. */
  take(): T {
    const first = this.#events[0];
    const lastIndex = this.#events.length - 1;
    const last = this.#events.pop();
    if (first === undefined || last === undefined) throw new Error("took from an empty heap");
    if (lastIndex > 0) this.#sink(this.#timeAt(lastIndex), this.#orderAt(lastIndex), last, lastIndex);
    return first;
  }

  #sink(atMs: number, order: number, event: T, size: number): void {
    let index = 0;
    for (let child = 1; child < size; child = 2 * index + 1) {
      if (child + 1 < size && this.#isBefore(child + 1, child)) child++;
      const childMs = this.#timeAt(child);
      if (atMs < childMs || (atMs === childMs && order < this.#orderAt(child))) break;
      this.#move(child, index);
      index = child;
    }
    this.#set(index, atMs, order, event);
  }

  #isBefore(index: number, other: number): boolean {
    const difference = this.#timeAt(index) - this.#timeAt(other);
    return difference < 0 || (difference === 0 && this.#orderAt(index) < this.#orderAt(other));
  }

  #move(from: number, to: number): void {
    this.#set(to, this.#timeAt(from), this.#orderAt(from), this.#events[from] as T);
  }

  #set(index: number, atMs: number, order: number, event: T): void {
    this.#times[index] = atMs;
    this.#orders[index] = order;
    this.#events[index] = event;
  }

  #timeAt(index: number): number {
    return this.#times[index] as number;
  }

  #orderAt(index: number): number {
    return this.#orders[index] as number;
  }

  #grow(): void {
    const [times, orders] = [this.#times, this.#orders];
    this.#times = new Float64Array(times.length * 2);
    this.#orders = new Float64Array(times.length * 2);
    this.#times.set(times);
    this.#orders.set(orders);
  }
}
