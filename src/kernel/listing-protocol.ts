/** What the listing thread and the main thread say to each other. */
import type { IpAddress } from "../flow/address.ts";
import type { PackedConntrackRows } from "./conntrack-row.ts";

export interface ListingStart {
  /** Chunks that the main thread has taken, all listings together; the thread waits on it. */
  readonly taken: Int32Array<SharedArrayBuffer>;
}

/** Lists what has this local address. */
export interface ListingOrder {
  readonly local: IpAddress;
}

export type ListingChunk =
  | { readonly kind: "connections"; readonly rows: PackedConntrackRows }
  /** Heads of sock_diag's answers, one after the other. */
  | { readonly kind: "sockets"; readonly heads: Uint8Array<ArrayBuffer> }
  | { readonly kind: "end" }
  | { readonly kind: "failed"; readonly operation: string; readonly errno: string; readonly detail: string };

/** Chunks that the thread may be ahead: some hundred kilobytes. */
export const chunksAheadMax = 32;
/** Sockets of a chunk: less than a millisecond of work for who takes it. */
export const socketsPerChunk = 128;
