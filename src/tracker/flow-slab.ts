/**
 * The flows of one owner at one address, packed: 48 bytes each and a place in a hash table, no object. A million of them
 * cost the garbage collector nothing, and a look-up makes an object only of what it has found.
 *
 * Flows lie without gaps, in slots from 0. Invariants: every slot below `size` is found by its key through the table of
 * places; to delete a flow moves the last one into its slot.
 */
import { randomInt } from "node:crypto";
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey, LiveFlow, LiveFlowState } from "../flow/flow.ts";
import { freeBitsMask, keyFromWords, keyWords, kindAt, writeKeyWords } from "../flow/key-words.ts";
import { SlabView } from "./slab-view.ts";

/** A slot is that many 32-bit words, or half as many 64-bit ones. */
const slotWords = 12;
const slotLongs = slotWords / 2;
/** In 64-bit words: the key is the first three. */
const [openedAtAt, generationAt, changedAtAt] = [3, 4, 5];
/** Of a 64-bit word's two halves, the high one: what this machine's order of bytes makes of it. */
const highWord = new Uint32Array(BigUint64Array.of(1n << 32n).buffer)[1] === 1 ? 1 : 0;
const twoTo32 = 0x1_0000_0000;
const firstCapacity = 4;
const growth = 1.5;
/** Places for a slot: more is memory, less is searching. */
const placesPerSlot = 1.5;

const states: readonly LiveFlowState[] = ["half-open", "open", "closing"];

/**
 * Peers choose their addresses and ports: who knew this number could choose such as fall together. Nothing that a table
 * answers depends on it.
 */
const hashSeed = randomInt(0x7fff_ffff);

/** The key that is looked for. One at a time: nobody waits within a look-up. */
const wanted = new Uint32Array(keyWords);

/** What is known of a flow besides its key. */
export interface FlowFacts {
  readonly state: LiveFlowState;
  readonly openedAtMs: number;
  readonly generation: bigint;
  /** Stream sequence of the message that told of it last. */
  readonly changedAt: bigint;
}

export class FlowSlab {
  readonly address: IpAddress;
  #size = 0;
  #capacity = firstCapacity;
  #words = new Uint32Array(firstCapacity * slotWords);
  #longs = new BigUint64Array(this.#words.buffer);
  #doubles = new Float64Array(this.#words.buffer);
  /** Of a place: 1 + its slot; 0: none. Whoever finds its place taken has the next free one. */
  #places = new Uint32Array(placesFor(firstCapacity));
  /** Who is not read to its end goes with its reader. */
  readonly #views = new Set<WeakRef<SlabView>>();

  constructor(address: IpAddress) {
    this.address = address;
  }

  get size(): number {
    return this.#size;
  }

  /** The flow's slot, until the next change. Undefined: it is not here. */
  slotOf(key: FlowKey): number | undefined {
    writeKeyWords(key, wanted);
    return this.#wantedSlot();
  }

  /** The same, for a key that lies there as words. */
  slotOfWords(words: Uint32Array, at: number): number | undefined {
    for (let n = 0; n < keyWords; n++) wanted[n] = words[at + n] ?? 0;
    return this.#wantedSlot();
  }

  #wantedSlot(): number | undefined {
    const slot = (this.#places[this.#search()] ?? 0) - 1;
    return slot < 0 ? undefined : slot;
  }

  keyAt(slot: number): FlowKey {
    return keyFromWords(this.address, this.#words, slot * slotWords);
  }

  factsAt(slot: number): FlowFacts {
    const long = slot * slotLongs;
    return {
      state: this.stateAt(slot),
      openedAtMs: this.#doubles[long + openedAtAt] ?? 0,
      generation: this.#longs[long + generationAt] ?? 0n,
      changedAt: this.#longs[long + changedAtAt] ?? 0n,
    };
  }

  /** When it opened and its generation, as two big-endian numbers of 64 bits. */
  writeNumbersAt(slot: number, numbers: DataView, at: number): void {
    const openedAtMs = this.#doubles[slot * slotLongs + openedAtAt] ?? 0;
    const generation = slot * slotWords + 2 * generationAt;
    numbers.setUint32(at, Math.trunc(openedAtMs / twoTo32));
    numbers.setUint32(at + 4, openedAtMs >>> 0);
    numbers.setUint32(at + 8, this.#words[generation + highWord] ?? 0);
    numbers.setUint32(at + 12, this.#words[generation + 1 - highWord] ?? 0);
  }

  stateAt(slot: number): LiveFlowState {
    return states[(this.#words[slot * slotWords + kindAt] ?? 0) & freeBitsMask] as LiveFlowState;
  }

  /** Returns the state that it replaces, if there was the flow. */
  put({ key, state, openedAtMs, generation }: LiveFlow, changedAt: bigint): LiveFlowState | undefined {
    writeKeyWords(key, wanted);
    const place = this.#search();
    const known = (this.#places[place] ?? 0) - 1;
    const before = known < 0 ? undefined : this.stateAt(known);
    if (known >= 0) this.#tellViews(known);
    const slot = known < 0 ? this.#append(place) : known;
    const long = slot * slotLongs;
    this.#words[slot * slotWords + kindAt] = (wanted[kindAt] ?? 0) | states.indexOf(state);
    this.#doubles[long + openedAtAt] = openedAtMs;
    this.#longs[long + generationAt] = generation;
    this.#longs[long + changedAtAt] = changedAt;
    return before;
  }

  /** Returns the state in which it was, if there was the flow. */
  delete(key: FlowKey): LiveFlowState | undefined {
    writeKeyWords(key, wanted);
    const place = this.#search();
    const slot = (this.#places[place] ?? 0) - 1;
    if (slot < 0) return undefined;
    const state = this.stateAt(slot);
    this.#vacate(place);
    const last = --this.#size;
    if (slot !== last) {
      this.#tellViews(slot);
      this.#readKey(last);
      const moved = this.#search();
      this.#words.copyWithin(slot * slotWords, last * slotWords, (last + 1) * slotWords);
      this.#places[moved] = slot + 1;
    }
    return state;
  }

  /** As it is now, whatever changes while it is read. */
  view(): SlabView {
    const view = new SlabView(this);
    for (const other of this.#views) if (other.deref()?.isOpen !== true) this.#views.delete(other);
    this.#views.add(new WeakRef(view));
    return view;
  }

  /** As it is now, with what lies in slots that are free: a view may still have to read it. */
  copy(): FlowSlab {
    const copy = new FlowSlab(this.address);
    copy.#size = this.#size;
    copy.#capacity = this.#capacity;
    copy.#hold(this.#words.slice());
    copy.#places = this.#places.slice();
    return copy;
  }

  #hold(words: Uint32Array<ArrayBuffer>): void {
    this.#words = words;
    this.#longs = new BigUint64Array(words.buffer);
    this.#doubles = new Float64Array(words.buffer);
  }

  /** Writes the wanted key into the next slot. */
  #append(place: number): number {
    const grows = this.#size === this.#capacity;
    if (grows) this.#grow();
    const slot = this.#size++;
    this.#tellViews(slot);
    this.#words.set(wanted, slot * slotWords);
    this.#places[grows ? this.#search() : place] = slot + 1;
    return slot;
  }

  #tellViews(slot: number): void {
    for (const reference of this.#views) {
      const view = reference.deref();
      view?.keep(slot);
      if (view?.isOpen !== true) this.#views.delete(reference);
    }
  }

  #grow(): void {
    const wantedKey = wanted.slice();
    this.#capacity = Math.ceil(this.#capacity * growth);
    const words = new Uint32Array(this.#capacity * slotWords);
    words.set(this.#words);
    this.#hold(words);
    this.#places = new Uint32Array(placesFor(this.#capacity));
    for (let slot = 0; slot < this.#size; slot++) {
      this.#readKey(slot);
      let place = this.#home();
      while (this.#places[place] !== 0) place = this.#next(place);
      this.#places[place] = slot + 1;
    }
    wanted.set(wantedKey);
  }

  /** The place of the wanted key, or the free one where it belongs. */
  #search(): number {
    for (let place = this.#home(); ; place = this.#next(place)) {
      const slot = (this.#places[place] ?? 0) - 1;
      if (slot < 0 || this.#isWanted(slot)) return place;
    }
  }

  #isWanted(slot: number): boolean {
    const [word, words] = [slot * slotWords, this.#words];
    for (let n = kindAt - 1; n >= 0; n--) if (words[word + n] !== wanted[n]) return false;
    return ((words[word + kindAt] ?? 0) & ~freeBitsMask) === wanted[kindAt];
  }

  /** Empties a place, and moves up whoever would not be found past it. */
  #vacate(place: number): void {
    let hole = place;
    for (let at = this.#next(hole); this.#places[at] !== 0; at = this.#next(at)) {
      this.#readKey((this.#places[at] ?? 0) - 1);
      const home = this.#home();
      const passesHole = hole <= at ? home <= hole || home > at : home <= hole && home > at;
      if (!passesHole) continue;
      this.#places[hole] = this.#places[at] ?? 0;
      hole = at;
    }
    this.#places[hole] = 0;
  }

  /** Makes a slot's key the wanted one. */
  #readKey(slot: number): void {
    const word = slot * slotWords;
    for (let n = 0; n < kindAt; n++) wanted[n] = this.#words[word + n] ?? 0;
    wanted[kindAt] = (this.#words[word + kindAt] ?? 0) & ~freeBitsMask;
  }

  /** Where the wanted key would be, if nobody else were: by the rounds of MurmurHash3. */
  #home(): number {
    let hash = hashSeed;
    for (let n = 0; n < keyWords; n++) {
      const word = Math.imul(wanted[n] ?? 0, 0xcc9e2d51);
      hash ^= Math.imul((word << 15) | (word >>> 17), 0x1b873593);
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
    }
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return Math.trunc(((hash ^ (hash >>> 16)) >>> 0) * (this.#places.length / 0x1_0000_0000));
  }

  #next(place: number): number {
    return place + 1 === this.#places.length ? 0 : place + 1;
  }
}

function placesFor(capacity: number): number {
  return Math.ceil(capacity * placesPerSlot);
}
