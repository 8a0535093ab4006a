/**
 * What one message has changed of a shard's flows, in order and packed. Most of it nobody ever asks for: objects are made
 * only of what somebody reads.
 */
import type { IpAddress } from "../flow/address.ts";
import type { Flow } from "../flow/flow.ts";
import { generationAt, keyFromWords, longAt, openedAtAt, rowWords, stateAt, timeAt } from "../flow/flow-words.ts";

/** Changes in a row that are of one owner's flows at one address. */
interface Run {
  readonly address: IpAddress;
  readonly owner: string;
  via: string | undefined;
  /** Where their rows lie. Undefined: among those that were copied. */
  readonly words: Uint32Array | undefined;
  readonly begin: number;
  /** The row after the last one. */
  end: number;
}

export interface ChangeQuery {
  readonly address: IpAddress;
  readonly owner?: string;
}

const firstCapacity = 4;

export class FlowChanges implements Iterable<Flow> {
  readonly #runs: Run[] = [];
  #copied = new Uint32Array(0);
  #copies = 0;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Takes a row's words, which may be others afterwards. */
  add(address: IpAddress, owner: string, words: Uint32Array, at: number): void {
    if (rowWords * this.#copies === this.#copied.length) this.#resize(Math.max(firstCapacity, 2 * this.#copies));
    const to = rowWords * this.#copies;
    for (let n = 0; n < rowWords; n++) this.#copied[to + n] = words[at + n] ?? 0;
    this.#append(address, owner, undefined, this.#copies++);
  }

  /** A row that stays as it is, where it is: all of its message's rows are kept with it, which mostly are changes as well. */
  share(address: IpAddress, owner: string, words: Uint32Array, at: number): void {
    this.#append(address, owner, words, at / rowWords);
  }

  /** After the last one was added: whom the flows pass, and no more memory than that takes. */
  seal(via: (address: IpAddress, owner: string) => string | undefined): this {
    for (const run of this.#runs) run.via = via(run.address, run.owner);
    if (rowWords * this.#copies < this.#copied.length) this.#resize(this.#copies);
    return this;
  }

  /** Those of an address, or of an owner at it. */
  *matching({ address, owner }: ChangeQuery): Generator<Flow, void, undefined> {
    for (const run of this.#runs)
      if (run.address === address && (owner === undefined || owner === run.owner)) yield* this.#flowsOf(run);
  }

  *[Symbol.iterator](): Generator<Flow, void, undefined> {
    for (const run of this.#runs) yield* this.#flowsOf(run);
  }

  *#flowsOf({ address, owner, via, words = this.#copied, begin, end }: Run): Generator<Flow, void, undefined> {
    for (let n = begin; n < end; n++) {
      const at = rowWords * n;
      const flow = {
        key: keyFromWords(address, words, at),
        owner,
        state: stateAt(words, at),
        openedAtMs: timeAt(words, at + openedAtAt),
        generation: longAt(words, at + generationAt),
      };
      yield via === undefined ? flow : { ...flow, via };
    }
  }

  #append(address: IpAddress, owner: string, words: Uint32Array | undefined, row: number): void {
    this.#length++;
    const last = this.#runs.at(-1);
    const goesOn = last?.end === row && last.words === words && last.address === address && last.owner === owner;
    if (goesOn) last.end = row + 1;
    else this.#runs.push({ address, owner, via: undefined, words, begin: row, end: row + 1 });
  }

  #resize(copies: number): void {
    const words = new Uint32Array(rowWords * copies);
    words.set(this.#copied.subarray(0, rowWords * this.#copies));
    this.#copied = words;
  }
}
