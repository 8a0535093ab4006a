/**
 * Writes of remaps' records: one of a remap is in flight at a time, and requests for that remap wait until it is done.
 *
 * Invariant: a record is stored before what rests on it leaves, but for those written after (machine.ts says which).
 */
import type { AddressRecord } from "../inventory/inventory.ts";
import type { BatonError } from "../remap/error.ts";
import type { RemapRecord, RemapState } from "../remap/record.ts";
import type { RemapEvent } from "../remap/transition.ts";
import { type Answer, type Audit, type RemapStore, reject } from "./ports.ts";
import { noLongerLeader, type Tenure } from "./tenure.ts";

/** Requests that wait for a write of the same remap. */
const waitingCommandsMax = 64;

/** What a command has led to: the remap as it is then, and whether the machine wants it moved back. */
export interface Outcome {
  readonly state: RemapState;
  readonly back: boolean;
}

/** Something that a remap is told, and who waits for what comes of it. */
export interface Request {
  readonly event: RemapEvent;
  /** Of the action that it stands for. */
  readonly audit?: Audit;
  readonly answer?: (answer: Answer<Outcome>) => void;
}

export class RemapWrites {
  readonly #store: RemapStore;
  readonly #tenure: Tenure;
  readonly #waiting = new Map<string, Request[]>();
  /** The newest of those that are written after; a remap's next write waits for it. */
  readonly #after = new Map<string, Promise<void>>();

  constructor(store: RemapStore, tenure: Tenure) {
    this.#store = store;
    this.#tenure = tenure;
  }

  isWriting(id: string): boolean {
    return this.#waiting.has(id);
  }

  /** Why no more commands for the remap are taken now. */
  refusal(id: string): BatonError | undefined {
    const waiting = this.#waiting.get(id)?.length ?? 0;
    if (waiting < waitingCommandsMax) return undefined;
    return { code: "LIMIT_EXCEEDED", message: `remap ${id} has ${waiting} requests waiting: retry` };
  }

  /** False: nothing of the remap is being written, so nothing has to wait. */
  queue(id: string, request: Request): boolean {
    const waiting = this.#waiting.get(id);
    waiting?.push(request);
    return waiting !== undefined;
  }

  /**
   * True: it is stored, and the remap counts as being written until {@link done}, for whoever looks at it before it is in
   * force would take the step again. False: it failed, or this leadership is over, and whoever has waited is answered.
   */
  async write(record: RemapRecord, places: readonly AddressRecord[], audit?: Audit): Promise<boolean> {
    const { id } = record;
    this.#waiting.set(id, []);
    try {
      await this.#after.get(id);
      for (const place of places) await this.#store.putInventory({ kind: "address-set", record: place });
      await this.#store.putRemap(record, audit);
    } catch (error) {
      this.#refuseAll(this.done(id));
      this.#tenure.storeFailed(error);
      return false;
    }
    if (!this.#tenure.isOver()) return true;
    this.#refuseAll(this.done(id));
    return false;
  }

  /** The requests that have waited. */
  done(id: string): readonly Request[] {
    const waiting = this.#waiting.get(id) ?? [];
    this.#waiting.delete(id);
    return waiting;
  }

  writeAfter(record: RemapRecord): void {
    const before = this.#after.get(record.id) ?? Promise.resolve();
    const write = before.then(() => this.#store.putRemap(record));
    const settled = write.catch((error: unknown) => void this.#tenure.storeFailed(error));
    this.#after.set(record.id, settled);
    void settled.then(() => this.#after.get(record.id) === settled && this.#after.delete(record.id));
  }

  #refuseAll(requests: readonly Request[]): void {
    for (const { answer } of requests) answer?.(reject(noLongerLeader));
  }
}
