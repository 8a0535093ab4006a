/** The rows of a message, packed: what it says of thousands of flows in one piece of memory. */
import type { IpAddress } from "./address.ts";
import type { FlowRow } from "./events.ts";
import {
  generationAt,
  keyFromWords,
  longAt,
  openedAtAt,
  rowWords,
  stateAt,
  timeAt,
  writeRowWords,
} from "./flow-words.ts";

export class PackedRows implements Iterable<FlowRow> {
  readonly #addresses: readonly IpAddress[];
  readonly #places: readonly number[];
  /** Of each row {@link rowWords}, without the sequence. */
  readonly words: Uint32Array;

  /** `places`: of each row, its public address's index. */
  constructor(addresses: readonly IpAddress[], places: readonly number[], words: Uint32Array) {
    this.#addresses = addresses;
    this.#places = places;
    this.words = words;
  }

  static of(rows: readonly FlowRow[]): PackedRows {
    const words = new Uint32Array(rowWords * rows.length);
    for (const [row, it] of rows.entries()) writeRowWords(it, words, rowWords * row);
    return new PackedRows(
      rows.map(({ key }) => key.address),
      [...rows.keys()],
      words,
    );
  }

  get length(): number {
    return this.#places.length;
  }

  addressOf(row: number): IpAddress {
    return this.#addresses[this.#places[row] ?? -1] as IpAddress;
  }

  *[Symbol.iterator](): Generator<FlowRow, void, undefined> {
    for (let row = 0; row < this.length; row++) {
      const at = rowWords * row;
      yield {
        key: keyFromWords(this.addressOf(row), this.words, at),
        state: stateAt(this.words, at),
        openedAtMs: timeAt(this.words, at + openedAtAt),
        generation: longAt(this.words, at + generationAt),
      };
    }
  }
}
