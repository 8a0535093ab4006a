/**
 * Flows that have ended not long ago, so that look-ups can say so instead of not knowing them.
 * Bounded in number and, for copies of a shard to stay equal, in messages of the stream instead of time.
 */
import { type FlowKey, flowKeyText } from "../flow/flow.ts";

export interface Tombstone {
  readonly key: FlowKey;
  readonly owner: string;
  /** Stream sequence of the message that ended the flow. */
  readonly closedAt: bigint;
}

/** Of one shard; some 10 MB. */
export const tombstonesMax = 50_000;
/** Kept for this many messages of the stream: at 100 messages a second, half an hour. */
export const tombstoneMessages = 200_000n;

export class Tombstones {
  /** In the order of `closedAt`. */
  readonly #byKey = new Map<string, Tombstone>();

  get size(): number {
    return this.#byKey.size;
  }

  get(key: FlowKey): Tombstone | undefined {
    return this.#byKey.get(flowKeyText(key));
  }

  put(tombstone: Tombstone): void {
    const text = flowKeyText(tombstone.key);
    this.#byKey.delete(text);
    this.#byKey.set(text, tombstone);
  }

  delete(key: FlowKey): boolean {
    return this.#byKey.delete(flowKeyText(key));
  }

  /** In the order in which they ended. */
  all(): Iterable<Tombstone> {
    return this.#byKey.values();
  }

  /** Removes what is too old at this stream sequence, and the oldest of what is too many. */
  expire(sequence: bigint): void {
    for (const [text, tombstone] of this.#byKey) {
      if (this.#byKey.size <= tombstonesMax && tombstone.closedAt + tombstoneMessages >= sequence) break;
      this.#byKey.delete(text);
    }
  }
}
