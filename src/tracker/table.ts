/**
 * The flows of one shard, as of one message of the event stream.
 *
 * Owns every rule of what a message changes. No clock, no chance, no I/O: two tables that applied the same messages are
 * equal. Invariants: a message is applied once; a flow is here exactly while its owner's last word of it says that it
 * lives; a flow that its owner's snapshot leaves out has ended, unless it belongs to another shard by the address's layout:
 * then it stays until its owner releases the shard from it, and leaves without an end (SPEC K4); messages that are missing make
 * their sender `broken`, and the shard incomplete, until a snapshot of all of the sender's flows has replaced what is known.
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowEvent, FlowEventBatch } from "../flow/events.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import { keyWords, writeKeyWords, writeLong } from "../flow/flow-words.ts";
import { isSameDigest } from "../flow/key-digest.ts";
import type { PackedRows } from "../flow/packed-rows.ts";
import { type AddressPlace, belongsTo, type Place as ShardPlace } from "../placement/layout.ts";
import { AddressFlows } from "./address-flows.ts";
import { FlowChanges } from "./flow-changes.ts";
import type { FlowQuery, OwnedFlows, OwnedSlab, OwnerCount } from "./owner-index.ts";
import { retireAllBoots, retireOtherBoots, type Sender, trackSequence } from "./sender.ts";
import { Senders } from "./senders.ts";
import { ShardFlows } from "./shard-flows.ts";
import { ShardPlaces } from "./shard-places.ts";
import type { Tombstone } from "./tombstones.ts";

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

const dropped: Applied = { kind: "dropped" };
/** The stream sequence at which the snapshot that ends has begun. One at a time: nobody waits. */
const begun = new Uint32Array(2);
/** The key that is looked for, likewise. */
const soughtKey = new Uint32Array(keyWords);

export class ShardTable {
  readonly #flows = new ShardFlows();
  readonly #senders = new Senders();
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
    return this.#flows.index.size;
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
    this.#flows.tombstones.expire(sequence);
    return applied;
  }

  #applyNext(sequence: bigint, batch: FlowEventBatch<PackedRows>): Applied {
    const { body } = batch;
    const changes = new FlowChanges();
    this.#flows.begin(sequence);
    const via = (address: IpAddress, owner: string): string | undefined => this.#senders.via(address, owner);
    if (body.kind === "address-owned" || body.kind === "instance-gone") {
      this.#applyOrder(body, changes);
      return { kind: "applied", changes: changes.seal(via) };
    }
    const sender = this.#senders.of(batch.instance);
    const verdict = trackSequence(sender, batch.boot, batch.sequence);
    if (verdict === "drop") return dropped;
    const gap = verdict === "gap" ? `messages before ${batch.sequence} of boot ${batch.boot} are missing` : undefined;
    if (gap !== undefined) this.#senders.mark(sender, true);
    const resync = this.#applyEvent(sender, batch, changes) ?? gap;
    if (resync !== undefined) this.#senders.mark(sender, true);
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
    return new AddressFlows(this.#flows.index.slabsAt(address), this.#senders.viasAt(address));
  }

  /** Of a flow that is not live here. */
  ended(key: FlowKey): Exclude<Found, { kind: "owned" }> {
    if (this.#places.hasElsewhere(key)) return { kind: "elsewhere" };
    const tombstone = this.#flows.tombstones.get(key);
    return tombstone === undefined ? { kind: "absent" } : { kind: "closed", owner: tombstone.owner };
  }

  /** As of now, whatever is applied while they are read. Undefined: others were passed over for a while. */
  flowsOf(query: FlowQuery): Generator<Flow | undefined> {
    const found = this.#flows.index.matching(query).map(({ owner, ...flows }) => {
      return { ...flows, via: this.#senders.via(query.address, owner) };
    });
    return seenFlows(found);
  }

  counts(address?: IpAddress): OwnerCount[] {
    return this.#flows.index.counts(address);
  }

  /** Of the flows in the slots that are wanted: all of them are read for it. */
  countsIn(address: IpAddress, isWanted: (slot: number) => boolean): OwnerCount[] {
    return this.#flows.index.countsIn(address, isWanted);
  }

  /** Which flows of the address belong here, by the newest layout that anybody has named; undefined: all, by the default. */
  placeOf(address: IpAddress): ShardPlace | undefined {
    return this.#places.of(address);
  }

  places(): Iterable<AddressPlace> {
    return this.#places.all();
  }

  senders(): Iterable<Sender> {
    return this.#senders.all();
  }

  /** Senders whose messages are missing: what is known of their flows may be wrong. */
  brokenSenders(): readonly string[] {
    return [...this.#senders.broken()];
  }

  /** No sender is broken. */
  get whole(): boolean {
    return this.#senders.broken().size === 0;
  }

  /** Nothing that this instance said is known any more: it has to send a snapshot. */
  awaitSnapshotOf(instance: string): void {
    this.#senders.mark(this.#senders.of(instance), true);
  }

  /** Of all addresses, until the next change. */
  slabs(): Iterable<OwnedSlab> {
    return this.#flows.index.slabs();
  }

  /** In the order in which they ended, until the next change. */
  tombstones(): Iterable<Tombstone> {
    return this.#flows.tombstones.all();
  }

  /** Takes the row of a live flow, each once; {@link restored} ends it. */
  restoreFlow(owner: string, address: IpAddress, words: Uint32Array, at: number): void {
    this.#flows.index.fill(owner, address, words, at);
  }

  /** Before anything is asked or applied. */
  restored(): void {
    this.#flows.index.index();
  }

  /** In the order of `closedAt`. */
  restoreTombstone(tombstone: Tombstone): void {
    this.#flows.tombstones.put(tombstone);
  }

  restoreSender(sender: Sender): void {
    this.#senders.restore(sender);
  }

  restorePlace(place: AddressPlace): void {
    this.#places.take(place);
  }

  /** Returns why the sender has to be asked for a snapshot. */
  #applyEvent(sender: Sender, { boot, body }: FlowEventBatch<PackedRows>, changes: FlowChanges): string | undefined {
    switch (body.kind) {
      case "changes":
        for (let row = 0; row < body.rows.length; row++) this.#flows.applyRow(sender.instance, body.rows, row, changes);
        return undefined;
      case "snapshot-begin":
        return this.#beginSnapshot(sender, boot, body);
      case "snapshot-page":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        sender.snapshot.flows += body.rows.length;
        for (let row = 0; row < body.rows.length; row++)
          this.#flows.confirmRow(sender.instance, body.rows, row, changes);
        return undefined;
      case "snapshot-end":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        return this.#endSnapshot(sender, body.flows, changes);
      case "digest":
        return this.#compare(sender, body);
      case "forwarding":
        this.#senders.setForwards(sender, body.forwards);
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
      const others = this.#flows.index.owners(order.address).filter((owner) => owner !== order.instance);
      for (const owner of others)
        for (const place of this.#flows.index.placesOf(owner, [order.address]))
          if (place.slab.factsAt(place.slot).generation <= order.generation) this.#flows.closeAt(place, changes);
      return;
    }
    for (const place of this.#flows.index.placesOf(order.instance)) this.#flows.closeAt(place, changes);
    const sender = this.#senders.known(order.instance);
    if (sender === undefined) return;
    retireAllBoots(sender);
    this.#senders.setForwards(sender, []);
    this.#senders.mark(sender, false);
  }

  #beginSnapshot(sender: Sender, boot: string, begin: FlowEvent & { kind: "snapshot-begin" }): string | undefined {
    const restarted = retireOtherBoots(sender, boot);
    const scope = new Set(begin.addresses);
    if (restarted && scope.size === 0) this.#senders.setForwards(sender, []);
    const { snapshot: id, addresses, places } = begin;
    for (const place of places) this.#places.take(place);
    sender.snapshot = { id, boot, begunAt: this.#sequence, addresses, places, flows: 0 };
    const unverified =
      restarted && scope.size > 0 && this.#flows.index.addressesOf(sender.instance).some((it) => !scope.has(it));
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
    for (const address of all ? this.#flows.index.addressesOf(sender.instance) : snapshot.addresses) {
      // Undefined: the sender has nothing of the address.
      const place = told.get(address);
      if (place !== undefined && place.bucket === undefined) continue;
      for (const found of this.#flows.index.placesOf(sender.instance, [address])) {
        const { slab, slot } = found;
        if (slab.isChangedSince(slot, high, low)) continue;
        if (place === undefined || belongsTo(place, slab.keySlotAt(slot))) this.#flows.closeAt(found, changes);
      }
    }
    if (all) this.#senders.mark(sender, false);
    return undefined;
  }

  #takePlace(owner: string, place: AddressPlace, released: boolean): void {
    this.#places.take(place);
    // Somebody who goes by an older layout than others knows nothing of what belongs elsewhere by his.
    if (!released || !this.#places.isNewest(place)) return;
    this.#flows.index.retain(owner, place.address, (slot) => belongsTo(place, slot));
  }

  /** Pointless while messages are known to be missing. */
  #compare(sender: Sender, digest: FlowEvent & { kind: "digest" }): string | undefined {
    if (sender.broken) return undefined;
    const own = this.#flows.index.digestOf(sender.instance);
    if (isSameDigest(own, digest)) return undefined;
    return `it has ${digest.flows} flows of the digest ${digest.keyXor.toString(16)}, and here are ${own.flows} of ${own.keyXor.toString(16)}`;
  }
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
