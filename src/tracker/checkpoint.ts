/**
 * A shard's table in pages, for the database: the flows of one owner at one address, those of them that have ended, what
 * senders have said, or which flows of an address belong to the shard. Pure.
 *
 * A flow is the twelve words that it is in memory (flow-words.ts), little-endian, so that a page costs no more than its
 * bytes. The table must not change between two pages.
 */
import { type IpAddress, ipAddressFromWords, mappedBytes, writeIpAddressWords } from "../flow/address.ts";
import {
  changedAtAt,
  keyFromWords,
  kindAt,
  kindOf,
  longAt,
  openedAtAt,
  rowWords,
  timeAt,
  writeKeyWords,
  writeLong,
  writeTime,
} from "../flow/flow-words.ts";
import { decodePlaces, decodeSenders, encodePlace, encodeSender } from "./checkpoint-text.ts";
import { RecordFault } from "./record.ts";
import type { ShardTable } from "./table.ts";
import type { Tombstone } from "./tombstones.ts";

/** Some 24 kB of flows. */
const rowsPerPage = 512;
/** Of JSON, but for one sender that says more. */
const textBytesMax = 65_536;
const pageKinds = { flows: 1, ended: 2, senders: 3, places: 4 } as const;
const rowBytes = rowWords * Uint32Array.BYTES_PER_ELEMENT;
/** Kind, length of the owner's name, address. */
const headBytes = 1 + 1 + mappedBytes;

/** The log of messages is read again at a restart: so much of it is nothing. */
const logBytesMin = 1_048_576;

/**
 * After so many bytes of messages a new checkpoint costs less than they did, and a restart takes about as long for the
 * messages as for the pages.
 */
export function isCheckpointDue(logBytes: number, flows: number): boolean {
  return logBytes > Math.max(logBytesMin, flows * rowBytes);
}

export function* pagesOf(table: ShardTable): Generator<Buffer, void, undefined> {
  for (const { owner, slab } of table.slabs())
    for (let from = 0; from < slab.size; from += rowsPerPage)
      yield rowsPage(pageKinds.flows, owner, slab.address, slab.words(from, Math.min(from + rowsPerPage, slab.size)));
  yield* endedPages(table.tombstones());
  yield* textPages(pageKinds.senders, table.senders(), encodeSender);
  yield* textPages(pageKinds.places, table.places(), encodePlace);
}

/** A flow that has ended, and its place in the order in which all have. */
interface Ended {
  readonly tombstone: Tombstone;
  readonly order: number;
}

/** Fills a table with pages, in any order. Throws a {@link RecordFault}. */
export class PageReader {
  readonly #table: ShardTable;
  readonly #ended: Ended[] = [];

  constructor(table: ShardTable) {
    this.#table = table;
  }

  read(page: Buffer): void {
    switch (page[0]) {
      case pageKinds.flows: {
        const { owner, address, words } = readRows(page);
        for (let at = 0; at < words.length; at += rowWords) this.#table.restoreFlow(owner, address, words, at);
        return;
      }
      case pageKinds.ended: {
        const { owner, address, words } = readRows(page);
        for (let at = 0; at < words.length; at += rowWords)
          this.#ended.push({
            tombstone: { key: keyFromWords(address, words, at), owner, closedAt: longAt(words, at + changedAtAt) },
            order: timeAt(words, at + openedAtAt),
          });
        return;
      }
      case pageKinds.senders:
        for (const sender of decodeSenders(page.subarray(1))) this.#table.restoreSender(sender);
        return;
      case pageKinds.places:
        for (const place of decodePlaces(page.subarray(1))) this.#table.restorePlace(place);
        return;
      default:
        throw new RecordFault(`a page of kind ${page[0]}`);
    }
  }

  /** After the last page. */
  end(): void {
    this.#table.restored();
    this.#ended.sort((one, other) => one.order - other.order);
    for (const { tombstone } of this.#ended) this.#table.restoreTombstone(tombstone);
  }
}

/** Together where they are one owner's at one address; each with its place in the order of all, where a flow has its age. */
function* endedPages(tombstones: Iterable<Tombstone>): Generator<Buffer, void, undefined> {
  const groups = new Map<IpAddress, Map<string, Ended[]>>();
  let order = 0;
  for (const tombstone of tombstones) {
    const { owner, key } = tombstone;
    const owners = groups.get(key.address) ?? new Map<string, Ended[]>();
    const ended = owners.get(owner) ?? [];
    ended.push({ tombstone, order: order++ });
    groups.set(key.address, owners.set(owner, ended));
  }
  for (const [address, owners] of groups)
    for (const [owner, ended] of owners)
      for (let from = 0; from < ended.length; from += rowsPerPage)
        yield rowsPage(pageKinds.ended, owner, address, endedWords(ended.slice(from, from + rowsPerPage)));
}

function endedWords(ended: readonly Ended[]): Uint32Array {
  const words = new Uint32Array(rowWords * ended.length);
  for (const [row, { tombstone, order }] of ended.entries()) {
    const at = rowWords * row;
    writeKeyWords(tombstone.key, words, at);
    words[at + kindAt] = kindOf(tombstone.key.protocol, "closed");
    writeTime(words, at + openedAtAt, order);
    writeLong(words, at + changedAtAt, tombstone.closedAt);
  }
  return words;
}

function rowsPage(kind: number, owner: string, address: IpAddress, words: Uint32Array): Buffer {
  const name = Buffer.from(owner);
  const page = Buffer.allocUnsafe(headBytes + name.length + words.byteLength);
  page.writeUInt8(kind);
  page.writeUInt8(name.length, 1);
  const addressWords = new Uint32Array(mappedBytes / 4);
  writeIpAddressWords(address, addressWords);
  for (const [n, word] of addressWords.entries()) page.writeUInt32BE(word, 2 + 4 * n);
  page.set(name, headBytes);
  page.set(new Uint8Array(words.buffer, words.byteOffset, words.byteLength), headBytes + name.length);
  return page;
}

function readRows(page: Buffer): { readonly owner: string; readonly address: IpAddress; readonly words: Uint32Array } {
  const begin = headBytes + (page[1] ?? 0);
  if (page.length < begin || (page.length - begin) % rowBytes !== 0)
    throw new RecordFault(`a page of flows of ${page.length} bytes`);
  const addressWords = Uint32Array.from({ length: mappedBytes / 4 }, (_, n) => page.readUInt32BE(2 + 4 * n));
  const words = new Uint32Array((page.length - begin) / Uint32Array.BYTES_PER_ELEMENT);
  new Uint8Array(words.buffer).set(page.subarray(begin));
  return { owner: page.toString("utf8", headBytes, begin), address: ipAddressFromWords(addressWords), words };
}

function* textPages<T>(kind: number, items: Iterable<T>, encode: (item: T) => string): Generator<Buffer> {
  let texts: string[] = [];
  let length = 0;
  for (const item of items) {
    const text = encode(item);
    if (texts.length > 0 && length + text.length > textBytesMax) {
      yield textPage(kind, texts);
      texts = [];
      length = 0;
    }
    texts.push(text);
    length += text.length;
  }
  if (texts.length > 0) yield textPage(kind, texts);
}

function textPage(kind: number, texts: readonly string[]): Buffer {
  return Buffer.concat([Buffer.of(kind), Buffer.from(`[${texts.join(",")}]`)]);
}
