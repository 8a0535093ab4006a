/**
 * The agent's knowledge of its flows: kernel events and listings in, flow events out.
 *
 * Owns the flow table. What the kernel shows is published as it happens; wherever events may be missing (a start, an
 * overflow, a forgotten connection, a barrier), the connection entries and sockets are listed and the table is made
 * equal to them first. Listings take their time, and events go on being applied meanwhile.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import type { Forward } from "../../src/flow/events.ts";
import type { Flow } from "../../src/flow/flow.ts";
import { FlowTable } from "../../src/flow/flow-table.ts";
import { type Digest, KeyDigest } from "../../src/flow/key-digest.ts";
import {
  type ConntrackRecord,
  createVantage,
  type FlowChange,
  ListingObserver,
  observeConntrack,
  type Vantage,
} from "../../src/flow/observe.ts";
import type { FlowChange as FlowEventChange } from "../../src/flow/sequencer.ts";
import type { AgentState, MarkRequest, ShardPosition } from "../../src/node/state.ts";
import type { MarkReport } from "../../src/node/status.ts";
import { belongsTo, isNewerLayout, type Layout, oneBucket } from "../../src/placement/layout.ts";
import type { Layouts } from "../../src/placement/layouts.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { eachInSlices } from "../../src/runtime/slices.ts";
import { forwardsByShard } from "./forwards.ts";
import { ListingTurns } from "./listing-turns.ts";
import type { Listings } from "./listings.ts";
import { Relistings } from "./relistings.ts";

/** Flows that are given as an iterable are read while they are sent; changes that come meanwhile are told as ever. */
export interface FlowSink {
  change(change: FlowEventChange): unknown;
  /** Changes of the address are told by this layout from the end of this call on. */
  adopt(address: IpAddress, layout: Layout): Promise<void>;
  snapshot(address: IpAddress, flows: Iterable<Flow>): Promise<readonly ShardPosition[]>;
  snapshotShard(shard: number, flows: Iterable<Flow>): Promise<readonly ShardPosition[]>;
  barrier(id: string, address: IpAddress): Promise<readonly ShardPosition[]>;
  forwards(shard: number, forwards: readonly Forward[]): void;
  /** Keeps these shards' positions moving, and their content compared. */
  speakFor(shards: ReadonlySet<number>): void;
}

export interface ObserverParts {
  readonly instance: string;
  readonly shards: number;
  /** Those of its addresses are taken from its states; the sink goes by the same. */
  readonly layouts: Layouts;
  readonly listings: Pick<Listings, "walk">;
  readonly sink: FlowSink;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of work on many flows, before others have their turn. */
const sliceMs = 4;
const flowsPerLook = 32;
/** Shards in which this instance has nothing are told so at this pace; all of the usual 32 in four seconds. */
const emptyShardsPerTick = 2;

interface OwnedAddress {
  readonly address: IpAddress;
  readonly generation: bigint;
}

export class FlowObserver {
  readonly #parts: ObserverParts;
  readonly #table: FlowTable;
  #vantage: Vantage = createVantage(new Map(), []);
  readonly #opened = new Map<IpAddress, number>();
  readonly #relistings = new Relistings();
  readonly #turns = new ListingTurns();
  /** Shards whose flows are being listed to be published, and why once more since. */
  readonly #publishing = new Map<number, string | undefined>();
  /**
   * Shards that have not heard from this run of the agent, so that what an earlier one said there may be wrong; and those
   * where telling them has failed since.
   */
  readonly #unheard: Set<number>;
  #forwards: ReadonlyMap<number, readonly Forward[]> = new Map();
  /** Layouts that are not gone by yet, or by which flows still move. */
  readonly #moving = new Map<IpAddress, Layout>();
  #follows: Pick<AgentState, "addresses"> = { addresses: [] };
  #watching = false;
  #overflows = 0;
  #openedEver = 0;

  constructor(parts: ObserverParts) {
    this.#parts = parts;
    this.#table = new FlowTable(parts.instance);
    this.#unheard = new Set(Array.from({ length: parts.shards }, (_, shard) => shard));
  }

  /** Takes the addresses of a new state. Those that were not known before are listed and told whole. */
  watch(state: AgentState): void {
    const before = this.#vantage.owned;
    const owned = new Map<IpAddress, OwnedAddress>(
      state.addresses.map(({ address, private: own, generation }) => [own, { address, generation }]),
    );
    this.#vantage = createVantage(owned, [...state.fabric, { address: state.probeSource, length: 32 }]);
    this.#watching = true;
    for (const { address, layout = oneBucket } of state.addresses) this.#lay(address, layout);
    this.#parts.sink.speakFor(this.#ownShards());
    for (const [own, { address, generation }] of owned) {
      const known = before.get(own);
      if (known?.generation !== generation) this.#opened.set(address, 0);
      if (known?.address === address) continue;
      const unheard = this.#shardsOf(address).filter((shard) => this.#unheard.has(shard));
      for (const shard of unheard) this.publishShard(shard, "the agent has started");
      if (unheard.length < this.#shardsOf(address).length)
        this.#background(address, this.#publishAddress(own, address));
    }
    for (const { address } of before.values()) if (this.#privateOf(address) === undefined) this.#forget(address);
    this.#follows = state;
    this.#retellForwards();
  }

  /**
   * The kernel has no connection of the address. Where something is known of one all the same, the end of a connection
   * that tracking had forgotten was told by nobody: the address is listed again.
   */
  onEmpty(address: IpAddress): void {
    if (this.#table.countOf(address) > 0) this.#relistings.certain(address, this.#parts.clock.monotonicMs());
  }

  /** Connections opened here since the address came to this generation. */
  opened(address: IpAddress): number {
    return this.#opened.get(address) ?? 0;
  }

  get size(): number {
    return this.#table.size;
  }

  /** Connections opened here since the start. */
  get openedEver(): number {
    return this.#openedEver;
  }

  /** Times that the kernel had more events than it could hand over. */
  get overflows(): number {
    return this.#overflows;
  }

  digestOf(shard: number): Digest {
    const { layouts } = this.#parts;
    const sum = new KeyDigest();
    for (const address of this.#table.addresses()) {
      const place = layouts.placeIn(shard, address);
      if (place.bucket !== undefined) sum.merge(this.#table.digestOf(address, (slot) => belongsTo(place, slot)));
    }
    return sum;
  }

  onConnections(records: Iterable<ConntrackRecord>): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const record of records) {
      const change = observeConntrack(record, this.#vantage);
      if (change === undefined) continue;
      if (change.unproven === true) this.#relistings.doubt(change.key, nowMs);
      else if (change.forgotten) this.#relistings.certain(change.key.address, nowMs);
      else {
        this.#relistings.settle(change.key);
        this.#apply(change);
      }
    }
  }

  /** The kernel had more events than it could hand over: lists everything and publishes it whole. */
  onOverflow(): void {
    this.#overflows++;
    for (const shard of this.#ownShards())
      this.publishShard(shard, "the kernel had more events than it could hand over");
  }

  /** Publishes everything of one shard, for changes of it were lost or a tracker asks. */
  publishShard(shard: number, reason: string): void {
    this.#unheard.delete(shard);
    const busy = this.#publishing.has(shard);
    this.#publishing.set(shard, busy ? reason : undefined);
    if (busy) return;
    this.#parts.log.info({ shard, reason }, "publishing a snapshot");
    this.#retryLater([shard], this.#publishShard(shard));
  }

  /** Publishes what the address's flows are now, or only that everything before is published. */
  async mark(request: MarkRequest): Promise<MarkReport> {
    const { id, address, snapshot } = request;
    await this.#adoptLayout(address);
    const own = this.#privateOf(address);
    if (own !== undefined) await this.#relist(own, address);
    const { sink } = this.#parts;
    const flows = this.#table.countOf(address);
    const positions = await (snapshot
      ? sink.snapshot(address, this.#table.flowsOf(address))
      : sink.barrier(id, address));
    return { id, positions, flows };
  }

  /** While flows move, the layout before is gone by until the shards that have them are told; see {@link mark}. */
  #lay(address: IpAddress, layout: Layout): void {
    const { layouts } = this.#parts;
    const { before, generation } = layout;
    layouts.take(address, before === undefined ? layout : { buckets: before, generation: generation - 1 });
    if (before === undefined) this.#moving.delete(address);
    else this.#moving.set(address, layout);
  }

  /** The state asks for a mark whenever it brings a layout with flows that are to move. */
  async #adoptLayout(address: IpAddress): Promise<void> {
    const layout = this.#moving.get(address);
    if (layout === undefined || !isNewerLayout(layout, this.#parts.layouts.of(address))) return;
    await this.#parts.sink.adopt(address, layout);
    this.#parts.sink.speakFor(this.#ownShards());
    this.#retellForwards();
  }

  /** Lists what is due after connections were forgotten by the kernel, and tells shards that nothing is there. */
  tick(): void {
    for (const address of this.#relistings.takeDue(this.#parts.clock.monotonicMs())) {
      const own = this.#privateOf(address);
      if (own !== undefined) this.#background(address, this.#relist(own, address));
    }
    if (this.#watching)
      for (const shard of [...this.#unheard].slice(0, emptyShardsPerTick))
        this.publishShard(shard, "the agent has started, or its last listing has failed");
  }

  async #publishAddress(own: IpAddress, address: IpAddress): Promise<void> {
    await this.#relist(own, address);
    await this.#parts.sink.snapshot(address, this.#table.flowsOf(address));
  }

  async #publishShard(shard: number): Promise<void> {
    try {
      for (const [own, { address }] of this.#vantage.owned)
        if (this.#shardsOf(address).includes(shard)) await this.#relist(own, address);
    } finally {
      const again = this.#publishing.get(shard);
      this.#publishing.delete(shard);
      if (again !== undefined) this.publishShard(shard, again);
    }
    const { sink } = this.#parts;
    const stored = sink.snapshotShard(shard, this.#flowsOfShard(shard));
    const forwards = this.#forwards.get(shard);
    if (forwards !== undefined) sink.forwards(shard, forwards);
    await stored;
  }

  *#flowsOfShard(shard: number): Generator<Flow> {
    for (const address of this.#table.addresses())
      if (this.#parts.layouts.placeIn(shard, address).bucket !== undefined) yield* this.#table.flowsOf(address);
  }

  #retellForwards(): void {
    const before = this.#forwards;
    this.#forwards = forwardsByShard(this.#follows, (address) => this.#shardsOf(address));
    for (const shard of new Set([...before.keys(), ...this.#forwards.keys()])) {
      const now = this.#forwards.get(shard) ?? [];
      if (JSON.stringify(before.get(shard) ?? []) !== JSON.stringify(now)) this.#parts.sink.forwards(shard, now);
    }
  }

  #apply(change: FlowChange): void {
    const { address } = change.key;
    const before = this.#table.countOf(address);
    const applied = this.#table.apply(change, this.#parts.clock.nowMs());
    if (applied.kind === "full") this.#parts.log.error({ address }, "the flow table is full: a flow is not tracked");
    if (applied.kind !== "event") return;
    const opens = this.#table.countOf(address) > before;
    if (opens) {
      this.#openedEver++;
      this.#opened.set(address, this.opened(address) + 1);
    }
    this.#parts.sink.change(opens ? { ...applied.flow, opens } : applied.flow);
  }

  /** Makes the table equal to the kernel, by a listing that begins after this call. */
  #relist(own: IpAddress, address: IpAddress): Promise<void> {
    return this.#turns.take(address, async () => {
      if (this.#vantage.owned.get(own)?.address === address) await this.#list(own, address);
    });
  }

  /** The address is no longer this instance's: its flows are over here. */
  #forget(address: IpAddress): void {
    const work = this.#turns.take(address, async () => {
      if (this.#privateOf(address) === undefined) await this.#list(undefined, address);
    });
    this.#background(address, work);
  }

  /** Without a private address there is nothing. */
  async #list(own: IpAddress | undefined, address: IpAddress): Promise<void> {
    const { listings, clock, sink, log } = this.#parts;
    using reconciliation = this.#table.reconcile(address);
    const observer = new ListingObserver(this.#vantage);
    const note = (change: FlowChange | undefined) => change && reconciliation.note(change);
    if (own !== undefined)
      await listings.walk(own, {
        connection: (record) => note(observer.connection(record)),
        socket: (socket) => note(observer.socket(socket)),
      });
    let refused = 0;
    const take = (applied: ReturnType<FlowTable["apply"]>) => {
      if (applied.kind === "event") sink.change(applied.flow);
      else if (applied.kind === "full") refused++;
    };
    await eachInSlices(reconciliation.finish(clock.nowMs()), take, { sliceMs, itemsPerLook: flowsPerLook });
    if (refused > 0) log.error({ address, refused }, "the flow table is full: flows are not tracked");
  }

  #privateOf(address: IpAddress): IpAddress | undefined {
    for (const [own, entry] of this.#vantage.owned) if (entry.address === address) return own;
    return undefined;
  }

  #shardsOf(address: IpAddress): readonly number[] {
    return this.#parts.layouts.shardsOf(address);
  }

  #ownShards(): ReadonlySet<number> {
    return new Set([...this.#vantage.owned.values()].flatMap(({ address }) => this.#shardsOf(address)));
  }

  #background(address: IpAddress, work: Promise<unknown>): void {
    this.#retryLater(this.#shardsOf(address), work);
  }

  /** What could not be listed may be missing in the table, whose digest would never show it: all of it is told anew. */
  #retryLater(shards: readonly number[], work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      this.#parts.log.error({ error, shards }, "flows were not listed or not published: trying again");
      for (const shard of shards) this.#unheard.add(shard);
    });
  }
}
