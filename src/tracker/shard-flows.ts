/**
 * What lives in a shard and what has ended there: how a row of a message, or the end of a flow, changes both, and whom it
 * concerns who watches.
 */
import type { IpAddress } from "../flow/address.ts";
import { changedAtAt, keyFromWords, kindAt, kindOf, longAt, rowWords, stateAt, writeLong } from "../flow/flow-words.ts";
import type { PackedRows } from "../flow/packed-rows.ts";
import type { FlowChanges } from "./flow-changes.ts";
import type { FlowSlab } from "./flow-slab.ts";
import { OwnerIndex, type Place } from "./owner-index.ts";
import { Tombstones } from "./tombstones.ts";

/** The flow that ends, and in its last words the sequence of the message that is applied. One at a time: nobody waits. */
const closing = new Uint32Array(rowWords);

export class ShardFlows {
  readonly index = new OwnerIndex();
  readonly tombstones = new Tombstones();

  /** What is changed from now on is changed by this message of the stream. */
  begin(sequence: bigint): void {
    writeLong(closing, changedAtAt, sequence);
  }

  /** A row of a message of changes. */
  applyRow(owner: string, rows: PackedRows, row: number, changes: FlowChanges): void {
    const [{ words }, address, at] = [rows, rows.addressOf(row), rowWords * row];
    if (stateAt(words, at) !== "closed") {
      this.#put(owner, address, words, at);
      changes.share(address, owner, words, at);
      return;
    }
    const slab = this.index.slab(owner, address);
    const slot = slab?.slotOf(words, at);
    if (slab !== undefined && slot !== undefined) {
      this.closeAt({ owner, slab, slot }, changes);
      return;
    }
    for (let word = 0; word < changedAtAt; word++) closing[word] = words[at + word] ?? 0;
    this.#close(owner, address, changes);
  }

  /** A row of a snapshot changes nothing for those who watch when it says what was known. */
  confirmRow(owner: string, rows: PackedRows, row: number, changes: FlowChanges): void {
    const [{ words }, address, at] = [rows, rows.addressOf(row), rowWords * row];
    if (stateAt(words, at) === "closed") return;
    const slab = this.index.slab(owner, address);
    const slot = slab?.slotOf(words, at);
    const isKnown = slab !== undefined && slot !== undefined && saysTheSame(slab, slot, words, at);
    this.#put(owner, address, words, at);
    if (!isKnown) changes.add(address, owner, words, at);
  }

  /** Takes the row of a live flow, and writes into it that this message told of it. */
  #put(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    words[at + changedAtAt] = closing[changedAtAt] ?? 0;
    words[at + changedAtAt + 1] = closing[changedAtAt + 1] ?? 0;
    this.index.put(owner, address, words, at);
    if (this.tombstones.size > 0) this.tombstones.delete(keyFromWords(address, words, at));
  }

  /** A flow that is here. */
  closeAt({ owner, slab, slot }: Place, changes: FlowChanges): void {
    for (let word = 0; word < changedAtAt; word++) closing[word] = slab.wordAt(slot, word);
    this.#close(owner, slab.address, changes);
  }

  /** The flow whose row is {@link closing}. */
  #close(owner: string, address: IpAddress, changes: FlowChanges): void {
    this.index.delete(owner, address, closing, 0);
    const key = keyFromWords(address, closing);
    this.tombstones.put({ key, owner, closedAt: longAt(closing, changedAtAt) });
    closing[kindAt] = kindOf(key.protocol, "closed");
    changes.add(address, owner, closing, 0);
  }
}

/** What is known of a flow, but for who told of it last. */
function saysTheSame(slab: FlowSlab, slot: number, words: Uint32Array, at: number): boolean {
  for (let word = kindAt; word < changedAtAt; word++) if (slab.wordAt(slot, word) !== words[at + word]) return false;
  return true;
}
