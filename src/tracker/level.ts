/**
 * A tracker's database on LevelDB: where its bytes reach the disk.
 *
 * One batch holds what some messages changed and the position after them, so a crash loses both or neither. Batches
 * aren't synced one by one: what a power failure takes is applied again from the stream.
 */
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
import { ShardTable } from "./table.ts";
import type { Tombstone } from "./tombstones.ts";

export interface StoredShard {
  readonly table: ShardTable;
  /** Undefined: nothing was stored yet. */
  readonly position: Position | undefined;
}

type Row = { type: "put"; key: Buffer; value: Buffer } | { type: "del"; key: Buffer };

export class FlowStore implements AsyncDisposable {
  readonly #db: Level<Buffer, Buffer>;

  private constructor(db: Level<Buffer, Buffer>) {
    this.#db = db;
  }

  /** Throws when the directory can't be used, or another process uses it. */
  static async open(directory: string): Promise<FlowStore> {
    const db = new Level<Buffer, Buffer>(directory, { keyEncoding: "buffer", valueEncoding: "buffer" });
    try {
      await db.open();
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
      throw new Error(`${directory}: the tracker's database can't be opened: ${cause}`, { cause: error });
    }
    return new FlowStore(db);
  }

  /** Throws {@link RecordFault} when rows don't read back; then only {@link wipe} helps. */
  async load(shard: number): Promise<StoredShard> {
    const stored = await this.#db.get(rowKey(shard, rowKinds.position));
    const position = stored === undefined ? undefined : decodePosition(stored);
    const table = new ShardTable(position?.sequence ?? 0n);
    const tombstones: Tombstone[] = [];
    for await (const [key, value] of this.#db.iterator(shardRange(shard))) {
      const { kind, name } = readRowKey(key);
      if (kind === rowKinds.flow) table.restoreRecord(decodeRecord(name, value));
      else if (kind === rowKinds.tombstone) tombstones.push(decodeTombstone(name, value));
      else if (kind === rowKinds.sender) table.restoreSender(decodeSender(value));
      else if (kind !== rowKinds.position) throw new RecordFault(`a row of kind ${kind}`);
    }
    tombstones.sort((a, b) => (a.closedAt < b.closedAt ? -1 : Number(a.closedAt > b.closedAt)));
    for (const tombstone of tombstones) table.restoreTombstone(tombstone);
    return { table, position };
  }

  /** Stores what the table has changed since the last commit, and its position, in one batch. */
  async commit(shard: number, table: ShardTable, position: Position): Promise<void> {
    const dirt = table.dirty.take();
    const rows: Row[] = [{ type: "put", key: rowKey(shard, rowKinds.position), value: encodePosition(position) }];
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
    await this.#db.batch(rows);
  }

  async wipe(shard: number): Promise<void> {
    await this.#db.clear(shardRange(shard));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#db.close();
  }
}

function putOrDelete(key: Buffer, value: Buffer | undefined): Row {
  return value === undefined ? { type: "del", key } : { type: "put", key, value };
}
