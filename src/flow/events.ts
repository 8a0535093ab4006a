/**
 * The messages of the event stream, as the domain speaks of them. proto/baton/v1/flow.proto is the reference; its
 * comments hold here too.
 */
import type { AddressPlace } from "../placement/layout.ts";
import type { IpAddress } from "./address.ts";
import type { FlowKey, FlowState } from "./flow.ts";

/** What a message says of one flow. Its owner is the message's sender. */
export interface FlowRow {
  readonly key: FlowKey;
  readonly state: FlowState;
  /** Milliseconds since the Unix epoch, owner's clock. */
  readonly openedAtMs: number;
  /** Modulo 2³² on the wire. */
  readonly generation: bigint;
}

/** `Rows`: how the rows of a message lie in memory. */
export interface FlowEventBatch<Rows = readonly FlowRow[]> {
  /** The sender; empty for a coordinator. */
  readonly instance: string;
  /** One run of the sender: 32 hexadecimal digits; empty for a coordinator. */
  readonly boot: string;
  readonly shard: number;
  /** Dense per (instance, boot, shard), from 1; 0 for a coordinator. */
  readonly sequence: bigint;
  readonly body: FlowEvent<Rows>;
}

export type FlowEvent<Rows = readonly FlowRow[]> =
  | { readonly kind: "changes"; readonly rows: Rows; readonly coalesced: readonly Coalesced[] }
  /**
   * `addresses`: what the snapshot replaces; none: every flow of the sender in the shard. `places`: which flows of these
   * addresses, or of all that the sender has, belong to the shard.
   */
  | {
      readonly kind: "snapshot-begin";
      readonly snapshot: bigint;
      readonly addresses: readonly IpAddress[];
      readonly places: readonly AddressPlace[];
    }
  | { readonly kind: "snapshot-page"; readonly snapshot: bigint; readonly rows: Rows }
  | { readonly kind: "snapshot-end"; readonly snapshot: bigint; readonly flows: number }
  | { readonly kind: "barrier"; readonly id: string }
  | { readonly kind: "tick" }
  | { readonly kind: "digest"; readonly flows: number; readonly keyXor: bigint }
  /**
   * Which flows of these addresses belong to the shard, from now on. `released`: every shard has been told of all that belongs
   * to it, and this one need not keep the sender's others.
   */
  | { readonly kind: "places"; readonly places: readonly AddressPlace[]; readonly released: boolean }
  /** Replaces what the sender said before of the shard. */
  | { readonly kind: "forwarding"; readonly forwards: readonly Forward[] }
  | {
      readonly kind: "address-owned";
      readonly address: IpAddress;
      readonly instance: string;
      readonly generation: bigint;
    }
  | { readonly kind: "instance-gone"; readonly instance: string };

/** Flows of an address that opened and closed within one flush window. */
export interface Coalesced {
  readonly address: IpAddress;
  readonly flows: number;
}

/** All flows of this owner at this address reach it through the sender. */
export interface Forward {
  readonly address: IpAddress;
  readonly owner: string;
}

export const flowStreamName = "BATON_FLOWS";
export const flowSubjects = "baton.flows.*";

export function flowSubject(shard: number): string {
  return `baton.flows.${shard}`;
}

/** Where an instance hears that a tracker needs its flows anew. */
export function resyncSubject(instance: string): string {
  return `baton.resync.${instance}`;
}

/** The same for every instance, when a tracker has lost a shard and doesn't know whose flows were in it. */
export const resyncAllSubject = "baton.resync-all";

/** Shards of a cluster, at most. */
export const shardsMax = 4_096;
/** Rows in one message, at most: 16,384 rows are half a megabyte. */
export const rowsPerMessageMax = 16_384;
/** Public addresses that one message speaks of, at most. */
export const addressesPerMessageMax = 4_096;
