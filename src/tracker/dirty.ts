/** What a table has changed since its store was written last; each thing once, however often it changed. */
import { type FlowKey, flowKeyText } from "../flow/flow.ts";

export interface Dirt {
  readonly flows: readonly { readonly owner: string; readonly key: FlowKey }[];
  readonly tombstones: readonly FlowKey[];
  readonly senders: readonly string[];
}

export class DirtySet {
  #flows = new Map<string, { readonly owner: string; readonly key: FlowKey }>();
  #tombstones = new Map<string, FlowKey>();
  #senders = new Set<string>();

  flow(owner: string, key: FlowKey): void {
    this.#flows.set(`${owner} ${flowKeyText(key)}`, { owner, key });
  }

  tombstone(key: FlowKey): void {
    this.#tombstones.set(flowKeyText(key), key);
  }

  sender(instance: string): void {
    this.#senders.add(instance);
  }

  /** Everything, and forgets it. */
  take(): Dirt {
    const dirt = {
      flows: [...this.#flows.values()],
      tombstones: [...this.#tombstones.values()],
      senders: [...this.#senders],
    };
    this.#flows = new Map();
    this.#tombstones = new Map();
    this.#senders = new Set();
    return dirt;
  }
}
