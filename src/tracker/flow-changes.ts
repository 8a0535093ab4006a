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
  /** The change after its last. */
  end: number;
}

export interface ChangeQuery {
  readonly address: IpAddress;
  readonly owner?: string;
}

const firstCapacity = 4;

export class FlowChanges implements Iterable<Flow> {
  readonly #runs: Run[] = [];
  #words: Uint32Array;
  #length = 0;

  /** `expected`: how many changes there will be, more or less. */
  constructor(expected = firstCapacity) {
    this.#words = new Uint32Array(rowWords * Math.max(1, expected));
  }

  get length(): number {
    return this.#length;
  }

  /** Takes a row's words. */
  add(address: IpAddress, owner: string, words: Uint32Array, at: number): void {
    if (rowWords * this.#length === this.#words.length) this.#resize(2 * this.#length);
    const to = rowWords * this.#length++;
    for (let n = 0; n < rowWords; n++) this.#words[to + n] = words[at + n] ?? 0;
    const last = this.#runs.at(-1);
    if (last?.address === address && last.owner === owner) last.end = this.#length;
    else this.#runs.push({ address, owner, via: undefined, end: this.#length });
  }

  /** After the last one was added: whom the flows pass, and no more memory than that takes. */
  seal(via: (address: IpAddress, owner: string) => string | undefined): this {
    for (const run of this.#runs) run.via = via(run.address, run.owner);
    if (rowWords * this.#length < this.#words.length) this.#resize(this.#length);
    return this;
  }

  /** Those of an address, or of an owner at it. */
  *matching({ address, owner }: ChangeQuery): Generator<Flow, void, undefined> {
    let begin = 0;
    for (const run of this.#runs) {
      if (run.address === address && (owner === undefined || owner === run.owner)) yield* this.#flowsOf(run, begin);
      begin = run.end;
    }
  }

  *[Symbol.iterator](): Generator<Flow, void, undefined> {
    let begin = 0;
    for (const run of this.#runs) {
      yield* this.#flowsOf(run, begin);
      begin = run.end;
    }
  }

  *#flowsOf({ address, owner, via, end }: Run, begin: number): Generator<Flow, void, undefined> {
    for (let n = begin; n < end; n++) {
      const [words, at] = [this.#words, rowWords * n];
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

  #resize(changes: number): void {
    const words = new Uint32Array(rowWords * changes);
    words.set(this.#words.subarray(0, rowWords * this.#length));
    this.#words = words;
  }
}
