/**
 * A tracker's database on LevelDB: where its bytes reach the disk.
 *
 * One batch holds what some messages changed and the position after them, so a crash loses both or neither. Batches
 * aren't synced one by one: what a power failure takes is applied again from the stream.
 *
 * Every value ends with a checksum over its key and itself, for LevelDB doesn't check what it reads. After a failed
 * write only {@link FlowStore.reopen} tells what the disk holds. All failures are {@link StoreFault}s.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { Level } from "level";
import { keyWords } from "../flow/flow-words.ts";
import type { DirtyRun } from "./dirty.ts";
import { checksumBytes, FlowRowReader, FlowRowWriter } from "./flow-rows.ts";
import type { ShardRow } from "./peers.ts";
import {
  decodePlace,
  decodePosition,
  decodeSender,
  decodeTombstone,
  encodePlace,
  encodePosition,
  encodeSender,
  encodeTombstone,
  type Position,
  placeRowKey,
  RecordFault,
  readRowKey,
  rowKey,
  rowKinds,
  shardRange,
  tombstoneRowKey,
} from "./record.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { ShardTable } from "./table.ts";
import type { Tombstone } from "./tombstones.ts";

export interface StoredShard {
  readonly table: ShardTable;
  /** Undefined: nothing was stored yet. */
  readonly position: Position | undefined;
}

type Batch = ReturnType<Level<Buffer, Buffer>["batch"]>;

const directoryMode = 0o700;
/** Of one read, while a shard is loaded. */
const readRowsMax = 2_000;
const readBytesMax = 262_144;

type PutRow = { type: "put"; key: Buffer; value: Buffer };

export class FlowStore implements AsyncDisposable {
  readonly #directory: string;
  #db: Level<Buffer, Buffer> | undefined;

  /** Nothing is opened yet. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  static async open(directory: string): Promise<FlowStore> {
    const store = new FlowStore(directory);
    await store.reopen();
    return store;
  }

  /** Opens the database, or opens it anew, with what is on the disk. */
  async reopen(): Promise<void> {
    await this.#close();
    let db: Level<Buffer, Buffer> | undefined;
    try {
      mkdirSync(this.#directory, { recursive: true, mode: directoryMode });
      checkHead(this.#directory);
      db = new Level(this.#directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
      await db.open();
      checkLog(this.#directory);
    } catch (error) {
      await db?.close();
      throw storeFault(this.#directory, error);
    }
    this.#db = db;
  }

  /** Throws everything away, and begins with an empty database. */
  async discard(): Promise<void> {
    await this.#close();
    rmSync(this.#directory, { recursive: true, force: true });
    await this.reopen();
  }

  /** Throws {@link RecordFault} when rows don't read back; then only {@link wipe} helps. */
  load(shard: number): Promise<StoredShard> {
    return this.#use((db) => readShard(db, shard));
  }

  /** Stores what the table has changed since the last commit, and its position, in one batch. */
  async commit(shard: number, table: ShardTable, position: Position): Promise<void> {
    const dirt = table.dirty.take();
    await this.#use(async (db) => {
      // Chained, it takes each row at once: no objects that wait for all others, and half the time.
      await using batch = db.batch();
      putOrDelete(batch, rowKey(shard, rowKinds.position), encodePosition(position));
      for (const run of dirt.runs) putFlows(batch, shard, table, run, dirt.words);
      for (const key of dirt.tombstones) {
        const tombstone = table.tombstone(key);
        putOrDelete(batch, tombstoneRowKey(shard, key), tombstone && encodeTombstone(tombstone));
      }
      for (const instance of dirt.senders) {
        const sender = table.sender(instance);
        putOrDelete(batch, rowKey(shard, rowKinds.sender, Buffer.from(instance)), sender && encodeSender(sender));
      }
      for (const address of dirt.places) {
        const place = table.placeOf(address);
        putOrDelete(batch, placeRowKey(shard, address), place && encodePlace(place));
      }
      await batch.write();
    });
  }

  /** Of which anything is stored, if only a part. */
  async shards(): Promise<number[]> {
    return await this.#use(async (db) => {
      const found: number[] = [];
      for (let from = 0; ; ) {
        const [key] = await db.keys({ gte: shardRange(from).gte, limit: 1 }).all();
        if (key === undefined) return found;
        const { shard } = readRowKey(key);
        found.push(shard);
        from = shard + 1;
      }
    });
  }

  /** Every row of a shard, all of one moment, in parts of about this size; for another tracker. */
  async *rows(shard: number, partBytes: number): AsyncGenerator<ShardRow[], void, undefined> {
    if (this.#db === undefined) throw notOpen(this.#directory);
    let part: ShardRow[] = [];
    let bytes = 0;
    try {
      for await (const [key, value] of this.#db.iterator(shardRange(shard))) {
        part.push({ key, value });
        bytes += key.length + value.length;
        if (bytes < partBytes) continue;
        yield part;
        part = [];
        bytes = 0;
      }
    } catch (error) {
      throw storeFault(this.#directory, error);
    }
    yield part;
  }

  /**
   * Stores the rows of another tracker's database in place of what is here. The position, without which a shard counts as
   * not stored, is written last. Throws {@link RecordFault} when the rows are of another shard or have no position.
   */
  async takeOver(shard: number, parts: AsyncIterable<readonly ShardRow[]>): Promise<void> {
    await this.wipe(shard);
    let position: PutRow | undefined;
    for await (const part of parts) {
      const rows: PutRow[] = [];
      for (const row of part) {
        const { shard: of, kind } = readRowKey(row.key);
        if (of !== shard) throw new RecordFault(`a row of shard ${of} instead of ${shard}`);
        const put = { type: "put", ...row } as const;
        if (kind === rowKinds.position) position = put;
        else rows.push(put);
      }
      await this.#use((db) => db.batch(rows));
    }
    if (position === undefined) throw new RecordFault(`shard ${shard} without a position`);
    const last = position;
    await this.#use((db) => db.batch([last]));
  }

  async wipe(shard: number): Promise<void> {
    await this.#use((db) => db.clear(shardRange(shard)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  async #close(): Promise<void> {
    const db = this.#db;
    this.#db = undefined;
    await db?.close();
  }

  async #use<T>(work: (db: Level<Buffer, Buffer>) => Promise<T>): Promise<T> {
    if (this.#db === undefined) throw notOpen(this.#directory);
    try {
      return await work(this.#db);
    } catch (error) {
      throw error instanceof RecordFault ? error : storeFault(this.#directory, error);
    }
  }
}

function notOpen(directory: string): StoreFault {
  return new StoreFault("failed", `${directory}: the database is not open`);
}

/** Without CURRENT, LevelDB would begin anew and still replay what the old database had logged last. */
function checkHead(directory: string): void {
  const names = readdirSync(directory);
  if (names.includes("CURRENT") || !names.some((name) => /^\d+\.(?:log|ldb)$|^MANIFEST-/.test(name))) return;
  throw damage("there are tables and logs, but no CURRENT");
}

/** LevelDB skips batches that it can't read, and tells only its own log. */
function checkLog(directory: string): void {
  const log = join(directory, "LOG");
  if (!existsSync(log)) return;
  const [loss] = /\S+: dropping \d+ bytes; .*/.exec(readFileSync(log, "utf8")) ?? [];
  if (loss !== undefined) throw damage(loss);
}

function damage(message: string): Error {
  return Object.assign(new Error(message), { code: "LEVEL_CORRUPTION" });
}

async function readShard(db: Level<Buffer, Buffer>, shard: number): Promise<StoredShard> {
  const positionKey = rowKey(shard, rowKinds.position);
  const stored = await db.get(positionKey);
  // Rows without a position are what a copy has left that was broken off.
  if (stored === undefined) return { table: new ShardTable(), position: undefined };
  const position = decodePosition(unseal(positionKey, stored));
  const table = new ShardTable(position.sequence);
  const tombstones: Tombstone[] = [];
  const flow = new FlowRowReader();
  const restore = (key: Buffer, sealed: Buffer): void => {
    const value = unseal(key, sealed);
    const kind = key[2];
    if (kind === rowKinds.flow) {
      flow.read(key, value);
      table.restoreFlow(flow.owner, flow.address, flow.words, 0);
      return;
    }
    const { name } = readRowKey(key);
    if (kind === rowKinds.tombstone) tombstones.push(decodeTombstone(name, value));
    else if (kind === rowKinds.sender) table.restoreSender(decodeSender(value));
    else if (kind === rowKinds.place) table.restorePlace(decodePlace(name, value));
    else if (kind !== rowKinds.position) throw new RecordFault(`a row of kind ${kind}`);
  };
  for await (const rows of rowsOf(db, shard)) for (const [key, sealed] of rows) restore(key, sealed);
  table.restored();
  tombstones.sort((a, b) => (a.closedAt < b.closedAt ? -1 : Number(a.closedAt > b.closedAt)));
  for (const tombstone of tombstones) table.restoreTombstone(tombstone);
  return { table, position };
}

/**
 * Many at a time, for to wait for each one would take several times as long; and the next ones are read while these are
 * used.
 */
async function* rowsOf(db: Level<Buffer, Buffer>, shard: number): AsyncGenerator<readonly [Buffer, Buffer][]> {
  await using iterator = db.iterator({ ...shardRange(shard), highWaterMarkBytes: readBytesMax });
  let next = iterator.nextv(readRowsMax);
  try {
    for (;;) {
      const rows = await next;
      if (rows.length === 0) return;
      next = iterator.nextv(readRowsMax);
      yield rows;
    }
  } finally {
    // Whoever leaves early has a reason that is worth more than whether this read would have gone well.
    await Promise.allSettled([next]);
  }
}

/** What the table has of these flows now. */
function putFlows(batch: Batch, shard: number, table: ShardTable, run: DirtyRun, words: Uint32Array): void {
  const { owner, address, begin, end } = run;
  const [slab, row] = [table.slab(owner, address), new FlowRowWriter(shard, owner, address)];
  for (let at = begin; at < end; at += keyWords) {
    const slot = slab?.slotOf(words, at);
    if (slab === undefined || slot === undefined) {
      row.setKey(words, at);
      batch.del(row.key);
    } else {
      slab.writeRow(slot, row);
      batch.put(row.key, row.value);
    }
  }
}

function putOrDelete(batch: Batch, key: Buffer, value: Buffer | undefined): void {
  if (value === undefined) batch.del(key);
  else batch.put(key, seal(key, value));
}

function seal(key: Buffer, value: Buffer): Buffer {
  const sealed = Buffer.allocUnsafe(value.length + checksumBytes);
  sealed.set(value);
  sealed.writeUInt32BE(crc32(value, crc32(key)), value.length);
  return sealed;
}

function unseal(key: Buffer, sealed: Buffer): Buffer {
  const value = sealed.subarray(0, Math.max(0, sealed.length - checksumBytes));
  if (sealed.length < checksumBytes || sealed.readUInt32BE(value.length) !== crc32(value, crc32(key)))
    throw new RecordFault(`a row of ${sealed.length} bytes whose checksum is wrong`);
  return value;
}
