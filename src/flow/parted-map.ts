/**
 * A map of very many texts in parts, so that no addition holds the event loop.
 *
 * A Map that grows hashes all that it holds anew, in one turn: 20 ms for its 65,536th entry, twice that for the 131,072nd. Of
 * many small ones each grows at another time, and in a fraction of that.
 */

const parts = 32;
/** Characters at the end, where flows of one address differ most. */
const hashedCharacters = 6;

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
    let hash = 0;
    for (let at = Math.max(0, key.length - hashedCharacters); at < key.length; at++)
      hash = (hash * 31 + key.charCodeAt(at)) | 0;
    return this.#parts[(hash >>> 0) % parts] as Map<string, Value>;
  }
}
