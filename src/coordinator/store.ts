/** The leader's writes: creates of keys that were never used, in the order in which they are asked for. */

import type { KvBucket } from "../bus/kv.ts";
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { RemapRecord } from "../remap/record.ts";
import { type RemapStore, StoreFault } from "./ports.ts";
import { encodeEntry, inventoryKey, remapKey } from "./stored.ts";

export interface LeaderStoreOptions {
  readonly bucket: KvBucket;
  /** Unlike that of any other leadership. */
  readonly writer: string;
  /** Number of the newest inventory entry that was read. */
  readonly lastEntry: number;
  /** Ends with the leadership. */
  readonly signal: AbortSignal;
  /** How long a write took, for the metrics. */
  readonly onWrite: (ms: number) => void;
  readonly monotonicMs: () => number;
}

export class LeaderStore implements RemapStore {
  readonly #options: LeaderStoreOptions;
  #lastEntry: number;

  constructor(options: LeaderStoreOptions) {
    this.#options = options;
    this.#lastEntry = options.lastEntry;
  }

  async putRemap(record: RemapRecord): Promise<void> {
    await this.#create(remapKey(record.id, record.step), record);
  }

  async putInventory(entry: InventoryEntry): Promise<void> {
    await this.#create(inventoryKey(++this.#lastEntry), entry);
  }

  async #create(key: string, value: unknown): Promise<void> {
    const { bucket, writer, signal, onWrite, monotonicMs } = this.#options;
    const beganMs = monotonicMs();
    try {
      const created = await bucket.create(key, encodeEntry(value, writer), signal);
      if (created.kind === "taken") throw new StoreFault(`another coordinator has written ${key}`);
    } catch (error) {
      if (error instanceof StoreFault) throw error;
      throw new StoreFault(`${key} could not be stored: ${error instanceof Error ? error.message : String(error)}`);
    }
    onWrite(monotonicMs() - beganMs);
  }
}
