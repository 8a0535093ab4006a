/**
 * What a table has changed since its store was written last. What has changed often is named as often: to write it twice
 * does no harm, for what is written is what the table holds in the end, and to find out costs more.
 */
import type { FlowKey } from "../flow/flow.ts";

/** One owner's claim of a key. */
export interface FlowName {
  readonly owner: string;
  readonly key: FlowKey;
}

export interface Dirt {
  readonly flows: readonly FlowName[];
  readonly tombstones: readonly FlowKey[];
  readonly senders: ReadonlySet<string>;
}

export class DirtySet {
  #flows: FlowName[] = [];
  #tombstones: FlowKey[] = [];
  #senders = new Set<string>();

  flow(name: FlowName): void {
    this.#flows.push(name);
  }

  tombstone(key: FlowKey): void {
    this.#tombstones.push(key);
  }

  sender(instance: string): void {
    this.#senders.add(instance);
  }

  /** Everything, and forgets it. */
  take(): Dirt {
    const dirt = { flows: this.#flows, tombstones: this.#tombstones, senders: this.#senders };
    this.#flows = [];
    this.#tombstones = [];
    this.#senders = new Set();
    return dirt;
  }
}
