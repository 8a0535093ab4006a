/**
 * A tracker's database on LevelDB: where its bytes reach the disk.
 *
 * What a tracker commits is the messages themselves, as they came, with the position after them in one batch, so a crash
 * loses both or neither; now and then the whole table as a checkpoint, after which the messages before it go. So a flow that
 * is told of costs its part of a message and no row of its own. Batches aren't synced one by one: what a power failure takes
 * is applied again from the stream.
 *
 * After a failed write only {@link FlowStore.reopen} tells what the disk holds. All failures are {@link StoreFault}s.
 */
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Level } from "level";
import { isCheckpointDue, PageReader, pagesOf } from "./checkpoint.ts";
import { applyMessage } from "./message.ts";
import type { ShardRow } from "./peers.ts";
import {
  type Checkpoint,
  decodeMessage,
  decodePosition,
  earlierMessages,
  encodeMessage,
  encodePosition,
  type KeyRange,
  laterMessages,
  messageKey,
  type Position,
  pageKey,
  pagesOfCheckpoint,
  pagesOfOthers,
  positionKey,
  RecordFault,
  readKey,
  rowKinds,
  seal,
  sequenceOfKey,
  shardRange,
  unseal,
} from "./record.ts";
import { StoreFault, storeFault } from "./store-fault.ts";
import { ShardTable } from "./table.ts";

export interface StoredShard {
  readonly table: ShardTable;
  /** Undefined: nothing was stored yet. */
  readonly position: Position | undefined;
}

/** A message as the stream has it. */
export interface StoredMessage {
  readonly sequence: bigint;
  readonly data: Uint8Array;
}

/** What is stored of a shard since its checkpoint. */
interface ShardLog {
  readonly checkpoint: Checkpoint;
  /** Of the last message. */
  sequence: bigint;
  bytes: number;
}

const directoryMode = 0o700;
/** Of one read or write, while a shard is loaded or its checkpoint stored. */
const partRowsMax = 2_000;
const partBytesMax = 262_144;

type PutRow = { type: "put"; key: Buffer; value: Buffer };

export class FlowStore implements AsyncDisposable {
  readonly #directory: string;
  readonly #logs = new Map<number, ShardLog>();
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
    this.#logs.clear();
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
  async load(shard: number): Promise<StoredShard> {
    this.#logs.delete(shard);
    return await this.#use(async (db) => {
      const key = positionKey(shard);
      const stored = await db.get(key);
      if (stored === undefined) {
        // Rows without a position are what a copy has left that was broken off.
        await db.clear(shardRange(shard));
        return { table: new ShardTable(), position: undefined };
      }
      const { position, checkpoint } = decodePosition(unseal(key, stored));
      const table = await readPages(db, shard, checkpoint);
      const bytes = await replay(db, shard, table);
      if (table.sequence !== position.sequence)
        throw new RecordFault(`messages up to ${table.sequence} instead of ${position.sequence}`);
      await this.#clear(db, shard, checkpoint);
      this.#logs.set(shard, { checkpoint, sequence: position.sequence, bytes });
      return { table, position };
    });
  }

  /**
   * Stores what was applied since the last commit or checkpoint, and the position after it, in one batch. The shard must
   * have a checkpoint. True: it should have a new one before anything else is applied.
   */
  async commit(
    shard: number,
    table: ShardTable,
    messages: readonly StoredMessage[],
    position: Position,
  ): Promise<boolean> {
    const log = this.#logs.get(shard);
    if (log === undefined) throw new Error(`shard ${shard} has no checkpoint that messages could follow`);
    await this.#use(async (db) => {
      const rows = messages.map(({ sequence, data }, n): PutRow => {
        const value = encodeMessage(messages[n - 1]?.sequence ?? log.sequence, data);
        return put(messageKey(shard, sequence), value);
      });
      await db.batch([...rows, put(positionKey(shard), encodePosition(position, log.checkpoint))]);
    });
    log.sequence = position.sequence;
    for (const { data } of messages) log.bytes += data.length;
    return isCheckpointDue(log.bytes, table.size);
  }

  /** Stores the whole table, which must not change meanwhile, and its position; then the messages up to it go. */
  async checkpoint(shard: number, table: ShardTable, position: Position): Promise<void> {
    const id = randomBytes(8).readBigUInt64BE();
    await this.#use(async (db) => {
      let pages = 0;
      let part: PutRow[] = [];
      let bytes = 0;
      for (const page of pagesOf(table)) {
        part.push(put(pageKey(shard, id, pages++), page));
        bytes += page.length;
        if (bytes < partBytesMax) continue;
        await db.batch(part);
        part = [];
        bytes = 0;
      }
      const checkpoint = { id, sequence: position.sequence, pages };
      await db.batch([...part, put(positionKey(shard), encodePosition(position, checkpoint))]);
      await this.#clear(db, shard, checkpoint);
      this.#logs.set(shard, { checkpoint, sequence: position.sequence, bytes: 0 });
    });
  }

  /** Of which anything is stored, if only a part. */
  async shards(): Promise<number[]> {
    return await this.#use(async (db) => {
      const found: number[] = [];
      for (let from = 0; ; ) {
        const [key] = await db.keys({ gte: shardRange(from).gte, limit: 1 }).all();
        if (key === undefined) return found;
        const { shard } = readKey(key);
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
        const { shard: of, kind } = readKey(row.key);
        if (of !== shard) throw new RecordFault(`a row of shard ${of} instead of ${shard}`);
        const copied: PutRow = { type: "put", ...row };
        if (kind === rowKinds.position) {
          // Of another version: before all the rest has come, and not after.
          decodePosition(unseal(row.key, row.value));
          position = copied;
        } else rows.push(copied);
      }
      await this.#use((db) => db.batch(rows));
    }
    if (position === undefined) throw new RecordFault(`shard ${shard} without a position`);
    const last = position;
    await this.#use((db) => db.batch([last]));
  }

  async wipe(shard: number): Promise<void> {
    this.#logs.delete(shard);
    await this.#use((db) => db.clear(shardRange(shard)));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }

  /** What counts no more, and what of another checkpoint a crash has left. */
  async #clear(db: Level<Buffer, Buffer>, shard: number, { id, sequence }: Checkpoint): Promise<void> {
    for (const range of [earlierMessages(shard, sequence), ...pagesOfOthers(shard, id)]) await db.clear(range);
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

async function readPages(db: Level<Buffer, Buffer>, shard: number, checkpoint: Checkpoint): Promise<ShardTable> {
  const { id, sequence, pages } = checkpoint;
  const table = new ShardTable(sequence);
  const reader = new PageReader(table);
  let found = 0;
  for await (const rows of rowsOf(db, pagesOfCheckpoint(shard, id))) {
    found += rows.length;
    for (const [key, sealed] of rows) readable(() => reader.read(unseal(key, sealed)));
  }
  if (found !== pages) throw new RecordFault(`a checkpoint has ${found} pages instead of ${pages}`);
  reader.end();
  return table;
}

/** Applies the messages after the checkpoint. Returns their bytes. */
async function replay(db: Level<Buffer, Buffer>, shard: number, table: ShardTable): Promise<number> {
  let bytes = 0;
  for await (const rows of rowsOf(db, laterMessages(shard, table.sequence)))
    for (const [key, sealed] of rows) {
      const { previous, data } = readable(() => decodeMessage(unseal(key, sealed)));
      if (previous !== table.sequence)
        throw new RecordFault(`messages between ${table.sequence} and ${previous} are missing`);
      readable(() => applyMessage(table, shard, sequenceOfKey(key), data));
      bytes += data.length;
    }
  return bytes;
}

/** Whatever a row can't be read for, as when another version has another form of it, only to build the shard anew helps. */
function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof RecordFault) throw error;
    throw new RecordFault(`a row that can't be read: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    });
  }
}

/**
 * Many at a time, for to wait for each one would take several times as long; and the next ones are read while these are
 * used.
 */
async function* rowsOf(db: Level<Buffer, Buffer>, range: KeyRange): AsyncGenerator<readonly [Buffer, Buffer][]> {
  await using iterator = db.iterator({ ...range, highWaterMarkBytes: partBytesMax });
  let next = iterator.nextv(partRowsMax);
  try {
    for (;;) {
      const rows = await next;
      if (rows.length === 0) return;
      next = iterator.nextv(partRowsMax);
      yield rows;
    }
  } finally {
    // Whoever leaves early has a reason that is worth more than whether this read would have gone well.
    await Promise.allSettled([next]);
  }
}

function put(key: Buffer, value: Buffer): PutRow {
  return { type: "put", key, value: seal(key, value) };
}
