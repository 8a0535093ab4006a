/**
 * What shards hold, in a simulated cluster: instances tell of flows over a stream that loses some of what it has taken, and
 * members apply it to the real tables. A new copy is a snapshot of another one and the stream from there on; where no other
 * lives it is built anew from what the instances tell when asked.
 *
 * Beside it all a plain map is told of every flow directly: the oracle.
 */
import type { FlowEventBatch, FlowRow } from "../../../src/flow/events.ts";
import { type FlowKey, flowKeyText } from "../../../src/flow/flow.ts";
import { rowWords } from "../../../src/flow/flow-words.ts";
import { KeyDigest } from "../../../src/flow/key-digest.ts";
import { FlowSequencer } from "../../../src/flow/sequencer.ts";
import { holdersOf } from "../../../src/placement/assignment.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { ip, keyOf } from "../../support/flows.ts";
import { keyInWords, packed } from "../../support/packed.ts";
import type { Random } from "../random.ts";
import type { Copies, Member, SimulatedCluster } from "./cluster.ts";

const tickMs = 250;
const digestTicks = 120;
const resyncTicks = 8;
const lossOfEvents = 0.01;
const usualLossOfRequests = 0.2;
const instanceCount = 4;
const addressesEach = 3;
const portMax = 60;
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

export class Content implements Copies {
  readonly oracle = new Map<string, string>();
  published = 0;
  lost = 0;
  handedOver = 0;
  rebuilt = 0;
  readonly #cluster: SimulatedCluster;
  readonly #shards: number;
  readonly #random: Random;
  /** Of requests for snapshots, and of transfers. */
  readonly #lossOfRequests: number;
  readonly #streams: Stream[];
  readonly #instances: Instance[];
  readonly #copies = new Map<string, Copy>();
  #isQuiet = false;
  #ticks = 0;

  constructor(cluster: SimulatedCluster, shards: number, random: Random, lossOfRequests = usualLossOfRequests) {
    this.#lossOfRequests = lossOfRequests;
    this.#cluster = cluster;
    this.#shards = shards;
    this.#random = random;
    this.#streams = Array.from({ length: shards }, () => ({ first: 1, messages: [] }));
    this.#instances = Array.from({ length: instanceCount }, (_, index) => new Instance(index, shards));
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
    const held = new Set(this.#flowsOf(table, shard).map(({ key }) => flowKeyText(key)));
    const wanted = [...this.oracle].filter(([, it]) => it === String(shard)).map(([text]) => text);
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
      for (let shard = 0; shard < this.#shards; shard++) this.#publish(instance, shard);
    }
    for (const copy of this.#copies.values()) if (copy.member.isAlive) this.#follow(copy);
    if (this.#ticks % resyncTicks === 0) this.#askForSnapshots();
    this.#cluster.after(tickMs, () => this.#tick());
  }

  #publish(instance: Instance, shard: number): void {
    const stream = this.#streams[shard] as Stream;
    for (const batch of instance.messages(shard)) {
      this.published++;
      if (!this.#isQuiet && this.#random.chance(lossOfEvents)) this.lost++;
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
    const snapshot = cloneOf(source.table, this.#flowsOf(source.table, copy.shard));
    const tookMs = 500 + this.#random.exponential(3_000);
    this.#cluster.after(tookMs, () => this.#receive(copy, source, snapshot));
  }

  #receive(copy: Copy, source: Copy, snapshot: ShardTable): void {
    if (this.#copies.get(`${copy.member.name} ${copy.shard}`) !== copy || !copy.member.isAlive) return;
    const isTorn = !source.member.isAlive || this.#random.chance(this.#lossOfRequests);
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
        if (!this.#random.chance(this.#lossOfRequests)) this.#instances.find((it) => it.name === name)?.snapshot(shard);
  }

  #flowsOf(table: ShardTable, shard: number) {
    const addresses = this.#instances.flatMap((it) => it.addresses).filter((it) => shardOf(it, this.#shards) === shard);
    return addresses.flatMap((address) => [...table.flowsOf({ address })]).filter((flow) => flow !== undefined);
  }
}

function cloneOf(table: ShardTable, flows: readonly { readonly owner: string; readonly key: FlowKey }[]): ShardTable {
  const clone = new ShardTable(table.sequence);
  for (const { owner, key } of flows) {
    const slab = table.slab(owner, key.address);
    const slot = slab?.slotOf(keyInWords(key), 0);
    if (slab === undefined || slot === undefined) continue;
    const words = Uint32Array.from({ length: rowWords }, (_, word) => slab.wordAt(slot, word));
    clone.restoreFlow(owner, key.address, words, 0);
  }
  clone.restored();
  for (const name of table.senders()) {
    const sender = table.sender(name);
    if (sender !== undefined) clone.restoreSender(structuredClone(sender));
  }
  return clone;
}

/** An agent with its flows; what it says is numbered by the real sequencer. */
class Instance {
  readonly name: string;
  readonly addresses: readonly ReturnType<typeof ip>[];
  readonly #shards: number;
  readonly #flows = new Map<string, FlowRow>();
  readonly #sequencer: FlowSequencer;

  constructor(index: number, shards: number) {
    this.name = `vm-${index}`;
    this.#shards = shards;
    this.addresses = Array.from({ length: addressesEach }, (_, address) => ip(`203.0.113.${10 * index + address}`));
    this.#sequencer = new FlowSequencer({
      instance: this.name,
      boot: `boot of ${this.name}`,
      shards,
      rowsMax: 8,
      bufferedMax: 10_000,
    });
  }

  /** One flow opens, changes or ends. `oracle`: key → shard. */
  churn(random: Random, oracle: Map<string, string>): void {
    const address = this.addresses[random.below(addressesEach)] as ReturnType<typeof ip>;
    const key = keyOf(1 + random.below(portMax), address);
    const text = flowKeyText(key);
    const known = this.#flows.get(text);
    if (known !== undefined && random.chance(0.5)) {
      this.#flows.delete(text);
      oracle.delete(text);
      this.#sequencer.change({ ...known, state: "closed", opens: false });
      return;
    }
    const row: FlowRow = known ?? { key, state: "open", openedAtMs: 1_000, generation: 1n };
    this.#flows.set(text, row);
    oracle.set(text, String(shardOf(address, this.#shards)));
    this.#sequencer.change({ ...row, opens: known === undefined });
  }

  snapshot(shard: number): void {
    this.#sequencer.snapshot(shard, [], this.#rowsOf(shard));
  }

  digest(): void {
    for (let shard = 0; shard < this.#shards; shard++) {
      const digest = new KeyDigest();
      for (const { key } of this.#rowsOf(shard)) digest.add(key);
      this.#sequencer.digest(shard, digest);
    }
  }

  *messages(shard: number): Generator<FlowEventBatch> {
    this.#sequencer.seal(shard);
    for (let taken = this.#sequencer.take(shard); taken !== undefined; taken = this.#sequencer.take(shard))
      yield taken.batch;
  }

  #rowsOf(shard: number): FlowRow[] {
    return [...this.#flows.values()].filter(({ key }) => shardOf(key.address, this.#shards) === shard);
  }
}
