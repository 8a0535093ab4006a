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
import {
  decodePosition,
  decodeRecord,
  decodeSender,
  decodeTombstone,
  encodePosition,
  encodeRecord,
  encodeSender,
  encodeTombstone,
  flowName,
  type Position,
  RecordFault,
  readRowKey,
  rowKey,
  rowKinds,
  shardRange,
  tombstoneName,
} from "./record.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { ShardTable } from "./table.ts";
import type { Tombstone } from "./tombstones.ts";

export interface StoredShard {
  readonly table: ShardTable;
  /** Undefined: nothing was stored yet. */
  readonly position: Position | undefined;
}

type Row = { type: "put"; key: Buffer; value: Buffer } | { type: "del"; key: Buffer };

const directoryMode = 0o700;
const checksumBytes = 4;

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
    const rows: Row[] = [putOrDelete(rowKey(shard, rowKinds.position), encodePosition(position))];
    for (const { owner, key } of dirt.flows) {
      const record = table.record(owner, key);
      const name = rowKey(shard, rowKinds.flow, flowName(owner, key));
      rows.push(putOrDelete(name, record === undefined ? undefined : encodeRecord(record)));
    }
    for (const key of dirt.tombstones) {
      const tombstone = table.tombstone(key);
      const name = rowKey(shard, rowKinds.tombstone, tombstoneName(key));
      rows.push(putOrDelete(name, tombstone === undefined ? undefined : encodeTombstone(tombstone)));
    }
    for (const instance of dirt.senders) {
      const sender = table.sender(instance);
      const name = rowKey(shard, rowKinds.sender, Buffer.from(instance));
      rows.push(putOrDelete(name, sender === undefined ? undefined : encodeSender(sender)));
    }
    await this.#use((db) => db.batch(rows));
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
    if (this.#db === undefined) throw new StoreFault("failed", `${this.#directory}: the database is not open`);
    try {
      return await work(this.#db);
    } catch (error) {
      throw error instanceof RecordFault ? error : storeFault(this.#directory, error);
    }
  }
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
  const position = stored === undefined ? undefined : decodePosition(unseal(positionKey, stored));
  const table = new ShardTable(position?.sequence ?? 0n);
  const tombstones: Tombstone[] = [];
  for await (const [key, sealed] of db.iterator(shardRange(shard))) {
    const { kind, name } = readRowKey(key);
    const value = unseal(key, sealed);
    if (kind === rowKinds.flow) table.restoreRecord(decodeRecord(name, value));
    else if (kind === rowKinds.tombstone) tombstones.push(decodeTombstone(name, value));
    else if (kind === rowKinds.sender) table.restoreSender(decodeSender(value));
    else if (kind !== rowKinds.position) throw new RecordFault(`a row of kind ${kind}`);
  }
  tombstones.sort((a, b) => (a.closedAt < b.closedAt ? -1 : Number(a.closedAt > b.closedAt)));
  for (const tombstone of tombstones) table.restoreTombstone(tombstone);
  return { table, position };
}

function putOrDelete(key: Buffer, value: Buffer | undefined): Row {
  return value === undefined ? { type: "del", key } : { type: "put", key, value: seal(key, value) };
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
