/**
 * What shards hold, in a simulated cluster: instances tell of flows over a stream that loses some of what it has taken, and
 * members apply it to the real tables. A new copy is a snapshot of another one and the stream from there on; where no other
 * lives it is built anew from what the instances tell when asked.
 *
 * Beside it all a plain map is told of every flow directly: the oracle. Addresses get other numbers of buckets meanwhile,
 * instances start again, and questions are asked.
 */
import type { IpAddress } from "../../../src/flow/address.ts";
import type { FlowEventBatch } from "../../../src/flow/events.ts";
import { type FlowKey, flowKeyText } from "../../../src/flow/flow.ts";
import { holdersOf } from "../../../src/placement/assignment.ts";
import { layoutOf, shardOfKey } from "../../../src/placement/layout.ts";
import { PageReader, pagesOf } from "../../../src/tracker/checkpoint.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { packed } from "../../support/packed.ts";
import type { Random } from "../random.ts";
import { BucketChanges } from "./bucket-changes.ts";
import type { Copies, Member, SimulatedCluster } from "./cluster.ts";
import { Instance } from "./instance.ts";
import { Listings } from "./listings.ts";
import { type Asked, Questions } from "./questions.ts";

const tickMs = 250;
const digestTicks = 120;
const resyncTicks = 8;
const usual = { lossOfEvents: 0.01, lossOfRequests: 0.2, changesBuckets: false };
const instanceCount = 4;
const chanceOfRestart = 0.001;
/** In one tick, of an instance that is asked for a snapshot of some shard although nothing is missing there. */
const chanceOfResync = 0.02;
/** Messages of a shard that the stream keeps. */
const retained = 3_000;
/** In one tick: who is behind stays so for a while. */
const appliedMax = 40;
const lagMax = 16;

interface Stream {
  /** Of the first that is kept. */
  first: number;
  messages: FlowEventBatch[];
}

interface Copy {
  readonly member: Member;
  readonly shard: number;
  /** Absent: a snapshot is on its way. */
  table?: ShardTable;
  /** Nobody had a copy: it counts when every instance has told all that it has. */
  isRebuilding: boolean;
}

export interface ContentOptions {
  readonly lossOfEvents: number;
  /** Of requests for snapshots, and of transfers. */
  readonly lossOfRequests: number;
  readonly changesBuckets: boolean;
}

export class Content implements Copies {
  readonly oracle = new Map<string, FlowKey>();
  readonly buckets: BucketChanges;
  readonly questions: Questions;
  readonly listings: Listings;
  published = 0;
  lost = 0;
  handedOver = 0;
  rebuilt = 0;
  readonly #cluster: SimulatedCluster;
  readonly #shards: number;
  readonly #random: Random;
  readonly #options: ContentOptions;
  readonly #streams: Stream[];
  readonly #instances: Instance[];
  readonly #copies = new Map<string, Copy>();
  #isQuiet = false;
  #ticks = 0;

  constructor(cluster: SimulatedCluster, shards: number, random: Random, options: Partial<ContentOptions> = {}) {
    this.#options = { ...usual, ...options };
    this.#cluster = cluster;
    this.#shards = shards;
    this.#random = random;
    this.#streams = Array.from({ length: shards }, () => ({ first: 1, messages: [] }));
    this.#instances = Array.from({ length: instanceCount }, (_, index) => new Instance(index, shards, instanceCount));
    this.buckets = new BucketChanges({
      shards,
      random: random.fork(1),
      instances: this.#instances,
      endOf: (shard) => this.#endOf(shard),
      isApplied: (shard, position) => this.#isApplied(shard, position),
    });
    this.questions = new Questions({ shards, random: random.fork(2), holderOf: (shard) => this.#anyHolderOf(shard) });
    this.listings = new Listings({ shards, holderOf: (shard) => this.#anyHolderOf(shard) });
    cluster.after(tickMs, () => this.#tick());
  }

  get flows(): number {
    return this.oracle.size;
  }

  /** No more events, and none is lost. */
  quiet(): void {
    this.#isQuiet = true;
  }

  give(member: Member, shard: number): void {
    const copy: Copy = { member, shard, isRebuilding: false };
    this.#copies.set(`${member.name} ${shard}`, copy);
    this.#begin(copy);
  }

  take(member: Member, shard: number): void {
    this.#copies.delete(`${member.name} ${shard}`);
  }

  /** It follows the stream again where it stood; see #follow. */
  resume(): void {}

  /** What holders have that the oracle has not, or the other way round. */
  faults(): string[] {
    const { current } = this.#cluster;
    if (current === undefined) return ["there is no epoch"];
    return current.holders.flatMap((_, shard) =>
      holdersOf(current, shard).flatMap(({ name }) => this.#faultOf(name, shard)),
    );
  }

  #faultOf(name: string, shard: number): string[] {
    const table = this.#copies.get(`${name} ${shard}`)?.table;
    if (table === undefined) return [`${name} has no copy of shard ${shard}`];
    const held = new Set(this.#flowsOf(table).map(({ key }) => flowKeyText(key)));
    const wanted = [...this.oracle].filter(([, key]) => this.#shardOf(key) === shard).map(([text]) => text);
    const missing = wanted.filter((text) => !held.has(text)).length;
    const phantoms = held.size - (wanted.length - missing);
    if (missing + phantoms === 0 && table.whole) return [];
    return [`shard ${shard} at ${name}: ${missing} flows missing, ${phantoms} that are none, whole: ${table.whole}`];
  }

  #tick(): void {
    this.#ticks++;
    for (const instance of this.#instances) {
      if (!this.#isQuiet) instance.churn(this.#random, this.oracle);
      if (this.#ticks % digestTicks === 0) instance.digest();
      if (this.#options.changesBuckets && !this.#isQuiet) this.#disturb(instance);
      for (let shard = 0; shard < this.#shards; shard++) this.#publish(instance, shard);
    }
    for (const copy of this.#copies.values()) if (copy.member.isAlive) this.#follow(copy);
    if (this.#ticks % resyncTicks === 0) this.#askForSnapshots();
    if (this.#options.changesBuckets) this.buckets.tick(!this.#isQuiet);
    this.questions.tick(this.#ticks, this.oracle, [this.buckets.layouts, this.buckets.former]);
    this.listings.tick(this.oracle, this.buckets.layouts);
    this.#cluster.after(tickMs, () => this.#tick());
  }

  #disturb(instance: Instance): void {
    if (this.#random.chance(chanceOfResync)) instance.snapshot(this.#random.below(this.#shards));
    if (!this.#random.chance(chanceOfRestart)) return;
    instance.restart(this.buckets.layouts);
    this.buckets.restarted(instance);
  }

  #publish(instance: Instance, shard: number): void {
    const stream = this.#streams[shard] as Stream;
    for (const batch of instance.messages(shard)) {
      this.published++;
      if (!this.#isQuiet && this.#random.chance(this.#options.lossOfEvents)) this.lost++;
      else stream.messages.push(batch);
    }
    const excess = Math.max(0, stream.messages.length - retained);
    stream.messages.splice(0, excess);
    stream.first += excess;
  }

  #begin(copy: Copy): void {
    const source = this.#sourceOf(copy);
    if (source?.table === undefined) {
      this.#rebuild(copy);
      return;
    }
    const snapshot = cloneOf(source.table);
    const tookMs = 500 + this.#random.exponential(3_000);
    this.#cluster.after(tookMs, () => this.#receive(copy, source, snapshot));
  }

  #receive(copy: Copy, source: Copy, snapshot: ShardTable): void {
    if (this.#copies.get(`${copy.member.name} ${copy.shard}`) !== copy || !copy.member.isAlive) return;
    const isTorn = !source.member.isAlive || this.#random.chance(this.#options.lossOfRequests);
    const stream = this.#streams[copy.shard] as Stream;
    if (isTorn || Number(snapshot.sequence) + 1 < stream.first) {
      this.#begin(copy);
      return;
    }
    this.handedOver++;
    copy.table = snapshot;
    copy.isRebuilding = source.isRebuilding;
  }

  /** Whoever is furthest, of those that live. */
  #sourceOf({ member, shard }: Copy): Copy | undefined {
    const others = [...this.#copies.values()].filter(
      (it) => it.shard === shard && it.member !== member && it.member.isAlive && it.table !== undefined,
    );
    return others.toSorted((a, b) => Number((b.table?.sequence ?? 0n) - (a.table?.sequence ?? 0n)))[0];
  }

  #rebuild(copy: Copy): void {
    this.rebuilt++;
    const table = new ShardTable(BigInt((this.#streams[copy.shard] as Stream).first) - 1n);
    for (const { name } of this.#instances) table.awaitSnapshotOf(name);
    copy.table = table;
    copy.isRebuilding = true;
  }

  #follow(copy: Copy): void {
    const { table, shard, member } = copy;
    if (table === undefined) return;
    const { first, messages } = this.#streams[shard] as Stream;
    const from = Number(table.sequence) + 1 - first;
    if (from < 0) {
      member.caughtUp.delete(shard);
      this.#rebuild(copy);
      return;
    }
    for (const [offset, batch] of messages.slice(from, from + appliedMax).entries())
      table.apply(BigInt(first + from + offset), packed(batch));
    const lag = first + messages.length - 1 - Number(table.sequence);
    if (table.whole) copy.isRebuilding = false;
    if (lag <= lagMax && !copy.isRebuilding && member.held.has(shard)) member.caughtUp.add(shard);
  }

  #askForSnapshots(): void {
    for (const { table, shard, member } of this.#copies.values())
      for (const name of member.isAlive ? (table?.brokenSenders() ?? []) : [])
        if (!this.#random.chance(this.#options.lossOfRequests))
          this.#instances.find((it) => it.name === name)?.snapshot(shard);
  }

  #flowsOf(table: ShardTable) {
    return this.#addresses()
      .flatMap((address) => [...table.flowsOf({ address })])
      .filter((flow) => flow !== undefined);
  }

  #addresses(): readonly IpAddress[] {
    return [...new Set(this.#instances.flatMap((it) => it.addresses))];
  }

  #shardOf(key: FlowKey): number {
    return shardOfKey(key, layoutOf(this.buckets.layouts, key.address), this.#shards);
  }

  #endOf(shard: number): number {
    const { first, messages } = this.#streams[shard] as Stream;
    return first + messages.length - 1;
  }

  #holdersOf(shard: number): readonly (Copy | undefined)[] {
    const { current } = this.#cluster;
    const holders = current === undefined ? [] : holdersOf(current, shard);
    return holders.map(({ name }) => this.#copies.get(`${name} ${shard}`));
  }

  #isApplied(shard: number, position: number): boolean {
    const copies = this.#holdersOf(shard);
    return (
      copies.length > 0 &&
      copies.every((copy) => {
        if (copy?.table === undefined || copy.isRebuilding || !copy.member.isAlive) return false;
        return copy.table.whole && copy.table.sequence >= BigInt(position);
      })
    );
  }

  #anyHolderOf(shard: number): Asked | undefined {
    const copies = this.#holdersOf(shard);
    const copy = copies[this.#random.below(Math.max(1, copies.length))];
    if (copy?.table === undefined || !copy.member.isAlive) return undefined;
    const { table, isRebuilding } = copy;
    const isUpToDate = table.whole && !isRebuilding && table.sequence >= BigInt(this.#endOf(shard));
    return { table, isUpToDate };
  }
}

/** As another tracker gets it: by the pages of its database. */
function cloneOf(table: ShardTable): ShardTable {
  const clone = new ShardTable(table.sequence);
  const reader = new PageReader(clone);
  for (const page of pagesOf(table)) reader.read(page);
  reader.end();
  return clone;
}
