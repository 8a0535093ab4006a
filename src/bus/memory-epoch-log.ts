/** Epochs in memory: the twin of kv-epoch-log.ts, for tests and simulations of one process. */
import type { Assignment } from "../placement/assignment.ts";
import type { EpochHistory } from "../placement/epoch-log.ts";
import { EpochMirror, type EpochMirrorOptions } from "./epoch-mirror.ts";
import { encodeEpoch, epochKey } from "./epoch-record.ts";

export class MemoryEpochLog implements EpochHistory {
  readonly #records = new Map<string, Uint8Array>();
  readonly #mirror: EpochMirror;

  constructor(options: Pick<EpochMirrorOptions, "shards"> & Partial<EpochMirrorOptions>) {
    this.#mirror = new EpochMirror({ onMalformed: () => {}, ...options });
  }

  get current(): Assignment | undefined {
    return this.#mirror.current;
  }

  get earlier(): readonly Assignment[] {
    return this.#mirror.earlier;
  }

  async create(next: Assignment, signal: AbortSignal): Promise<"created" | "taken"> {
    signal.throwIfAborted();
    if (next.epoch <= (this.current?.epoch ?? 0n)) return "taken";
    const isFree = !this.#records.has(epochKey(next.epoch));
    const epoch = isFree ? next.epoch : this.#mirror.highest + 1n;
    this.write(epochKey(epoch), encodeEpoch({ ...next, epoch }, "memory"));
    return "created";
  }

  changes(signal: AbortSignal): AsyncGenerator<Assignment> {
    return this.#mirror.changes(signal);
  }

  /** As by hand. A key that is there already stays as it is. */
  write(key: string, value: Uint8Array): void {
    if (this.#records.has(key)) return;
    this.#records.set(key, value);
    this.#mirror.apply(key, value);
  }
}
