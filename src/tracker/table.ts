/**
 * The flows of one shard, as of one message of the event stream.
 *
 * Owns every rule of what a message changes. No clock, no chance, no I/O: two tables that applied the same messages are
 * equal. Invariants: a message is applied once; a flow is here exactly while its owner's last word of it says that it
 * lives; a flow that its owner's snapshot leaves out has ended, unless it belongs to another shard by the address's layout:
 * then it stays until its owner releases the shard from it, and leaves without an end (SPEC K4); messages that are missing make their sender `broken`, and the shard incomplete, until a snapshot of all of the
 * sender's flows has replaced what is known.
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowEvent, FlowEventBatch, Forward } from "../flow/events.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import {
  changedAtAt,
  keyFromWords,
  keyWords,
  kindAt,
  kindOf,
  rowWords,
  stateAt,
  writeKeyWords,
  writeLong,
} from "../flow/flow-words.ts";
import { isSameDigest } from "../flow/key-digest.ts";
import type { PackedRows } from "../flow/packed-rows.ts";
import { type AddressPlace, belongsTo, type Place as ShardPlace } from "../placement/layout.ts";
import { FlowChanges } from "./flow-changes.ts";
import type { FlowFacts, FlowSlab } from "./flow-slab.ts";
import { Forwarders } from "./forwarders.ts";
import {
  type FlowQuery,
  type OwnedFlows,
  type OwnedSlab,
  type OwnerCount,
  OwnerIndex,
  type Place,
} from "./owner-index.ts";
import { newSender, retireAllBoots, retireOtherBoots, type Sender, trackSequence } from "./sender.ts";
import { ShardPlaces } from "./shard-places.ts";
import { type Tombstone, Tombstones } from "./tombstones.ts";

export type Applied =
  | { readonly kind: "applied"; readonly changes: FlowChanges; readonly resync?: string }
  /** The stream gave it before, the sender did, or the sender's later boot has replaced it. */
  | { readonly kind: "dropped" };

export type Found =
  | { readonly kind: "owned"; readonly flow: Flow }
  | { readonly kind: "closed"; readonly owner: string }
  | { readonly kind: "absent" }
  /** It belongs to another bucket of its address. */
  | { readonly kind: "elsewhere" };

/** A live flow where it lies. */
export interface FoundPlace extends Place {
  readonly via: string | undefined;
}

const dropped: Applied = { kind: "dropped" };
/** The flow that ends, and in its last words the sequence of the message that is applied. One at a time: nobody waits. */
const closing = new Uint32Array(rowWords);
/** The stream sequence at which the snapshot that ends has begun, likewise. */
const begun = new Uint32Array(2);
/** The key that is looked for, likewise. */
const soughtKey = new Uint32Array(keyWords);

export class AddressFlows {
  readonly #owners: readonly OwnedSlab[];
  readonly #vias: ReadonlyMap<string, string> | undefined;

  constructor(owners: readonly OwnedSlab[], vias: ReadonlyMap<string, string> | undefined) {
    this.#owners = owners;
    this.#vias = vias;
  }

  /**
   * The flow whose key without its address lies there as words; undefined: no such flow is live. Two owners may claim one
   * key: an old flow that died in silence, and a new one of the same peer and port at the address's new owner. The younger
   * generation is the one that lives, then what was told of last.
   */
  find(words: Uint32Array, at = 0): FoundPlace | undefined {
    let best: FoundPlace | undefined;
    for (const { owner, slab } of this.#owners) {
      const slot = slab.slotOf(words, at);
      if (slot === undefined) continue;
      if (best === undefined || isYounger(slab.factsAt(slot), best.slab.factsAt(best.slot)))
        best = { owner, slab, slot, via: this.#vias?.get(owner) };
    }
    return best;
  }
}

function isYounger(one: FlowFacts, other: FlowFacts): boolean {
  if (one.generation !== other.generation) return one.generation > other.generation;
  return one.changedAt > other.changedAt;
}

export class ShardTable {
  readonly #flows = new OwnerIndex();
  readonly #tombstones = new Tombstones();
  readonly #forwarders = new Forwarders();
  readonly #senders = new Map<string, Sender>();
  readonly #broken = new Set<string>();
  readonly #places = new ShardPlaces();
  #sequence: bigint;

  constructor(sequence = 0n) {
    this.#sequence = sequence;
  }

  /** Of the last message applied; 0: none. */
  get sequence(): bigint {
    return this.#sequence;
  }

  get size(): number {
    return this.#flows.size;
  }

  /** Moves on over a message that could not be read. */
  skip(sequence: bigint): void {
    if (sequence > this.#sequence) this.#sequence = sequence;
  }

  apply(sequence: bigint, batch: FlowEventBatch<PackedRows>): Applied {
    if (sequence <= this.#sequence) return dropped;
    this.#sequence = sequence;
    const applied = this.#applyNext(sequence, batch);
    // Afterwards: one message may end all flows of an instance.
    this.#tombstones.expire(sequence);
    return applied;
  }

  #applyNext(sequence: bigint, batch: FlowEventBatch<PackedRows>): Applied {
    const { body } = batch;
    const changes = new FlowChanges();
    writeLong(closing, changedAtAt, sequence);
    const via = (address: IpAddress, owner: string): string | undefined => this.#forwarders.via(address, owner);
    if (body.kind === "address-owned" || body.kind === "instance-gone") {
      this.#applyOrder(body, changes);
      return { kind: "applied", changes: changes.seal(via) };
    }
    const sender = this.#sender(batch.instance);
    const verdict = trackSequence(sender, batch.boot, batch.sequence);
    if (verdict === "drop") return dropped;
    const gap = verdict === "gap" ? `messages before ${batch.sequence} of boot ${batch.boot} are missing` : undefined;
    if (gap !== undefined) this.#mark(sender, true);
    const resync = this.#applyEvent(sender, batch, changes) ?? gap;
    if (resync !== undefined) this.#mark(sender, true);
    changes.seal(via);
    return resync === undefined ? { kind: "applied", changes } : { kind: "applied", changes, resync };
  }

  find(key: FlowKey): Found {
    writeKeyWords(key, soughtKey);
    const place = this.at(key.address).find(soughtKey);
    if (place === undefined) return this.ended(key);
    const { owner, via, slab, slot } = place;
    const { state, openedAtMs, generation } = slab.factsAt(slot);
    const flow = { key, owner, state, openedAtMs, generation };
    return { kind: "owned", flow: via === undefined ? flow : { ...flow, via } };
  }

  /** For many look-ups of flows at one address, as of now: until the next change. */
  at(address: IpAddress): AddressFlows {
    return new AddressFlows(this.#flows.slabsAt(address), this.#forwarders.at(address));
  }

  /** Of a flow that is not live here. */
  ended(key: FlowKey): Exclude<Found, { kind: "owned" }> {
    if (this.#places.hasElsewhere(key)) return { kind: "elsewhere" };
    const tombstone = this.#tombstones.get(key);
    return tombstone === undefined ? { kind: "absent" } : { kind: "closed", owner: tombstone.owner };
  }

  /** As of now, whatever is applied while they are read. Undefined: others were passed over for a while. */
  flowsOf(query: FlowQuery): Generator<Flow | undefined> {
    const found = this.#flows.matching(query).map(({ owner, ...flows }) => {
      return { ...flows, via: this.#forwarders.via(query.address, owner) };
    });
    return seenFlows(found);
  }

  counts(address?: IpAddress): OwnerCount[] {
    return this.#flows.counts(address);
  }

  /** Of the flows in the slots that are wanted: all of them are read for it. */
  countsIn(address: IpAddress, isWanted: (slot: number) => boolean): OwnerCount[] {
    return this.#flows.countsIn(address, isWanted);
  }

  /** Which flows of the address belong here, by the newest layout that anybody has named; undefined: all, by the default. */
  placeOf(address: IpAddress): ShardPlace | undefined {
    return this.#places.of(address);
  }

  places(): Iterable<AddressPlace> {
    return this.#places.all();
  }

  senders(): Iterable<Sender> {
    return this.#senders.values();
  }

  /** Senders whose messages are missing: what is known of their flows may be wrong. */
  brokenSenders(): readonly string[] {
    return [...this.#broken];
  }

  /** No sender is broken. */
  get whole(): boolean {
    return this.#broken.size === 0;
  }

  /** Nothing that this instance said is known any more: it has to send a snapshot. */
  awaitSnapshotOf(instance: string): void {
    this.#mark(this.#sender(instance), true);
  }

  /** Of all addresses, until the next change. */
  slabs(): Iterable<OwnedSlab> {
    return this.#flows.slabs();
  }

  /** In the order in which they ended, until the next change. */
  tombstones(): Iterable<Tombstone> {
    return this.#tombstones.all();
  }

  /** Takes the row of a live flow, each once; {@link restored} ends it. */
  restoreFlow(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    this.#flows.fill(owner, address, words, at);
  }

  /** Before anything is asked or applied. */
  restored(): void {
    this.#flows.index();
  }

  /** In the order of `closedAt`. */
  restoreTombstone(tombstone: Tombstone): void {
    this.#tombstones.put(tombstone);
  }

  restoreSender(sender: Sender): void {
    this.#senders.set(sender.instance, sender);
    if (sender.broken) this.#broken.add(sender.instance);
    this.#forwarders.set(sender.instance, sender.forwards ?? []);
  }

  restorePlace(place: AddressPlace): void {
    this.#places.take(place);
  }

  /** Returns why the sender has to be asked for a snapshot. */
  #applyEvent(sender: Sender, { boot, body }: FlowEventBatch<PackedRows>, changes: FlowChanges): string | undefined {
    switch (body.kind) {
      case "changes":
        for (let row = 0; row < body.rows.length; row++) this.#applyRow(sender.instance, body.rows, row, changes);
        return undefined;
      case "snapshot-begin":
        return this.#beginSnapshot(sender, boot, body);
      case "snapshot-page":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        sender.snapshot.flows += body.rows.length;
        for (let row = 0; row < body.rows.length; row++) this.#confirmRow(sender.instance, body.rows, row, changes);
        return undefined;
      case "snapshot-end":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        return this.#endSnapshot(sender, body.flows, changes);
      case "digest":
        return this.#compare(sender, body);
      case "forwarding":
        this.#setForwards(sender, body.forwards);
        return undefined;
      case "places":
        for (const place of body.places) this.#takePlace(sender.instance, place, body.released);
        return undefined;
      case "barrier":
      case "tick":
        // Their position is all that they change.
        return undefined;
      case "address-owned":
      case "instance-gone":
        throw new Error(`${body.kind} has no sender`);
    }
  }

  #applyOrder(order: FlowEvent & { kind: "address-owned" | "instance-gone" }, changes: FlowChanges): void {
    if (order.kind === "address-owned") {
      const others = this.#flows.owners(order.address).filter((owner) => owner !== order.instance);
      for (const owner of others)
        for (const place of this.#flows.placesOf(owner, [order.address]))
          if (place.slab.factsAt(place.slot).generation <= order.generation) this.#closeAt(place, changes);
      return;
    }
    for (const place of this.#flows.placesOf(order.instance)) this.#closeAt(place, changes);
    const sender = this.#senders.get(order.instance);
    if (sender === undefined) return;
    retireAllBoots(sender);
    this.#setForwards(sender, []);
    this.#mark(sender, false);
  }

  #applyRow(owner: string, rows: PackedRows, row: number, changes: FlowChanges): void {
    const [{ words }, address, at] = [rows, rows.addressOf(row), rowWords * row];
    if (stateAt(words, at) !== "closed") {
      this.#put(owner, address, words, at);
      changes.share(address, owner, words, at);
      return;
    }
    const slab = this.#flows.slab(owner, address);
    const slot = slab?.slotOf(words, at);
    if (slab !== undefined && slot !== undefined) {
      this.#closeAt({ owner, slab, slot }, changes);
      return;
    }
    for (let word = 0; word < changedAtAt; word++) closing[word] = words[at + word] ?? 0;
    this.#close(owner, address, changes);
  }

  /** A row of a snapshot changes nothing for those who watch when it says what was known. */
  #confirmRow(owner: string, rows: PackedRows, row: number, changes: FlowChanges): void {
    const [{ words }, address, at] = [rows, rows.addressOf(row), rowWords * row];
    if (stateAt(words, at) === "closed") return;
    const slab = this.#flows.slab(owner, address);
    const slot = slab?.slotOf(words, at);
    const isKnown = slab !== undefined && slot !== undefined && saysTheSame(slab, slot, words, at);
    this.#put(owner, address, words, at);
    if (!isKnown) changes.add(address, owner, words, at);
  }

  #beginSnapshot(sender: Sender, boot: string, begin: FlowEvent & { kind: "snapshot-begin" }): string | undefined {
    const restarted = retireOtherBoots(sender, boot);
    const scope = new Set(begin.addresses);
    if (restarted && scope.size === 0) this.#setForwards(sender, []);
    const { snapshot: id, addresses, places } = begin;
    for (const place of places) this.#places.take(place);
    sender.snapshot = { id, boot, begunAt: this.#sequence, addresses, places, flows: 0 };
    const unverified =
      restarted && scope.size > 0 && this.#flows.addressesOf(sender.instance).some((it) => !scope.has(it));
    return unverified ? `boot ${boot} is new, and its first snapshot leaves out addresses that have flows` : undefined;
  }

  #endSnapshot(sender: Sender, flows: number, changes: FlowChanges): string | undefined {
    const snapshot = sender.snapshot;
    delete sender.snapshot;
    if (snapshot === undefined) return undefined;
    if (snapshot.flows !== flows) return `snapshot ${snapshot.id} has ${snapshot.flows} flows instead of ${flows}`;
    const all = snapshot.addresses.length === 0;
    const told = new Map(snapshot.places.map((place) => [place.address, place]));
    writeLong(begun, 0, snapshot.begunAt);
    const [high = 0, low = 0] = begun;
    for (const address of all ? this.#flows.addressesOf(sender.instance) : snapshot.addresses) {
      // Undefined: the sender has nothing of the address.
      const place = told.get(address);
      if (place !== undefined && place.bucket === undefined) continue;
      for (const found of this.#flows.placesOf(sender.instance, [address])) {
        const { slab, slot } = found;
        if (slab.isChangedSince(slot, high, low)) continue;
        if (place === undefined || belongsTo(place, slab.keySlotAt(slot))) this.#closeAt(found, changes);
      }
    }
    if (all) this.#mark(sender, false);
    return undefined;
  }

  #takePlace(owner: string, place: AddressPlace, released: boolean): void {
    this.#places.take(place);
    // Somebody who goes by an older layout than others knows nothing of what belongs elsewhere by his.
    if (!released || !this.#places.isNewest(place)) return;
    this.#flows.retain(owner, place.address, (slot) => belongsTo(place, slot));
  }

  /** Pointless while messages are known to be missing. */
  #compare(sender: Sender, digest: FlowEvent & { kind: "digest" }): string | undefined {
    if (sender.broken) return undefined;
    const own = this.#flows.digestOf(sender.instance);
    if (isSameDigest(own, digest)) return undefined;
    return `it has ${digest.flows} flows of the digest ${digest.keyXor.toString(16)}, and here are ${own.flows} of ${own.keyXor.toString(16)}`;
  }

  #setForwards(sender: Sender, forwards: readonly Forward[]): void {
    sender.forwards = forwards;
    this.#forwarders.set(sender.instance, forwards);
  }

  /** Takes the row of a live flow, and writes into it that this message told of it. */
  #put(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    words[at + changedAtAt] = closing[changedAtAt] ?? 0;
    words[at + changedAtAt + 1] = closing[changedAtAt + 1] ?? 0;
    this.#flows.put(owner, address, words, at);
    if (this.#tombstones.size > 0) this.#tombstones.delete(keyFromWords(address, words, at));
  }

  /** A flow that is here. */
  #closeAt({ owner, slab, slot }: Place, changes: FlowChanges): void {
    for (let word = 0; word < changedAtAt; word++) closing[word] = slab.wordAt(slot, word);
    this.#close(owner, slab.address, changes);
  }

  /** The flow whose row is {@link closing}. */
  #close(owner: string, address: IpAddress, changes: FlowChanges): void {
    this.#flows.delete(owner, address, closing, 0);
    const key = keyFromWords(address, closing);
    this.#tombstones.put({ key, owner, closedAt: this.#sequence });
    closing[kindAt] = kindOf(key.protocol, "closed");
    changes.add(address, owner, closing, 0);
  }

  #mark(sender: Sender, broken: boolean): void {
    sender.broken = broken;
    if (broken) this.#broken.add(sender.instance);
    else this.#broken.delete(sender.instance);
  }

  #sender(instance: string): Sender {
    let sender = this.#senders.get(instance);
    if (sender === undefined) {
      sender = newSender(instance);
      this.#senders.set(instance, sender);
    }
    return sender;
  }
}

/** What is known of a flow, but for who told of it last. */
function saysTheSame(slab: FlowSlab, slot: number, words: Uint32Array, at: number): boolean {
  for (let word = kindAt; word < changedAtAt; word++) if (slab.wordAt(slot, word) !== words[at + word]) return false;
  return true;
}

type SeenFlows = Omit<OwnedFlows, "owner"> & { readonly via: string | undefined };

function* seenFlows(found: readonly SeenFlows[]): Generator<Flow | undefined> {
  try {
    for (const { flows, via } of found)
      for (const flow of flows) yield via === undefined || flow === undefined ? flow : { ...flow, via };
  } finally {
    // Also those that were not begun: a reader may have had enough before.
    for (const { close } of found) close();
  }
}
