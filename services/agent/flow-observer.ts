/**
 * The agent's knowledge of its flows: kernel events and listings in, flow events out.
 *
 * Owns the flow table. What the kernel shows is published as it happens; wherever events may be missing (a start, an
 * overflow, a forgotten connection, a barrier), the sockets and connection entries are listed and the table is made
 * equal to them first.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import type { Flow } from "../../src/flow/flow.ts";
import { FlowTable } from "../../src/flow/flow-table.ts";
import {
  type ConntrackRecord,
  createVantage,
  type FlowChange,
  observeConntrack,
  observeListings,
  type Vantage,
} from "../../src/flow/observe.ts";
import type { FlowChange as FlowEventChange } from "../../src/flow/sequencer.ts";
import type { TcpSocket } from "../../src/kernel/sock-diag-codec.ts";
import type { AgentState, MarkRequest, ShardPosition } from "../../src/node/state.ts";
import type { MarkReport } from "../../src/node/status.ts";
import { shardOf } from "../../src/placement/shard.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";

/** What the kernel shows now. */
export interface Listings {
  /** TCP sockets that are not listening, with this local address. */
  sockets(local: IpAddress): readonly TcpSocket[];
  /** Connection entries with this address at either end. */
  connections(local: IpAddress): readonly ConntrackRecord[];
}

export interface FlowSink {
  change(change: FlowEventChange): unknown;
  snapshot(address: IpAddress, flows: Iterable<Flow>): Promise<readonly ShardPosition[]>;
  snapshotShard(shard: number, flows: Iterable<Flow>): Promise<readonly ShardPosition[]>;
  barrier(id: string, address: IpAddress): Promise<readonly ShardPosition[]>;
}

export interface ObserverParts {
  readonly instance: string;
  readonly shards: number;
  readonly listings: Listings;
  readonly sink: FlowSink;
  readonly clock: Clock;
  readonly log: Logger;
}

/** An address is listed again for forgotten connections at most so often. */
const relistIntervalMs = 1_000;

interface OwnedAddress {
  readonly address: IpAddress;
  readonly generation: bigint;
}

export class FlowObserver {
  readonly #parts: ObserverParts;
  readonly #table: FlowTable;
  #vantage: Vantage = createVantage(new Map(), []);
  readonly #opened = new Map<IpAddress, number>();
  readonly #relistAt = new Map<IpAddress, number>();

  constructor(parts: ObserverParts) {
    this.#parts = parts;
    this.#table = new FlowTable(parts.instance);
  }

  /** Takes the addresses of a new state. Those that were not known before are listed and told whole. */
  watch(state: AgentState): void {
    const before = this.#vantage.owned;
    const owned = new Map<IpAddress, OwnedAddress>(
      state.addresses.map(({ address, private: own, generation }) => [own, { address, generation }]),
    );
    this.#vantage = createVantage(owned, [...state.fabric, { address: state.probeSource, length: 32 }]);
    for (const [own, { address, generation }] of owned) {
      const known = before.get(own);
      if (known?.generation !== generation) this.#opened.set(address, 0);
      if (known?.address === address) continue;
      this.#relist(own, address);
      this.#background(this.#parts.sink.snapshot(address, this.#table.flowsOf(address)), "snapshot");
    }
  }

  /** Connections opened here since the address came to this generation. */
  opened(address: IpAddress): number {
    return this.#opened.get(address) ?? 0;
  }

  get size(): number {
    return this.#table.size;
  }

  onConnections(records: Iterable<ConntrackRecord>): void {
    for (const record of records) {
      const change = observeConntrack(record, this.#vantage);
      if (change === undefined) continue;
      if (change.forgotten) this.#relistSoon(change.key.address);
      else this.#apply(change);
    }
  }

  /** The kernel had more events than it could hand over. */
  onOverflow(): void {
    this.#parts.log.warn("connection events were lost: listing all connections anew");
    this.resync();
  }

  /** Lists every address and publishes it whole. */
  resync(): void {
    for (const [own, { address }] of this.#vantage.owned) {
      this.#relist(own, address);
      this.#background(this.#parts.sink.snapshot(address, this.#table.flowsOf(address)), "snapshot");
    }
  }

  /** Publishes everything of one shard, for changes of it were lost or a tracker asks. */
  publishShard(shard: number, reason: string): void {
    this.#parts.log.info({ shard, reason }, "publishing a snapshot");
    const owned = [...this.#vantage.owned].filter(([, { address }]) => shardOf(address, this.#parts.shards) === shard);
    for (const [own, { address }] of owned) this.#relist(own, address);
    const flows = owned.flatMap(([, { address }]) => [...this.#table.flowsOf(address)]);
    this.#background(this.#parts.sink.snapshotShard(shard, flows), "snapshot");
  }

  /** Publishes what the address's flows are now, or only that everything before is published. */
  async mark(request: MarkRequest): Promise<MarkReport> {
    const own = this.#privateOf(request.address);
    if (own !== undefined) this.#relist(own, request.address);
    const flows = [...this.#table.flowsOf(request.address)];
    const { sink } = this.#parts;
    const positions = await (request.snapshot
      ? sink.snapshot(request.address, flows)
      : sink.barrier(request.id, request.address));
    return { id: request.id, positions, flows: flows.length };
  }

  /** Lists what is due after connections were forgotten by the kernel. */
  tick(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    for (const [address, dueMs] of this.#relistAt) {
      const own = this.#privateOf(address);
      if (dueMs > nowMs) continue;
      this.#relistAt.delete(address);
      if (own !== undefined) this.#relist(own, address);
    }
  }

  #apply(change: FlowChange): void {
    const { address } = change.key;
    const before = this.#table.countOf(address);
    const applied = this.#table.apply(change, this.#parts.clock.nowMs());
    if (applied.kind === "full") this.#parts.log.error({ address }, "the flow table is full: a flow is not tracked");
    if (applied.kind !== "event") return;
    const opens = this.#table.countOf(address) > before;
    if (opens) this.#opened.set(address, this.opened(address) + 1);
    this.#parts.sink.change(opens ? { ...applied.flow, opens } : applied.flow);
  }

  #relist(own: IpAddress, address: IpAddress): void {
    const { listings, clock, sink, log } = this.#parts;
    const changes = observeListings(listings.sockets(own), listings.connections(own), this.#vantage);
    const { events, refused } = this.#table.reconcile(address, changes, clock.nowMs());
    if (refused > 0) log.error({ address, refused }, "the flow table is full: flows are not tracked");
    for (const flow of events) sink.change(flow);
  }

  #relistSoon(address: IpAddress): void {
    if (!this.#relistAt.has(address)) this.#relistAt.set(address, this.#parts.clock.monotonicMs() + relistIntervalMs);
  }

  #privateOf(address: IpAddress): IpAddress | undefined {
    for (const [own, entry] of this.#vantage.owned) if (entry.address === address) return own;
    return undefined;
  }

  #background(work: Promise<unknown>, what: string): void {
    work.catch((error: unknown) => this.#parts.log.error({ error }, `${what} was not published`));
  }
}
