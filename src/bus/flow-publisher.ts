/**
 * Tells the event stream of an instance's flows, without ever making the instance wait.
 *
 * One message of a shard is on its way at a time, so a repetition never overtakes its successor; shards go side by side.
 * Changes gather for a window that follows the cluster's load, and for as long as the message before them takes. While the
 * bus is away they gather up to a limit; beyond it they are dropped and a snapshot is asked for.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { IpAddress } from "../flow/address.ts";
import { type FlowRow, type Forward, flowSubject, resyncAllSubject, resyncSubject } from "../flow/events.ts";
import type { Flow } from "../flow/flow.ts";
import { defaultFlushLimits, type FlushLimits, FlushWindow } from "../flow/flush-window.ts";
import type { Digest } from "../flow/key-digest.ts";
import {
  type ChangeOutcome,
  type FlowChange,
  FlowSequencer,
  type Ordered,
  type Taken,
  type Ticket,
} from "../flow/sequencer.ts";
import type { ShardPosition } from "../node/state.ts";
import { type Layout, oldShardsOf, placeOf, shardsUnder } from "../placement/layout.ts";
import { Layouts } from "../placement/layouts.ts";
import { encodeFlowEventBatch } from "../rpc/flow-event-codec.ts";
import { retry } from "../runtime/retry.ts";
import { type Bus, BusError } from "./bus.ts";
import { decodeResyncRequest } from "./resync-request.ts";

export interface FlowPublisherOptions {
  readonly bus: Bus;
  readonly instance: string;
  readonly shards: number;
  /** Of the instance's addresses, now; absent: each has one bucket. */
  readonly layouts?: Layouts;
  /** One run of this agent: 16 random bytes. */
  readonly boot: Uint8Array;
  readonly flush?: FlushLimits;
  readonly bufferedMax?: number;
  /** Of all flows of the shard, as of the last change given. */
  readonly digestOf?: (shard: number) => Digest;
  readonly tickMs?: number;
  /** Changes of this shard were lost, or a tracker asks: call {@link FlowPublisher.snapshotShard}. */
  readonly onSnapshotNeeded: (shard: number, reason: string) => void;
  /** A message could not be stored yet; it is tried again. */
  readonly onError: (error: unknown) => void;
}

/** A shard that is spoken for hears something at least so often. */
const defaultTickMs = 10_000;
/** Every so many ticks, a digest instead. */
const ticksPerDigest = 3;
/** Changes that wait for the bus: some 40 MB. */
export const defaultBufferedMax = 200_000;
/** Rows of one message: some 60 kB of NATS' megabyte. */
const rowsMax = 2_000;
/** Of a snapshot's page: some milliseconds to read from the table and encode. */
const pageRowsMax = 500;
const retryInitialMs = 100;
const retryMaxMs = 2_000;
/** For what is buffered to leave when the publisher is closed. */
const closeTimeoutMs = 1_000;
/** Snapshots of one shard that were asked for are this far apart, at least. */
const snapshotPaceMs = 1_000;

export class FlowPublisher implements AsyncDisposable {
  readonly #options: FlowPublisherOptions;
  readonly #layouts: Layouts;
  readonly #sequencer: FlowSequencer;
  readonly #boot: string;
  readonly #closed = new AbortController();
  readonly #window: FlushWindow;
  /** Shards whose window is open, and what will close it. */
  readonly #timers = new Map<number, NodeJS.Timeout>();
  /** Shards whose window is over while a message of theirs is on its way. */
  readonly #due = new Set<number>();
  readonly #ticking: NodeJS.Timeout;
  #spokenFor: ReadonlySet<number> = new Set();
  /** Shards that have heard something since the last tick. */
  readonly #told = new Set<number>();
  #ticks = 0;
  #messages = 0;
  #dropped = 0;
  readonly #pumps = new Map<number, Promise<void>>();
  readonly #waiting = new Map<Ticket, PromiseWithResolvers<bigint>>();
  /** Shards whose snapshot was asked for within the pace, and why once more since. */
  readonly #asked = new Map<number, { readonly timer: NodeJS.Timeout; again?: string }>();
  readonly #subscriptions = new DisposableStack();

  constructor(options: FlowPublisherOptions) {
    this.#options = options;
    this.#boot = Buffer.from(options.boot).toString("hex");
    const {
      instance,
      shards,
      layouts = new Layouts(shards),
      bus,
      bufferedMax = defaultBufferedMax,
      flush = defaultFlushLimits,
    } = options;
    this.#layouts = layouts;
    const coalesce = flush.windowMaxMs > 0;
    this.#window = new FlushWindow(flush);
    const limits = { rowsMax, pageRowsMax, bufferedMax, coalesce };
    this.#sequencer = new FlowSequencer({ instance, boot: this.#boot, layouts, ...limits });
    this.#ticking = setInterval(() => this.#tick(), options.tickMs ?? defaultTickMs);
    for (const subject of [resyncSubject(instance), resyncAllSubject])
      this.#subscriptions.use(bus.listen(subject, (data) => this.#hearResync(data)));
    this.#subscriptions.use(bus.onStatus((connected) => connected && this.#askForLost()));
  }

  /** How long changes gather now. */
  get windowMs(): number {
    return this.#window.windowMs;
  }

  /** Of the whole cluster, as the sequences of this instance's own messages show. */
  get clusterMessagesPerSecond(): number {
    return this.#window.messagesPerSecond;
  }

  /** Stored since the start. */
  get messages(): number {
    return this.#messages;
  }

  /** Changes that found no room since the start, while the bus was away; those that were waiting then are not counted. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Changes that wait for the bus. */
  get buffered(): number {
    return this.#sequencer.buffered;
  }

  /** Keeps the positions of these shards moving, and has their content compared. */
  speakFor(shards: ReadonlySet<number>): void {
    this.#spokenFor = shards;
  }

  /** Whose flows this instance forwards in the shard, all of them. */
  forwards(shard: number, forwards: readonly Forward[]): void {
    this.#sequencer.forwards(shard, forwards);
    this.#pump(shard);
  }

  /** Never waits. "overflow": dropped; `onSnapshotNeeded` follows once the bus is there. */
  change(change: FlowChange): ChangeOutcome {
    const shard = this.#layouts.shardOf(change.key);
    const outcome = this.#sequencer.change(shard, change);
    if (outcome === "overflow") this.#dropped++;
    if (outcome === "full") this.#pump(shard);
    else if (outcome === "buffered") this.#flushLater(shard);
    else this.#overflowed(shard);
    return outcome;
  }

  /**
   * Replaces what is known of the address: `flows` are all of its flows, read once for each of its shards while they are
   * sent. They may change meanwhile, as long as {@link change} is told. Resolves once stored. While flows move, the shards
   * that had them are told to let go of them after that, and it resolves once that is stored too.
   */
  async snapshot(address: IpAddress, flows: Iterable<Flow>, signal?: AbortSignal): Promise<ShardPosition[]> {
    const { shards } = this.#options;
    const layout = this.#layouts.of(address);
    const tell = (shard: number): Promise<ShardPosition> => {
      const rows = rowsOf(flows, (flow) => flow.key.address === address);
      return this.#order(shard, this.#sequencer.snapshot(shard, [address], rows), signal);
    };
    const told = await Promise.all(shardsUnder(address, layout.buckets, shards).map(tell));
    this.#layouts.toldAll(address, layout.generation);
    const released = await this.#tellPlaces(address, layout, true, signal);
    // In order: of a shard the later position counts.
    return [...new Map([...told, ...released].map((position) => [position.shard, position])).values()];
  }

  /** Replaces what is known of this instance in the shard; otherwise like {@link snapshot}. */
  async snapshotShard(shard: number, flows: Iterable<Flow>, signal?: AbortSignal): Promise<ShardPosition[]> {
    return [await this.#order(shard, this.#sequencer.snapshot(shard, [], rowsOf(flows)), signal)];
  }

  /**
   * From the end of this call on changes of the address are told where they belong by the layout. Shards that had flows of it
   * are told so before: nobody who finds a flow there no more concludes that there is none.
   */
  async adopt(address: IpAddress, layout: Layout, signal?: AbortSignal): Promise<void> {
    await this.#tellPlaces(address, layout, false, signal);
    this.#layouts.take(address, layout);
  }

  /** Whoever has applied these positions has applied every change of the address before this call. */
  async barrier(id: string, address: IpAddress, signal?: AbortSignal): Promise<ShardPosition[]> {
    const shards = this.#layouts.shardsOf(address);
    return await Promise.all(shards.map((shard) => this.#order(shard, this.#sequencer.barrier(shard, id), signal)));
  }

  async close(): Promise<void> {
    await this[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed.signal.aborted) return;
    this.#subscriptions.dispose();
    clearInterval(this.#ticking);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const { timer } of this.#asked.values()) clearTimeout(timer);
    for (const shard of this.#sequencer.busyShards()) {
      this.#sequencer.seal(shard);
      this.#pump(shard);
    }
    const timer = setTimeout(() => this.#closed.abort(new BusError("the publisher is closed")), closeTimeoutMs);
    await Promise.all(this.#pumps.values());
    clearTimeout(timer);
    this.#closed.abort(new BusError("the publisher is closed"));
    for (const waiting of this.#waiting.values()) waiting.reject(this.#closed.signal.reason);
  }

  async #tellPlaces(address: IpAddress, layout: Layout, released: boolean, signal?: AbortSignal) {
    const { shards } = this.#options;
    const tell = (shard: number): Promise<ShardPosition> => {
      const place = placeOf(address, layout, shard, shards);
      return this.#order(shard, this.#sequencer.places(shard, [place], released), signal);
    };
    return await Promise.all(oldShardsOf(address, layout, shards).map(tell));
  }

  async #order(shard: number, ordered: Ordered, signal?: AbortSignal): Promise<ShardPosition> {
    this.#closed.signal.throwIfAborted();
    if (ordered.kind === "snapshot-needed")
      throw new BusError(`changes of shard ${shard} were lost; it needs a snapshot of the whole shard first`);
    if (ordered.kind === "too-many")
      throw new BusError(`too many snapshots and barriers of shard ${shard} are waiting`);
    const waiting = Promise.withResolvers<bigint>();
    this.#waiting.set(ordered.ticket, waiting);
    this.#pump(shard);
    const abort = (): void => waiting.reject(signal?.reason);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return { shard, sequence: await waiting.promise };
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#waiting.delete(ordered.ticket);
    }
  }

  #flushLater(shard: number): void {
    if (this.#timers.has(shard) || this.#due.has(shard)) return;
    const flush = (): void => {
      this.#timers.delete(shard);
      this.#due.add(shard);
      this.#pump(shard);
    };
    this.#timers.set(shard, setTimeout(flush, this.#window.windowMs));
  }

  #tick(): void {
    const compares = ++this.#ticks % ticksPerDigest === 0;
    for (const shard of this.#spokenFor) {
      const digest = compares ? this.#options.digestOf?.(shard) : undefined;
      if (digest !== undefined) this.#sequencer.digest(shard, digest);
      if (!this.#told.has(shard) && !this.#pumps.has(shard)) this.#sequencer.tick(shard);
      this.#pump(shard);
    }
    this.#told.clear();
  }

  #pump(shard: number): void {
    if (this.#pumps.has(shard) || this.#closed.signal.aborted) return;
    const first = this.#next(shard);
    if (first !== undefined) this.#pumps.set(shard, this.#send(shard, first));
  }

  async #send(shard: number, first: Taken): Promise<void> {
    try {
      for (let taken: Taken | undefined = first; taken !== undefined; taken = this.#next(shard)) {
        const sequence = await this.#store(taken);
        this.#messages++;
        this.#told.add(shard);
        this.#window.stored(sequence, performance.now());
        if (taken.ticket !== undefined) this.#waiting.get(taken.ticket)?.resolve(sequence);
        // A page takes some milliseconds to make: others have their turn before the next one.
        await nextTurn();
      }
    } catch (error) {
      if (!this.#closed.signal.aborted) throw error;
    } finally {
      this.#pumps.delete(shard);
    }
  }

  #next(shard: number): Taken | undefined {
    const taken = this.#sequencer.take(shard);
    if (taken !== undefined || !this.#due.delete(shard)) return taken;
    this.#sequencer.seal(shard);
    return this.#sequencer.take(shard);
  }

  async #store({ batch }: Taken): Promise<bigint> {
    const { signal } = this.#closed;
    const data = encodeFlowEventBatch(batch);
    const messageId = `${batch.instance} ${this.#boot} ${batch.shard} ${batch.sequence}`;
    return await retry(() => this.#options.bus.publish(flowSubject(batch.shard), data, { messageId, signal }), {
      signal,
      initialMs: retryInitialMs,
      maxMs: retryMaxMs,
      onError: this.#options.onError,
    });
  }

  #overflowed(shard: number): void {
    for (const ticket of this.#sequencer.takeDropped())
      this.#waiting.get(ticket)?.reject(new BusError(`changes of shard ${shard} were dropped: too many were waiting`));
    this.#askForSnapshot(shard, "changes were dropped, for too many were waiting");
  }

  #hearResync(data: Uint8Array): void {
    const request = decodeResyncRequest(data, this.#options.shards);
    if (request.ok) this.#askForSnapshot(request.value.shard, `a tracker asks: ${request.value.reason}`);
    else this.#options.onError(new BusError(`a resync request was not understood: ${request.message}`));
  }

  #askForLost(): void {
    for (const shard of this.#sequencer.lostShards())
      this.#askForSnapshot(shard, "changes were lost while the bus was away");
  }

  /** At once the first time; whatever is asked within the pace after that, once at its end. */
  #askForSnapshot(shard: number, reason: string): void {
    if (!this.#options.bus.connected || this.#closed.signal.aborted) return;
    const asked = this.#asked.get(shard);
    if (asked !== undefined) {
      asked.again = reason;
      return;
    }
    const timer = setTimeout(() => {
      const again = this.#asked.get(shard)?.again;
      this.#asked.delete(shard);
      if (again !== undefined) this.#askForSnapshot(shard, again);
    }, snapshotPaceMs);
    this.#asked.set(shard, { timer });
    this.#options.onSnapshotNeeded(shard, reason);
  }
}

/** Rows without what the message's sender says already. */
function* rowsOf(flows: Iterable<Flow>, wanted: (flow: Flow) => boolean = () => true): Generator<FlowRow> {
  for (const flow of flows) {
    if (flow.state === "closed" || !wanted(flow)) continue;
    const { key, state, openedAtMs, generation } = flow;
    yield { key, state, openedAtMs, generation };
  }
}
