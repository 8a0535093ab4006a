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

/**
 * After an overflow the kernel drops everything until the queue is empty, without another word. So an overflow is told
 * when the queue has been read to its end (or runs over again): who reads the state after that misses nothing.
 */
function receiveUntilStopped(source: EventSource): void {
  const buffer = new Uint8Array(datagramBytes);
  let posted = 0;
  let overflowed = false;
  while (waitForRoom(posted)) {
    const { datagrams, end } = receiveBatch(source, buffer, overflowed ? messageFlag.dontWait : 0);
    if (datagrams > 0) {
      const { records, transfer } = source.take();
      post({ kind: "records", records }, transfer);
      posted++;
    }
    if (overflowed && end !== "full") {
      post({ kind: "overflow" });
      posted++;
      overflowed = false;
    }
    if (end === "overflow") overflowed = true;
  }
}

/** Wakes up early only when it is time to stop: what the main thread releases meanwhile makes no difference. */
function gather({ gatherMs }: EventSource): void {
  if (gatherMs !== undefined) Atomics.wait(control, controlWord.stop, 0, gatherMs);
}

/** Takes what is there. @param firstFlags whether to wait for the first datagram */
function receiveBatch(
  source: EventSource,
  buffer: Uint8Array,
  firstFlags: number,
): { datagrams: number; end: "full" | "empty" | "overflow" } {
  for (let datagrams = 0; datagrams < maxBatchDatagrams; datagrams++) {
    const received = source.socket.receive(buffer, datagrams === 0 ? firstFlags : messageFlag.dontWait);
    if (typeof received !== "number") return { datagrams, end: received };
    if (received > buffer.length) return { datagrams, end: "overflow" };
    source.add(buffer.subarray(0, received));
    if (datagrams === 0 && firstFlags === 0) gather(source);
  }
  return { datagrams: maxBatchDatagrams, end: "full" };
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
