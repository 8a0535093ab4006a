/**
 * How fast flows get from encoded messages into a database: a tracker of all shards, LevelDB alone, and redis.
 *
 * All three get the same flows in the same order, and each answers before its disk has: LevelDB's log and redis' AOF are
 * with the kernel then, which survives a SIGKILL and not a loss of power. LevelDB and redis are given a row for each flow,
 * ready made, in batches of as many as a tracker commits at once; what they would cost to make is not counted. The tracker
 * stores the messages, and its tables at the end as they would be at the next checkpoint, which is counted.
 */
import { mkdir, rm } from "node:fs/promises";
import { Level } from "level";
import { MemoryBus } from "../../../src/bus/memory.ts";
import { flowStreamName, flowSubject, flowSubjects } from "../../../src/flow/events.ts";
import type { LiveFlow } from "../../../src/flow/flow.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { createLog } from "../../../src/runtime/log.ts";
import { FlowStore } from "../../../src/tracker/level.ts";
import { ShardReplica } from "../../../src/tracker/replica.ts";
import { keyOfFlow, valueOfFlow } from "./flow-row.ts";
import { flowAt, type Message, shards } from "./flows.ts";
import { ownProcessorMs, processorMsOf } from "./processor-time.ts";
import { command, RedisServer } from "./redis.ts";

export interface Row {
  readonly type: "put";
  readonly key: Buffer;
  readonly value: Buffer;
}

const name = "tracker1";
const hourMs = 3_600_000;
const gibibyte = 1_073_741_824;
/** As a tracker's replica writes them at the latest. */
const rowsPerBatch = 10_000;
/** As a tracker reads them at its start. */
const [readRows, readBytes] = [2_000, 262_144];

/** Every flow's row, in batches by shard. An instance has one address, and that one shard. */
export function batchesOf(flows: number): Row[][][] {
  const rows: Row[][] = Array.from({ length: shards }, () => []);
  for (let index = 0; index < flows; index++) {
    const flow = flowAt(index);
    rows[shardOf(flow.key.address, shards)]?.push({
      type: "put",
      key: rowKeyOf(flow),
      value: valueOfFlow(flow, BigInt(index)),
    });
  }
  return rows.map((ofShard) =>
    Array.from({ length: Math.ceil(ofShard.length / rowsPerBatch) }, (_, n) =>
      ofShard.slice(n * rowsPerBatch, (n + 1) * rowsPerBatch),
    ),
  );
}

export function rowKeyOf(flow: LiveFlow): Buffer {
  return keyOfFlow(shardOf(flow.key.address, shards), flow);
}

/** A bus that holds these messages as a stream. */
export async function filledBus(messages: Iterable<Message>, signal: AbortSignal): Promise<MemoryBus> {
  const bus = new MemoryBus();
  const limits = { maxAgeMs: hourMs, maxBytes: gibibyte, duplicateWindowMs: hourMs, replicas: 1 };
  await bus.ensureStream({ name: flowStreamName, subjects: [flowSubjects], ...limits }, signal);
  let id = 0;
  for (const { shard, data } of messages)
    await bus.publish(flowSubject(shard), data, { messageId: String(id++), signal });
  return bus;
}

export interface Took {
  readonly ms: number;
  /** Of all processes that took part. */
  readonly processorMs: number;
}

export interface Ingested extends AsyncDisposable {
  readonly took: Took;
  /** Index: shard. */
  readonly replicas: readonly ShardReplica[];
}

/**
 * From messages on the bus to flows in tables and in LevelDB, first as messages, then as a checkpoint of each shard: one in so
 * many flows is more than a tracker stores. The replicas go on until they are disposed of.
 */
export async function ingestIntoTracker(directory: string, bus: MemoryBus, signal: AbortSignal): Promise<Ingested> {
  const store = await FlowStore.open(directory);
  const log = createLog({ service: "bench", name, level: "error" });
  const parts = { bus, store, clock: systemClock, log, rebuildSettleMs: 0, onBatch: () => {} };
  const replicas = Array.from({ length: shards }, (_, shard) => new ShardReplica({ ...parts, shard }));
  for (const replica of replicas) await replica.load();
  const ends = await Promise.all(
    Array.from({ length: shards }, (_, shard) => bus.lastSequence(flowStreamName, flowSubject(shard), signal)),
  );
  const stop = new AbortController();
  const until = AbortSignal.any([signal, stop.signal]);
  const timer = new Timer();
  const running = Promise.all(replicas.map((replica) => replica.run(until)));
  const stored = replicas.map(async (replica) => {
    const { shard } = replica;
    await replica.reached(ends[shard] ?? 0n, signal);
    const position = { sequence: replica.table.sequence, fingerprint: new Uint8Array(), rebuilding: false };
    await store.checkpoint(shard, replica.table, position);
  });
  await Promise.all(stored);
  signal.throwIfAborted();
  const took = timer.took();
  return {
    took,
    replicas,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await running;
      await store[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Of this process, and of another one beside it. */
class Timer {
  readonly #pid: number | undefined;
  readonly #startMs: number;
  readonly #processorMs: number;

  constructor(pid?: number) {
    this.#pid = pid;
    this.#processorMs = this.#spentMs();
    this.#startMs = performance.now();
  }

  took(): Took {
    return { ms: performance.now() - this.#startMs, processorMs: this.#spentMs() - this.#processorMs };
  }

  #spentMs(): number {
    return ownProcessorMs() + (this.#pid === undefined ? 0 : processorMsOf(this.#pid));
  }
}

/** How long LevelDB alone takes to hand every row of a database to JavaScript, read as a tracker reads it. */
export async function timeToRead(directory: string): Promise<number> {
  await using db = await openLevel(directory);
  const startMs = performance.now();
  await using iterator = db.iterator({ highWaterMarkBytes: readBytes });
  let rows = 0;
  for (let read = await iterator.nextv(readRows); read.length > 0; read = await iterator.nextv(readRows))
    rows += read.length;
  if (rows === 0) throw new Error(`${directory}: there is nothing to read`);
  return performance.now() - startMs;
}

/** Shards side by side, each batch after the one before, as a tracker does it. */
export async function ingestIntoLevel(db: Level<Buffer, Buffer>, batches: readonly Row[][][]): Promise<Took> {
  const timer = new Timer();
  await Promise.all(
    batches.map(async (ofShard) => {
      for (const rows of ofShard) await db.batch(rows);
    }),
  );
  return timer.took();
}

/** The same by chained batches, which the tracker uses: LevelDB takes each row at once. */
export async function chainedIntoLevel(db: Level<Buffer, Buffer>, batches: readonly Row[][][]): Promise<Took> {
  const timer = new Timer();
  await Promise.all(
    batches.map(async (ofShard) => {
      for (const rows of ofShard) {
        const batch = db.batch();
        for (const { key, value } of rows) batch.put(key, value);
        await batch.write();
      }
    }),
  );
  return timer.took();
}

export async function openLevel(directory: string): Promise<Level<Buffer, Buffer>> {
  const db = new Level<Buffer, Buffer>(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
  await db.open();
  return db;
}

/** One pipeline a batch, the next one sent while the one before is answered. */
export async function ingestIntoRedis(
  directory: string,
  pipelines: readonly Pipeline[],
  signal: AbortSignal,
): Promise<Took> {
  await mkdir(directory, { recursive: true });
  await using server = new RedisServer(directory);
  using client = await server.start(signal);
  const timer = new Timer(server.pid);
  const answers = await Promise.all(pipelines.map(({ bytes, commands }) => client.ask([bytes], commands)));
  const took = timer.took();
  const fault = answers.flat().find((answer) => answer instanceof Error);
  if (fault !== undefined) throw new Error("redis-server refused to store", { cause: fault });
  return took;
}

export interface Pipeline {
  readonly bytes: Buffer;
  readonly commands: number;
}

export function* pipelinesOf(batches: readonly Row[][][]): Generator<Pipeline> {
  for (const rows of batches.flat())
    yield { bytes: Buffer.concat(rows.map(({ key, value }) => command("SET", key, value))), commands: rows.length };
}
