/**
 * Events of the kernel, received in a worker thread of their own: the main thread's side.
 *
 * Owns the worker and its end. Batches are handed over in order, one at a time; the worker may be
 * `maxOutstandingBatches` ahead, then the kernel's receive buffer fills, and when that runs over the handler is told so.
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { KernelError } from "./kernel-error.ts";
import { controlWord, controlWords, type WorkerMessage, type WorkerStart } from "./worker-protocol.ts";

export type KernelEvent<Records> =
  | { readonly kind: "records"; readonly records: Records }
  /** Events were lost before it, and none since: read the state again. */
  | { readonly kind: "overflow" }
  /** The worker ended without being told to; nothing comes after it. */
  | { readonly kind: "failed"; readonly error: Error };

export interface EventWorkerStart<Records> {
  /** Module that exports `openEventSource`; it is loaded in the worker. */
  readonly module: URL;
  /** For `openEventSource`; must bear structured cloning. */
  readonly options: unknown;
  /** Called on the main thread. What it takes is released to the worker when it returns. */
  readonly handle: (event: KernelEvent<Records>) => void;
}

/** A worker that is asked to stop sees it within `stopCheckMs`; after so long it is stopped by force. */
const stopTimeoutMs = 5_000;

export class EventWorker implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #control: Int32Array<SharedArrayBuffer>;
  readonly #ended: Promise<void>;
  #stopping = false;

  private constructor(start: WorkerStart) {
    this.#control = start.control;
    this.#worker = new Worker(siblingModule("worker-main", import.meta.url), { workerData: start });
    this.#ended = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
  }

  /**
   * Returns when the source is subscribed: whatever happens from then on is an event.
   * @throws KernelError when the source can't be opened
   */
  static async open<Records>(start: EventWorkerStart<Records>): Promise<EventWorker> {
    const control = new Int32Array(new SharedArrayBuffer(controlWords * Int32Array.BYTES_PER_ELEMENT));
    const self = new EventWorker({ module: start.module.href, options: start.options, control });
    try {
      const [first] = (await once(self.#worker, "message")) as [WorkerMessage];
      if (first.kind === "failed") throw new KernelError(first.operation, first.errno, first.detail);
    } catch (error) {
      await self[Symbol.asyncDispose]();
      throw error;
    }
    self.#deliver(start.handle);
    return self;
  }

  #deliver<Records>(handle: (event: KernelEvent<Records>) => void): void {
    let failed = false;
    const fail = (error: Error): void => {
      if (!failed && !this.#stopping) handle({ kind: "failed", error });
      failed = true;
    };
    this.#worker.on("message", (message: WorkerMessage) => {
      if (message.kind === "failed") return fail(new KernelError(message.operation, message.errno, message.detail));
      if (message.kind === "ready" || this.#stopping) return;
      try {
        handle(message as KernelEvent<Records>);
      } finally {
        Atomics.add(this.#control, controlWord.released, 1);
        Atomics.notify(this.#control, controlWord.released);
      }
    });
    this.#worker.on("error", fail);
    this.#worker.on("exit", () => fail(new Error("the thread that receives events of the kernel ended unexpectedly")));
  }

  /** Closes the socket; the handler is not called any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping = true;
    Atomics.store(this.#control, controlWord.stop, 1);
    Atomics.notify(this.#control, controlWord.released);
    const force = setTimeout(() => void this.#worker.terminate(), stopTimeoutMs);
    await this.#ended;
    clearTimeout(force);
  }
}

/** A module beside the one at `importer`, which is TypeScript in the repository and JavaScript in the package. */
export function siblingModule(name: string, importer: string): URL {
  return new URL(`./${name}${importer.endsWith(".ts") ? ".ts" : ".js"}`, importer);
}
