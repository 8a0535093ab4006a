/**
 * The connections of a local address as the kernel has them, listed in a thread of their own: conntrack's entries, then
 * TCP sockets.
 *
 * Owns the thread and its end. It may be `chunksAheadMax` chunks ahead of who takes them. A thread that ends by itself
 * lists nothing any more: `fail` is told, for whoever lives on would go without listings for good.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { IpAddress } from "../flow/address.ts";
import { ConntrackRows } from "./conntrack-row.ts";
import { KernelError } from "./kernel-error.ts";
import type { ListingChunk, ListingOrder, ListingStart } from "./listing-protocol.ts";
import { socketsOfHeads } from "./sock-diag.ts";
import type { TcpSocket } from "./sock-diag-codec.ts";
import { siblingModule } from "./worker-stream.ts";

export interface ListingVisitor {
  readonly connections: (rows: ConntrackRows) => void;
  readonly sockets: (sockets: readonly TcpSocket[]) => void;
}

/** Of one turn of the event loop, on what the thread has found. */
const sliceMs = 4;

export class KernelListing implements Disposable {
  readonly #taken = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #worker: Worker;
  readonly #chunks: ListingChunk[] = [];
  #arrived = Promise.withResolvers<void>();
  #ended: Error | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(fail: (error: Error) => void) {
    const workerData: ListingStart = { taken: this.#taken };
    this.#worker = new Worker(siblingModule("listing-main", import.meta.url), { workerData });
    this.#worker.on("message", (chunk: ListingChunk) => {
      this.#chunks.push(chunk);
      this.#arrived.resolve();
    });
    const failed = (error: Error): void => {
      if (this.#ended !== undefined) return;
      this.#end(error);
      fail(error);
    };
    this.#worker.on("error", failed);
    this.#worker.on("exit", () => failed(new Error("the thread that lists connections ended unexpectedly")));
  }

  /** Begun after this call, one listing after the other. Rejects with a KernelError where the kernel refuses. */
  walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    const turn = this.#last.then(() => this.#walk(local, visitor));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  [Symbol.dispose](): void {
    this.#end(new Error("connections are not listed any more"));
    void this.#worker.terminate();
  }

  async #walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    this.#worker.postMessage({ local } satisfies ListingOrder);
    let endMs = performance.now() + sliceMs;
    for (;;) {
      const chunk = await this.#next();
      if (chunk.kind === "end") return;
      if (chunk.kind === "failed") throw new KernelError(chunk.operation, chunk.errno, chunk.detail);
      if (chunk.kind === "connections") visitor.connections(new ConntrackRows(chunk.rows));
      else visitor.sockets(socketsOfHeads(chunk.heads));
      if (performance.now() < endMs) continue;
      await nextTurn();
      endMs = performance.now() + sliceMs;
    }
  }

  async #next(): Promise<ListingChunk> {
    for (;;) {
      if (this.#ended !== undefined) throw this.#ended;
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        Atomics.add(this.#taken, 0, 1);
        Atomics.notify(this.#taken, 0);
        return chunk;
      }
      this.#arrived = Promise.withResolvers<void>();
      await this.#arrived.promise;
    }
  }

  #end(reason: Error): void {
    this.#ended ??= reason;
    this.#arrived.resolve();
  }
}
