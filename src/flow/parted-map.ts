/**
 * A map of very many texts in parts, so that no addition holds the event loop.
 *
 * A Map that grows hashes all that it holds anew, in one turn: 20 ms for its 65,536th entry, twice that for the 131,072nd. Of
 * many small ones each grows at another time, and in a fraction of that.
 */

import { fnv1a32 } from "../placement/shard.ts";

export const parts = 32;

/** By all of the text: flows of an address differ in their peers' addresses, or in their ports alone. */
export function partOf(key: string): number {
  return fnv1a32(key) % parts;
}

export class PartedMap<Value> {
  readonly #parts: readonly Map<string, Value>[] = Array.from({ length: parts }, () => new Map());
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(key: string): boolean {
    return this.#part(key).has(key);
  }

  get(key: string): Value | undefined {
    return this.#part(key).get(key);
  }

  set(key: string, value: Value): void {
    const part = this.#part(key);
    const before = part.size;
    part.set(key, value);
    this.#size += part.size - before;
  }

  /** True: it was there. */
  delete(key: string): boolean {
    const deleted = this.#part(key).delete(key);
    if (deleted) this.#size--;
    return deleted;
  }

  /** In no order. What is deleted meanwhile is not given; what is added may be. */
  *keys(): Generator<string> {
    for (const part of this.#parts) yield* part.keys();
  }

  /** As {@link keys}. */
  *[Symbol.iterator](): Generator<[string, Value]> {
    for (const part of this.#parts) yield* part;
  }

  #part(key: string): Map<string, Value> {
    return this.#parts[partOf(key)] as Map<string, Value>;
  }
}
