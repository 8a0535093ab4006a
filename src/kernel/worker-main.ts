/**
 * Entry of the receiving worker: reads a netlink socket without pause and posts what came in batches.
 *
 * A thread of its own, for a busy main thread must not make the kernel's buffer run over. It never returns to its event
 * loop before the stop; posting works without.
 */
import { parentPort, workerData } from "node:worker_threads";
import { KernelError } from "./kernel-error.ts";
import { messageFlag } from "./libc.ts";
import { datagramBytes } from "./netlink.ts";
import {
  controlWord,
  type EventSource,
  maxBatchDatagrams,
  maxOutstandingBatches,
  type OpenEventSource,
  stopCheckMs,
  type WorkerMessage,
  type WorkerStart,
} from "./worker-protocol.ts";

const { module, options, control } = workerData as WorkerStart;

function post(message: WorkerMessage, transfer: readonly ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

function stopped(): boolean {
  return Atomics.load(control, controlWord.stop) !== 0;
}

/** Waits while the main thread is too far behind; false when it is time to stop. */
function waitForRoom(posted: number): boolean {
  while (!stopped()) {
    const released = Atomics.load(control, controlWord.released);
    if (posted - released < maxOutstandingBatches) return true;
    Atomics.wait(control, controlWord.released, released, stopCheckMs);
  }
  return false;
}

function receiveUntilStopped(source: EventSource): void {
  const buffer = new Uint8Array(datagramBytes);
  let posted = 0;
  while (waitForRoom(posted)) {
    const batch = receiveBatch(source, buffer);
    if (batch.datagrams > 0) {
      const { records, transfer } = source.take();
      post({ kind: "records", records }, transfer);
      posted++;
    }
    if (batch.overflow) {
      post({ kind: "overflow" });
      posted++;
    }
  }
}

/** Waits for one datagram, then takes what is there. Ends at an overflow, which is told after what came before it. */
function receiveBatch(source: EventSource, buffer: Uint8Array): { datagrams: number; overflow: boolean } {
  let datagrams = 0;
  while (datagrams < maxBatchDatagrams) {
    const received = source.socket.receive(buffer, datagrams === 0 ? 0 : messageFlag.dontWait);
    if (received === "overflow") return { datagrams, overflow: true };
    if (received === "empty") break;
    if (received > buffer.length) return { datagrams, overflow: true };
    source.add(buffer.subarray(0, received));
    datagrams++;
  }
  return { datagrams, overflow: false };
}

try {
  const { openEventSource } = (await import(module)) as { openEventSource: OpenEventSource };
  using source = openEventSource(options);
  source.socket.setReceiveTimeout(stopCheckMs);
  post({ kind: "ready" });
  receiveUntilStopped(source);
} catch (error) {
  if (!(error instanceof KernelError)) throw error;
  post({ kind: "failed", operation: error.operation, errno: error.errno, detail: error.detail });
}
