/**
 * Entry of the listing thread: reads the kernel's tables on demand and posts what is asked for.
 *
 * A thread of its own, for one call of the kernel may run over a whole table before it finds anything to give.
 */
import { parentPort, workerData } from "node:worker_threads";
import { openConntrack, streamConntrack } from "./conntrack.ts";
import { KernelError } from "./kernel-error.ts";
import {
  chunksAheadMax,
  type ListingChunk,
  type ListingOrder,
  type ListingStart,
  socketsPerChunk,
} from "./listing-protocol.ts";
import { openSockDiag, streamTcpSocketHeads } from "./sock-diag.ts";

const { taken } = workerData as ListingStart;
const conntrack = openConntrack();
const sockets = openSockDiag();
let posted = 0;

function post(chunk: ListingChunk, transfer: readonly ArrayBuffer[] = []): void {
  for (let seen = Atomics.load(taken, 0); posted - seen >= chunksAheadMax; seen = Atomics.load(taken, 0))
    Atomics.wait(taken, 0, seen);
  parentPort?.postMessage(chunk, transfer);
  posted++;
}

function list({ local }: ListingOrder): void {
  for (const rows of streamConntrack(conntrack, { localAddress: local })) {
    const packed = rows.packed;
    if (packed.count > 0) post({ kind: "connections", rows: packed }, [packed.bytes.buffer]);
  }
  for (const heads of streamTcpSocketHeads(sockets, local, socketsPerChunk))
    post({ kind: "sockets", heads }, [heads.buffer]);
  post({ kind: "end" });
}

parentPort?.on("message", (order: ListingOrder) => {
  try {
    list(order);
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
    post({ kind: "failed", operation: error.operation, errno: error.errno, detail: error.detail });
  }
});
