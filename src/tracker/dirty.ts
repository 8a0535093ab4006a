/**
 * What a table has changed since its store was written last. What has changed often is named as often: to write it twice
 * does no harm, for what is written is what the table holds in the end, and to find out costs more.
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey } from "../flow/flow.ts";
import { keyWords } from "../flow/flow-words.ts";

/** Keys in a row that are one owner's at one address. */
export interface DirtyRun {
  readonly owner: string;
  readonly address: IpAddress;
  /** Of its first key's words in {@link Dirt.words}, and after its last one's. */
  readonly begin: number;
  end: number;
}

export interface Dirt {
  readonly runs: readonly DirtyRun[];
  /** Keys, {@link keyWords} each. */
  readonly words: Uint32Array;
  readonly tombstones: readonly FlowKey[];
  readonly senders: ReadonlySet<string>;
  /** Of which other flows belong to the shard now. */
  readonly places: ReadonlySet<IpAddress>;
}

const firstCapacity = 16;

export class DirtySet {
  #runs: DirtyRun[] = [];
  #words = new Uint32Array(keyWords * firstCapacity);
  #end = 0;
  #tombstones: FlowKey[] = [];
  #senders = new Set<string>();
  #places = new Set<IpAddress>();

  /** One owner's claim of a key, which lies there as words. */
  flow(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    if (this.#end === this.#words.length) this.#grow();
    for (let n = 0; n < keyWords; n++) this.#words[this.#end + n] = words[at + n] ?? 0;
    const begin = this.#end;
    this.#end += keyWords;
    const last = this.#runs.at(-1);
    if (last?.owner === owner && last.address === address) last.end = this.#end;
    else this.#runs.push({ owner, address, begin, end: this.#end });
  }

  tombstone(key: FlowKey): void {
    this.#tombstones.push(key);
  }

  sender(instance: string): void {
    this.#senders.add(instance);
  }

  place(address: IpAddress): void {
    this.#places.add(address);
  }

  /** Everything, and forgets it. */
  take(): Dirt {
    const dirt = {
      runs: this.#runs,
      words: this.#words,
      tombstones: this.#tombstones,
      senders: this.#senders,
      places: this.#places,
    };
    this.#runs = [];
    // The next batch is mostly as large as this one.
    this.#words = new Uint32Array(Math.max(keyWords * firstCapacity, this.#end));
    this.#end = 0;
    this.#tombstones = [];
    this.#senders = new Set();
    this.#places = new Set();
    return dirt;
  }

  #grow(): void {
    const words = new Uint32Array(2 * this.#words.length);
    words.set(this.#words);
    this.#words = words;
  }
}
