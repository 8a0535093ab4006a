/**
 * The flows of one owner at one address, packed: 48 bytes each and a place in a hash table, no object. A million of them
 * cost the garbage collector nothing, and a look-up makes an object only of what it has found.
 *
 * Flows lie without gaps, in slots from 0. Invariants: every slot below `size` is found by its key through the table of
 * places; to delete a flow moves the last one into its slot.
 */
import { randomInt } from "node:crypto";
import type { IpAddress } from "../flow/address.ts";
import type { FlowKey, LiveFlowState } from "../flow/flow.ts";
import {
  changedAtAt,
  generationAt,
  keyFromWords,
  keyWords,
  kindAt,
  longAt,
  openedAtAt,
  rowWords,
  stateAt,
  stateMask,
  timeAt,
} from "../flow/flow-words.ts";
import { slotOfWords } from "../flow/key-digest.ts";
import { SlabView } from "./slab-view.ts";

const firstCapacity = 4;
const growth = 1.5;
/** Of what a slab was filled with, one such part more has room before it grows. */
const spareParts = 16;
/** Below this capacity it grows by more: it is little memory, and many steps. */
const [smallCapacity, smallGrowth] = [1_024, 4];
/** Places for a slot: more is memory, less is searching. */
const placesPerSlot = 1.5;

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
  #words = new Uint32Array(firstCapacity * rowWords);
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

  /** The slot of the flow whose key lies there as words, until the next change. Undefined: it is not here. */
  slotOf(words: Uint32Array, at: number): number | undefined {
    want(words, at);
    const slot = (this.#places[this.#search()] ?? 0) - 1;
    return slot < 0 ? undefined : slot;
  }

  keyAt(slot: number): FlowKey {
    return keyFromWords(this.address, this.#words, slot * rowWords);
  }

  factsAt(slot: number): FlowFacts {
    const [words, at] = [this.#words, slot * rowWords];
    return {
      state: this.stateAt(slot),
      openedAtMs: timeAt(words, at + openedAtAt),
      generation: longAt(words, at + generationAt),
      changedAt: longAt(words, at + changedAtAt),
    };
  }

  /** Of its key, by which its bucket is told. */
  keySlotAt(slot: number): number {
    return slotOfWords(this.address, this.#words, slot * rowWords);
  }

  /** It was told of by a message of this stream sequence, given as words, or a later one. */
  isChangedSince(slot: number, high: number, low: number): boolean {
    const at = slot * rowWords + changedAtAt;
    const changedHigh = this.#words[at] ?? 0;
    return changedHigh === high ? (this.#words[at + 1] ?? 0) >= low : changedHigh > high;
  }

  /** A word of the flow's row: see flow-words.ts. */
  wordAt(slot: number, word: number): number {
    return this.#words[slot * rowWords + word] ?? 0;
  }

  /** Rows of these slots, until the next change. */
  words(from: number, to: number): Uint32Array {
    return this.#words.subarray(from * rowWords, to * rowWords);
  }

  stateAt(slot: number): LiveFlowState {
    return stateAt(this.#words, slot * rowWords) as LiveFlowState;
  }

  /** Takes a flow's row. Returns the state that it replaces, if there was the flow. */
  put(words: Uint32Array, at: number): LiveFlowState | undefined {
    want(words, at);
    const place = this.#search();
    const known = (this.#places[place] ?? 0) - 1;
    const before = known < 0 ? undefined : this.stateAt(known);
    if (known >= 0) this.#tellViews(known);
    this.#write(known < 0 ? this.#append(place) : known, words, at);
    return before;
  }

  /** Takes a flow that is not here, which is not found before {@link index}: for very many at once. */
  fill(words: Uint32Array, at: number): void {
    if (this.#size === this.#capacity) this.#enlarge(grown(this.#capacity));
    this.#write(this.#size++, words, at);
  }

  /** Makes all that it was filled with to be found, in little more memory than that needs: more flows will come. */
  index(): void {
    this.#enlarge(Math.max(firstCapacity, this.#size + Math.ceil(this.#size / spareParts)));
    this.#findPlaces();
  }

  /** Returns the state in which it was, if there was the flow. */
  delete(words: Uint32Array, at: number): LiveFlowState | undefined {
    want(words, at);
    const place = this.#search();
    const slot = (this.#places[place] ?? 0) - 1;
    if (slot < 0) return undefined;
    const state = this.stateAt(slot);
    this.#vacate(place);
    const last = --this.#size;
    if (slot !== last) {
      this.#tellViews(slot);
      want(this.#words, last * rowWords);
      const moved = this.#search();
      this.#words.copyWithin(slot * rowWords, last * rowWords, (last + 1) * rowWords);
      this.#places[moved] = slot + 1;
    }
    return state;
  }

  /** As it is now, whatever changes while it is read; with a peer, of its flows alone. */
  view(peer?: IpAddress): SlabView {
    const view = new SlabView(this, peer);
    for (const other of this.#views) if (other.deref()?.isOpen !== true) this.#views.delete(other);
    this.#views.add(new WeakRef(view));
    return view;
  }

  /** As it is now, with what lies in slots that are free: a view may still have to read it. */
  copy(): FlowSlab {
    const copy = new FlowSlab(this.address);
    copy.#size = this.#size;
    copy.#capacity = this.#capacity;
    copy.#words = this.#words.slice();
    copy.#places = this.#places.slice();
    return copy;
  }

  #write(slot: number, words: Uint32Array, at: number): void {
    const to = slot * rowWords;
    for (let n = 0; n < rowWords; n++) this.#words[to + n] = words[at + n] ?? 0;
  }

  /** The next slot, as that of the wanted key, which is to be written there. */
  #append(place: number): number {
    const grows = this.#size === this.#capacity;
    if (grows) this.#grow();
    const slot = this.#size++;
    this.#tellViews(slot);
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
    this.#enlarge(grown(this.#capacity));
    this.#findPlaces();
    wanted.set(wantedKey);
  }

  #enlarge(capacity: number): void {
    const words = new Uint32Array(capacity * rowWords);
    words.set(this.#words.subarray(0, this.#size * rowWords));
    this.#words = words;
    this.#capacity = capacity;
  }

  #findPlaces(): void {
    this.#places = new Uint32Array(placesFor(this.#capacity));
    for (let slot = 0; slot < this.#size; slot++) {
      want(this.#words, slot * rowWords);
      let place = this.#home();
      while (this.#places[place] !== 0) place = this.#next(place);
      this.#places[place] = slot + 1;
    }
  }

  /** The place of the wanted key, or the free one where it belongs. */
  #search(): number {
    for (let place = this.#home(); ; place = this.#next(place)) {
      const slot = (this.#places[place] ?? 0) - 1;
      if (slot < 0 || this.#isWanted(slot)) return place;
    }
  }

  #isWanted(slot: number): boolean {
    const [word, words] = [slot * rowWords, this.#words];
    for (let n = kindAt - 1; n >= 0; n--) if (words[word + n] !== wanted[n]) return false;
    return ((words[word + kindAt] ?? 0) & ~stateMask) === wanted[kindAt];
  }

  /** Empties a place, and moves up whoever would not be found past it. */
  #vacate(place: number): void {
    let hole = place;
    for (let at = this.#next(hole); this.#places[at] !== 0; at = this.#next(at)) {
      want(this.#words, ((this.#places[at] ?? 0) - 1) * rowWords);
      const home = this.#home();
      const passesHole = hole <= at ? home <= hole || home > at : home <= hole && home > at;
      if (!passesHole) continue;
      this.#places[hole] = this.#places[at] ?? 0;
      hole = at;
    }
    this.#places[hole] = 0;
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

/** Makes the key that lies there the wanted one. */
function want(words: Uint32Array, at: number): void {
  for (let n = 0; n < kindAt; n++) wanted[n] = words[at + n] ?? 0;
  wanted[kindAt] = (words[at + kindAt] ?? 0) & ~stateMask;
}

function grown(capacity: number): number {
  return Math.ceil(capacity * (capacity < smallCapacity ? smallGrowth : growth));
}

function placesFor(capacity: number): number {
  return Math.ceil(capacity * placesPerSlot);
}
