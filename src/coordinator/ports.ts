/** What the conductor needs of the world around it; the tests give it a world of their own. */

import type { IpAddress } from "../flow/address.ts";
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { ShardPosition } from "../node/state.ts";
import type { BatonError } from "../remap/error.ts";
import type { RemapRecord } from "../remap/record.ts";
import type { Remap } from "../remap/remap.ts";
import type { Clock } from "../runtime/clock.ts";

/** The store has not taken a write. After either, this leader can't know what the store holds, so it stops leading. */
export class StoreFault extends Error {
  override readonly name = "StoreFault";
}

/** Each write takes the action that has led to it along, and tells the audit of it once both are stored. */
export interface RemapStore {
  /** Rejects with {@link StoreFault}. */
  putRemap(record: RemapRecord, audit?: Audit): Promise<void>;
  /** Rejects with {@link StoreFault}. */
  putInventory(entry: InventoryEntry, audit?: Audit): Promise<void>;
  /** Whatever terms up to this one have ordered is accepted. Rejects with {@link StoreFault}. */
  putAccepted(term: bigint, audit?: Audit): Promise<void>;
}

export interface TrackerPort {
  /** Resolves once all positions are applied; rejects with the reason why not. */
  barrier(positions: readonly ShardPosition[], signal: AbortSignal): Promise<void>;
  /** Flows of an instance under an address; undefined while that can't be told. */
  count(address: IpAddress, owner: string, signal: AbortSignal): Promise<number | undefined>;
}

/** What a message of the audit has to say besides action and time. Null: taken away, as a deadline. */
export type AuditEntry = Readonly<Record<string, string | number | null>>;

/** What somebody has asked for and got. */
export interface Audit {
  /** Letters and "-". */
  readonly action: string;
  readonly entry: AuditEntry;
}

/** `key`: of the record that was stored with it; absent: the action has changed nothing that is stored. */
export interface StoredAudit extends Audit {
  readonly atMs: number;
  readonly key?: string;
}

export interface EndedRemap {
  readonly remap: Remap;
  readonly step: number;
}

export interface EventPort {
  /** Tells the event stream that the address belongs to the instance alone. */
  owned(address: IpAddress, instance: string, generation: bigint, signal: AbortSignal): Promise<void>;
  /** A change of a remap; `step` is of the stored record that it rests on. Never waits. */
  remapChanged(remap: Remap, step: number): void;
  /** Never waits. */
  audit(audit: StoredAudit): void;
  /** A new leader has found these in the store, oldest first: what of them was not published is published. Never waits. */
  takenOver(ended: readonly EndedRemap[], audits: readonly StoredAudit[], signal: AbortSignal): void;
}

export interface ConductorPorts {
  readonly store: RemapStore;
  readonly tracker: TrackerPort;
  readonly events: EventPort;
  readonly clock: Clock;
  /** A fresh id, unique for ever: letters, digits and "-". */
  readonly newId: () => string;
  /** The lease is held by the clock. False: nothing may be sent or stored any more. */
  readonly leads: () => boolean;
  /** Leading must end, for this reason; called at most once. `heard`: a term that a node obeys, not below this one. */
  readonly lost: (reason: string, heard?: bigint) => void;
}

export type Answer<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: BatonError };

export function accept<T>(value: T): Answer<T> {
  return { ok: true, value };
}

export function reject<T>(error: BatonError): Answer<T> {
  return { ok: false, error };
}
