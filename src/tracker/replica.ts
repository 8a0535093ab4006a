/**
 * One copy of one shard: follows the shard's messages, applies them, stores them, and tells who waits or watches.
 *
 * Invariants: what the store holds is exactly what the messages up to its position made; before messages are read on a
 * new connection, the position is compared with the stream, and a store that is not of this stream's past is wiped.
 */
import { type Bus, BusError, type BusMessage, type StreamRange } from "../bus/bus.ts";
import { encodeResyncRequest } from "../bus/resync-request.ts";
import type { IpAddress } from "../flow/address.ts";
import { flowStreamName, flowSubject, resyncAllSubject, resyncSubject } from "../flow/events.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { retry } from "../runtime/retry.ts";
import { fingerprintOf, judgeStore, type StoreVerdict } from "./continuity.ts";
import type { FlowChanges } from "./flow-changes.ts";
import type { FlowStore, StoredShard } from "./level.ts";
import { applyMessage } from "./message.ts";
import { type Position, RecordFault } from "./record.ts";
import { ShardTable } from "./table.ts";
import { Waiters } from "./waiters.ts";

export interface ReplicaOptions {
  readonly shard: number;
  readonly bus: Bus;
  readonly store: FlowStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** After a shard was lost: how long instances that nobody knows of have to answer before it counts as whole. */
  readonly rebuildSettleMs: number;
  readonly onBatch: (batch: AppliedBatch) => void;
  /**
   * What is stored is not this stream's past. True: the store has been given another tracker's copy, to be read anew;
   * false: there is none.
   */
  readonly refill?: (signal: AbortSignal) => Promise<boolean>;
}

export interface AppliedBatch {
  readonly shard: number;
  readonly messages: number;
  readonly changes: number;
  /** Messages that were not understood. */
  readonly skipped: number;
  readonly tookMs: number;
}

/** Hears of every change of a shard, in order, as it is applied. */
export interface FlowFeed {
  changed(changes: FlowChanges, sequence: bigint): void;
  /** The shard was wiped: what was told before means nothing any more. */
  reset(): void;
  /** The shard is answered for elsewhere; no change will be told any more. */
  moved(): void;
  /** Flows of these addresses are told of in other shards than before. */
  relaid(addresses: ReadonlySet<IpAddress>): void;
}

export interface ReplicaStatus {
  readonly shard: number;
  readonly applied: bigint;
  readonly committed: bigint;
  /** Messages of the stream not yet applied, when last heard of. Undefined: not following. */
  readonly lag: number | undefined;
  readonly flows: number;
  readonly complete: boolean;
}

/** Messages in one batch of the database. */
const batchMessagesMax = 256;
/** Messages of this size together are stored before more are applied: a few ten milliseconds of work. */
const batchBytesMax = 262_144;
const retryInitialMs = 100;
const retryMaxMs = 2_000;
/** Between two requests for the same snapshots. */
const resyncPaceMs = 2_000;

export class ShardReplica {
  readonly #options: ReplicaOptions;
  readonly #waiters = new Waiters();
  readonly #feeds = new Set<FlowFeed>();
  #table = new ShardTable();
  #position: Position | undefined;
  #rebuildingSinceMs: number | undefined;
  #lag: number | undefined;

  constructor(options: ReplicaOptions) {
    this.#options = options;
  }

  get shard(): number {
    return this.#options.shard;
  }

  /** False: nothing is stored of it, and nothing was read from the stream yet. */
  get isStored(): boolean {
    return this.#position !== undefined;
  }

  /** Messages not yet applied; undefined: not known. */
  get lag(): number | undefined {
    return this.#lag;
  }

  get table(): ShardTable {
    return this.#table;
  }

  /** No message that concerns this shard is known to be missing. */
  get complete(): boolean {
    return this.#position !== undefined && this.#rebuildingSinceMs === undefined && this.#table.whole;
  }

  status(): ReplicaStatus {
    return {
      shard: this.#options.shard,
      applied: this.#table.sequence,
      committed: this.#position?.sequence ?? 0n,
      lag: this.#lag,
      flows: this.#table.size,
      complete: this.complete,
    };
  }

  /** True once the position is applied and stored; false when the signal aborts before. */
  async reached(sequence: bigint, signal: AbortSignal): Promise<boolean> {
    if ((this.#position?.sequence ?? 0n) >= sequence) return true;
    return await this.#waiters.wait(sequence, signal);
  }

  /** From now on; {@link table} holds all that came before. */
  subscribe(feed: FlowFeed): Disposable {
    this.#feeds.add(feed);
    return { [Symbol.dispose]: () => void this.#feeds.delete(feed) };
  }

  /** By the newest epoch, flows of these addresses lie in other shards than before. */
  relay(addresses: ReadonlySet<IpAddress>): void {
    for (const feed of [...this.#feeds]) feed.relaid(addresses);
  }

  /** Nobody who waits or watches hears more from this copy. */
  release(): void {
    for (const feed of [...this.#feeds]) feed.moved();
    this.#waiters.giveUp();
  }

  /**
   * Reads what is stored; from then on that is answered, even while the stream is out of reach. Again after a fault of
   * the database: memory was ahead of it.
   */
  async load(): Promise<void> {
    const { table, position } = await this.#read();
    this.#table = table;
    this.#position = position;
    this.#rebuildingSinceMs = position?.rebuilding ? this.#options.clock.monotonicMs() : undefined;
    for (const feed of [...this.#feeds]) feed.reset();
  }

  async #read(): Promise<StoredShard> {
    const { shard, store, log } = this.#options;
    try {
      return await store.load(shard);
    } catch (error) {
      if (!(error instanceof RecordFault)) throw error;
      log.error({ shard, error }, "the stored shard can't be read: it is thrown away and built anew");
      await store.wipe(shard);
      return { table: new ShardTable(), position: undefined };
    }
  }

  /** Follows the stream until the signal aborts. Call {@link load} before. Throws only when the database does. */
  async run(signal: AbortSignal): Promise<void> {
    const asking = setInterval(() => this.#askForSnapshots(), resyncPaceMs);
    try {
      const end = await retry(() => this.#followUntilFault(signal), {
        signal,
        initialMs: retryInitialMs,
        maxMs: retryMaxMs,
        onError: (error) => {
          this.#lag = undefined;
          this.#options.log.warn({ shard: this.#options.shard, error }, "following the event stream was interrupted");
        },
      });
      if (!signal.aborted) throw end;
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      clearInterval(asking);
      this.#lag = undefined;
    }
  }

  /** Throws what trying again may mend, and returns what it can't: after a fault of the database, memory is ahead of it. */
  async #followUntilFault(signal: AbortSignal): Promise<unknown> {
    try {
      return await this.#follow(signal);
    } catch (error) {
      if (error instanceof BusError) throw error;
      return error;
    }
  }

  async #follow(signal: AbortSignal): Promise<Error> {
    const { bus, shard } = this.#options;
    const stream = flowStreamName;
    const subject = flowSubject(shard);
    const range = await this.#compare(signal);
    const last = await bus.lastSequence(stream, subject, signal);
    this.#lag = last > this.#table.sequence ? undefined : 0;
    const from = this.#table.sequence + 1n;
    const wanted = { stream, subject, from, identity: range.identity, signal, batchMax: batchMessagesMax };
    for await (const messages of bus.consume(wanted)) await this.#applyAll(messages);
    return new Error("the bus ended consuming without a reason");
  }

  /** Afterwards what is stored is this stream's past. */
  async #compare(signal: AbortSignal): Promise<StreamRange> {
    const { bus, refill } = this.#options;
    let range = await bus.streamRange(flowStreamName, signal);
    let verdict = await this.#judge(range, signal);
    if (verdict.kind === "rebuild" && (await refill?.(signal)) === true) {
      await this.load();
      // The copy may be younger than what was known of the stream.
      range = await bus.streamRange(flowStreamName, signal);
      verdict = await this.#judge(range, signal);
    }
    if (verdict.kind === "rebuild") await this.#rebuild(range, verdict.reason);
    else if (this.#position === undefined) await this.#begin(false);
    return range;
  }

  async #judge(range: StreamRange, signal: AbortSignal): Promise<StoreVerdict> {
    const applied = this.#position?.sequence ?? 0n;
    const within = applied >= range.first && applied <= range.last;
    const message = within ? await this.#options.bus.messageAt(flowStreamName, applied, signal) : undefined;
    return judgeStore(this.#position, range, message?.data);
  }

  /** Forgets everything but who there is, and asks everyone. */
  async #rebuild(range: StreamRange, reason: string): Promise<void> {
    const { shard, store, log, clock } = this.#options;
    log.warn({ shard, reason }, "the shard is built anew");
    const senders = [...this.#table.senders()].map(({ instance }) => instance);
    this.#table = new ShardTable(range.first - 1n);
    for (const instance of senders) this.#table.awaitSnapshotOf(instance);
    await store.wipe(shard);
    this.#rebuildingSinceMs = clock.monotonicMs();
    await this.#begin(true);
    for (const feed of [...this.#feeds]) feed.reset();
  }

  async #applyAll(messages: readonly BusMessage[]): Promise<void> {
    const { clock, shard, onBatch } = this.#options;
    let startMs = clock.monotonicMs();
    let batch = { messages: 0, changes: 0, skipped: 0 };
    let applied: BusMessage[] = [];
    let bytes = 0;
    for (const [index, message] of messages.entries()) {
      const changes = this.#apply(message);
      batch = {
        messages: batch.messages + 1,
        changes: batch.changes + (changes ?? 0),
        skipped: batch.skipped + (changes === undefined ? 1 : 0),
      };
      applied.push(message);
      bytes += message.data.length;
      if (index < messages.length - 1 && bytes < batchBytesMax) continue;
      await this.#commit(applied, fingerprintOf(message.data));
      this.#lag = message.pending;
      onBatch({ shard, ...batch, tookMs: clock.monotonicMs() - startMs });
      startMs = clock.monotonicMs();
      batch = { messages: 0, changes: 0, skipped: 0 };
      applied = [];
      bytes = 0;
    }
  }

  /** Returns how many flows changed; undefined: it was not understood. */
  #apply({ sequence, data }: BusMessage): number | undefined {
    const { shard, log } = this.#options;
    const applied = applyMessage(this.#table, shard, sequence, data);
    if (applied.kind === "skipped") {
      const { reason } = applied;
      log.error({ shard, sequence: String(sequence), reason }, "a message of the event stream was not understood");
      return undefined;
    }
    if (applied.kind === "dropped") return 0;
    const { instance, resync, changes } = applied;
    if (resync !== undefined) log.warn({ shard, instance, reason: resync }, "a snapshot is needed");
    if (changes.length > 0) for (const feed of [...this.#feeds]) feed.changed(changes, sequence);
    return changes.length;
  }

  async #commit(messages: readonly BusMessage[], fingerprint: Uint8Array): Promise<void> {
    const { store, shard } = this.#options;
    const rebuilding = this.#rebuildingSinceMs !== undefined;
    const position = { sequence: this.#table.sequence, fingerprint, rebuilding };
    const isDue = await store.commit(shard, this.#table, messages, position);
    this.#reach(position);
    if (isDue) await store.checkpoint(shard, this.#table, position);
  }

  /** Stores a table that no message has made. */
  async #begin(rebuilding: boolean): Promise<void> {
    const position = { sequence: this.#table.sequence, fingerprint: new Uint8Array(), rebuilding };
    await this.#options.store.checkpoint(this.#options.shard, this.#table, position);
    this.#reach(position);
  }

  #reach(position: Position): void {
    this.#position = position;
    this.#waiters.reach(position.sequence);
  }

  #askForSnapshots(): void {
    const { bus, shard, clock, rebuildSettleMs } = this.#options;
    // What is still to be applied may hold the snapshots.
    if (this.#lag !== 0) return;
    if (this.#rebuildingSinceMs !== undefined) {
      bus.announce(resyncAllSubject, encodeResyncRequest({ shard, reason: "the tracker builds the shard anew" }));
      // The stored mark goes with the next batch; until then a restart only asks once more.
      if (clock.monotonicMs() >= this.#rebuildingSinceMs + rebuildSettleMs) this.#rebuildingSinceMs = undefined;
    }
    for (const instance of this.#table.brokenSenders())
      bus.announce(resyncSubject(instance), encodeResyncRequest({ shard, reason: "messages are missing" }));
  }
}
