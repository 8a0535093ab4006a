/**
 * What the receiving worker and the main thread say to each other, and what an event source is.
 *
 * Words of the shared control array: the main thread writes `stop` and `released`, the worker only reads.
 */
import type { NetlinkSocket } from "./netlink.ts";

/**
 * One kind of events, as the worker sees it. A module for the worker exports `openEventSource: OpenEventSource`.
 * It is opened, called and disposed of in the worker only.
 */
export interface EventSource<Records = unknown> extends Disposable {
  /** Subscribed already; the worker sets its receive timeout. */
  readonly socket: NetlinkSocket;
  /** The first datagram of a batch waits so long for others; none by default. */
  readonly gatherMs?: number;
  /** Takes in one datagram, which is a view that is valid during the call only. Must bear any bytes. */
  add(datagram: Uint8Array): void;
  /** What was added since the last call, cloned to the main thread, and buffers to move there instead of copying. */
  take(): { readonly records: Records; readonly transfer: readonly ArrayBuffer[] };
}

export type OpenEventSource<Options = unknown, Records = unknown> = (options: Options) => EventSource<Records>;

export interface WorkerStart {
  /** URL of the module of the event source. */
  readonly module: string;
  readonly options: unknown;
  readonly control: Int32Array<SharedArrayBuffer>;
}

export const controlWord = { stop: 0, released: 1 } as const;
export const controlWords = 2;

export type WorkerMessage =
  | { readonly kind: "ready" }
  | { readonly kind: "records"; readonly records: unknown }
  | { readonly kind: "overflow" }
  | { readonly kind: "failed"; readonly operation: string; readonly errno: string; readonly detail: string };

/** Batches that the main thread has not taken yet; with more the worker waits, and then the kernel's buffer fills. */
export const maxOutstandingBatches = 16;
/** Datagrams in a batch: small enough that the main thread is never kept for long. */
export const maxBatchDatagrams = 512;
/** How late the worker sees a stop at the most. */
export const stopCheckMs = 100;
