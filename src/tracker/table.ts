/**
 * The flows of one shard, as of one message of the event stream.
 *
 * Owns every rule of what a message changes. No clock, no chance, no I/O: two tables that applied the same messages are
 * equal. Invariants: a message is applied once; a flow is here exactly while its owner's last word of it says that it
 * lives; messages that are missing make their sender `broken`, and the shard incomplete, until a snapshot of all of the
 * sender's flows has replaced what is known.
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowEvent, FlowEventBatch, FlowRow, Forward } from "../flow/events.ts";
import type { Flow, FlowKey, FlowState, LiveFlow, LiveFlowState } from "../flow/flow.ts";
import { isSameDigest } from "../flow/key-digest.ts";
import { keyWords, writeKeyWords } from "../flow/key-words.ts";
import { DirtySet } from "./dirty.ts";
import type { FlowFacts } from "./flow-slab.ts";
import { Forwarders } from "./forwarders.ts";
import {
  type FlowQuery,
  type FlowRecord,
  type OwnerCount,
  OwnerIndex,
  type OwnersOfAddress,
  type Place,
  placeOf,
} from "./owner-index.ts";
import { newSender, retireAllBoots, retireOtherBoots, type Sender, trackSequence } from "./sender.ts";
import { type Tombstone, Tombstones } from "./tombstones.ts";

export type Applied =
  | { readonly kind: "applied"; readonly changes: readonly Flow[]; readonly resync?: string }
  /** The stream gave it before, the sender did, or the sender's later boot has replaced it. */
  | { readonly kind: "dropped" };

export type Found =
  | { readonly kind: "owned"; readonly flow: Flow }
  | { readonly kind: "closed"; readonly owner: string }
  | { readonly kind: "absent" };

/** A live flow where it lies. */
export interface FoundPlace extends Place {
  readonly via: string | undefined;
}

const dropped: Applied = { kind: "dropped" };
/** The key that is looked for. One at a time: nobody waits within a look-up. */
const soughtKey = new Uint32Array(keyWords);

export class AddressFlows {
  readonly #address: IpAddress;
  readonly #owners: OwnersOfAddress;
  readonly #forwarders: Forwarders;

  constructor(address: IpAddress, owners: OwnersOfAddress, forwarders: Forwarders) {
    this.#address = address;
    this.#owners = owners;
    this.#forwarders = forwarders;
  }

  /** The key without its address, as words. Undefined: no such flow is live. */
  find(words: Uint32Array, at = 0): FoundPlace | undefined {
    const place = placeOf(this.#owners, words, at);
    if (place === undefined) return undefined;
    const { owner, slab, slot } = place;
    return { owner, slab, slot, via: this.#forwarders.via(this.#address, owner) };
  }
}

export class ShardTable {
  readonly dirty = new DirtySet();
  readonly #flows = new OwnerIndex();
  readonly #tombstones = new Tombstones();
  readonly #forwarders = new Forwarders();
  readonly #senders = new Map<string, Sender>();
  readonly #broken = new Set<string>();
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

  apply(sequence: bigint, batch: FlowEventBatch): Applied {
    if (sequence <= this.#sequence) return dropped;
    this.#sequence = sequence;
    for (const expired of this.#tombstones.expire(sequence)) this.dirty.tombstone(expired.key);
    const changes: Flow[] = [];
    if (batch.body.kind === "address-owned" || batch.body.kind === "instance-gone") {
      this.#applyOrder(batch.body, changes);
      return { kind: "applied", changes };
    }
    const sender = this.#sender(batch.instance);
    const verdict = trackSequence(sender, batch.boot, batch.sequence);
    if (verdict === "drop") return dropped;
    this.dirty.sender(batch.instance);
    const gap = verdict === "gap" ? `messages before ${batch.sequence} of boot ${batch.boot} are missing` : undefined;
    if (gap !== undefined) this.#mark(sender, true);
    const resync = this.#applyEvent(sender, batch, changes) ?? gap;
    if (resync !== undefined) this.#mark(sender, true);
    const seen = changes.map((flow) => this.#forwarders.show(flow));
    return resync === undefined ? { kind: "applied", changes: seen } : { kind: "applied", changes: seen, resync };
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
    return new AddressFlows(address, this.#flows.at(address), this.#forwarders);
  }

  /** Of a flow that is not live. */
  ended(key: FlowKey): Exclude<Found, { kind: "owned" }> {
    const tombstone = this.#tombstones.get(key);
    return tombstone === undefined ? { kind: "absent" } : { kind: "closed", owner: tombstone.owner };
  }

  /** As of now, whatever is applied while they are read. */
  flowsOf(query: FlowQuery): Generator<Flow> {
    const found = this.#flows.matching(query).map(({ owner, flows }) => {
      return { flows, via: this.#forwarders.via(query.address, owner) };
    });
    return seenFlows(found);
  }

  counts(address?: IpAddress): OwnerCount[] {
    return this.#flows.counts(address);
  }

  senders(): string[] {
    return [...this.#senders.keys()];
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

  facts(owner: string, key: FlowKey): FlowFacts | undefined {
    return this.#flows.get(owner, key);
  }

  tombstone(key: FlowKey): Tombstone | undefined {
    return this.#tombstones.get(key);
  }

  sender(instance: string): Sender | undefined {
    return this.#senders.get(instance);
  }

  restoreRecord({ flow, changedAt }: FlowRecord): void {
    this.#flows.put(flow, changedAt);
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

  /** Returns why the sender has to be asked for a snapshot. */
  #applyEvent(sender: Sender, { boot, body }: FlowEventBatch, changes: Flow[]): string | undefined {
    switch (body.kind) {
      case "changes":
        for (const row of body.rows) this.#applyRow(sender.instance, row, changes);
        return undefined;
      case "snapshot-begin":
        return this.#beginSnapshot(sender, boot, body);
      case "snapshot-page":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        sender.snapshot.flows += body.rows.length;
        for (const row of body.rows) this.#confirmRow(sender.instance, row, changes);
        return undefined;
      case "snapshot-end":
        if (sender.snapshot?.id !== body.snapshot || sender.snapshot.boot !== boot) return undefined;
        return this.#endSnapshot(sender, body.flows, changes);
      case "digest":
        return this.#compare(sender, body);
      case "forwarding":
        this.#setForwards(sender, body.forwards);
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

  #applyOrder(order: FlowEvent & { kind: "address-owned" | "instance-gone" }, changes: Flow[]): void {
    if (order.kind === "address-owned") {
      const others = this.#flows.owners(order.address).filter((owner) => owner !== order.instance);
      for (const owner of others)
        for (const record of this.#flows.recordsOf(owner, [order.address]))
          if (record.flow.generation <= order.generation) this.#close(record.flow, changes);
      return;
    }
    for (const record of this.#flows.recordsOf(order.instance)) this.#close(record.flow, changes);
    const sender = this.#senders.get(order.instance);
    if (sender === undefined) return;
    retireAllBoots(sender);
    this.#setForwards(sender, []);
    this.#mark(sender, false);
  }

  #applyRow(owner: string, row: FlowRow, changes: Flow[]): void {
    if (isLive(row)) {
      changes.push(this.#put(owner, row));
      return;
    }
    const known = this.#flows.get(owner, row.key);
    this.#close(
      { ...toFlow(owner, row), ...(known && { openedAtMs: known.openedAtMs, generation: known.generation }) },
      changes,
    );
  }

  /** A row of a snapshot changes nothing for those who watch when it says what was known. */
  #confirmRow(owner: string, row: FlowRow, changes: Flow[]): void {
    if (!isLive(row)) return;
    const before = this.#flows.get(owner, row.key);
    const flow = this.#put(owner, row);
    const same =
      before?.state === flow.state && before.openedAtMs === flow.openedAtMs && before.generation === flow.generation;
    if (!same) changes.push(flow);
  }

  #beginSnapshot(sender: Sender, boot: string, begin: FlowEvent & { kind: "snapshot-begin" }): string | undefined {
    const restarted = retireOtherBoots(sender, boot);
    const scope = new Set(begin.addresses);
    if (restarted && scope.size === 0) this.#setForwards(sender, []);
    sender.snapshot = { id: begin.snapshot, boot, begunAt: this.#sequence, addresses: begin.addresses, flows: 0 };
    const unverified =
      restarted && scope.size > 0 && this.#flows.addressesOf(sender.instance).some((it) => !scope.has(it));
    return unverified ? `boot ${boot} is new, and its first snapshot leaves out addresses that have flows` : undefined;
  }

  #endSnapshot(sender: Sender, flows: number, changes: Flow[]): string | undefined {
    const snapshot = sender.snapshot;
    delete sender.snapshot;
    if (snapshot === undefined) return undefined;
    if (snapshot.flows !== flows) return `snapshot ${snapshot.id} has ${snapshot.flows} flows instead of ${flows}`;
    const all = snapshot.addresses.length === 0;
    for (const record of this.#flows.recordsOf(sender.instance, all ? undefined : snapshot.addresses))
      if (record.changedAt < snapshot.begunAt) this.#close(record.flow, changes);
    if (all) this.#mark(sender, false);
    return undefined;
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
    this.dirty.sender(sender.instance);
  }

  #put(owner: string, row: FlowRow & { readonly state: LiveFlowState }): LiveFlow {
    const flow = toFlow(owner, row);
    this.#flows.put(flow, this.#sequence);
    this.dirty.flow(flow);
    if (this.#tombstones.delete(row.key)) this.dirty.tombstone(row.key);
    return flow;
  }

  #close(flow: Flow, changes: Flow[]): void {
    if (this.#flows.delete(flow.owner, flow.key)) this.dirty.flow(flow);
    this.#tombstones.put({ key: flow.key, owner: flow.owner, closedAt: this.#sequence });
    this.dirty.tombstone(flow.key);
    changes.push({ ...flow, state: "closed" });
  }

  #mark(sender: Sender, broken: boolean): void {
    sender.broken = broken;
    if (broken) this.#broken.add(sender.instance);
    else this.#broken.delete(sender.instance);
    this.dirty.sender(sender.instance);
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

function toFlow<State extends FlowState>(
  owner: string,
  { key, state, openedAtMs, generation }: FlowRow & { readonly state: State },
): Flow & { readonly state: State } {
  return { key, owner, state, openedAtMs, generation };
}

function isLive(row: FlowRow): row is FlowRow & { readonly state: LiveFlowState } {
  return row.state !== "closed";
}

function* seenFlows(
  found: readonly { readonly flows: Iterable<Flow>; readonly via: string | undefined }[],
): Generator<Flow> {
  for (const { flows, via } of found) for (const flow of flows) yield via === undefined ? flow : { ...flow, via };
}
