/** The leader's writes: creates of keys that were never used, in the order in which they are asked for. */

import type { KvBucket } from "../bus/kv.ts";
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { RemapRecord } from "../remap/record.ts";
import type { Clock } from "../runtime/clock.ts";
import { type Audit, type RemapStore, type StoredAudit, StoreFault } from "./ports.ts";
import { acceptedKey, encodeEntry, inventoryKey, remapKey } from "./stored.ts";

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
  /** An action is stored with what it has led to. */
  readonly onAudit: (audit: StoredAudit) => void;
  readonly clock: Clock;
}

export class LeaderStore implements RemapStore {
  readonly #options: LeaderStoreOptions;
  #lastEntry: number;

  constructor(options: LeaderStoreOptions) {
    this.#options = options;
    this.#lastEntry = options.lastEntry;
  }

  async putRemap(record: RemapRecord, audit?: Audit): Promise<void> {
    await this.#create(remapKey(record.id, record.step), record, audit);
  }

  async putInventory(entry: InventoryEntry, audit?: Audit): Promise<void> {
    await this.#create(inventoryKey(++this.#lastEntry), entry, audit);
  }

  async putAccepted(term: bigint, audit?: Audit): Promise<void> {
    await this.#create(acceptedKey(term), {}, audit);
  }

  async #create(key: string, value: unknown, audit?: Audit): Promise<void> {
    const { bucket, writer, signal, onWrite, onAudit, clock } = this.#options;
    const beganMs = clock.monotonicMs();
    const stored = audit && { ...audit, atMs: clock.nowMs() };
    try {
      const created = await bucket.create(key, encodeEntry(value, writer, stored), signal);
      if (created.kind === "taken") throw new StoreFault(`another coordinator has written ${key}`);
    } catch (error) {
      if (error instanceof StoreFault) throw error;
      throw new StoreFault(`${key} could not be stored: ${error instanceof Error ? error.message : String(error)}`);
    }
    onWrite(clock.monotonicMs() - beganMs);
    if (stored !== undefined) onAudit({ ...stored, key });
  }
}
