/**
 * One tracker: its copies of shards, on one database and one bus, as the newest epoch wants them.
 *
 * It follows the epochs that it is told of, the highest number first; how a copy comes and goes is hosted-shard.ts's.
 */
import type { Bus } from "../bus/bus.ts";
import { type Assignment, holdersOf, shardsOf, type Tracker as TrackerName } from "../placement/assignment.ts";
import { changedLayouts } from "../placement/layout.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { Permits } from "../runtime/permits.ts";
import type { ChangeLog } from "./change-log.ts";
import { type Epochs, HostedShard, type HostedStatus } from "./hosted-shard.ts";
import type { FlowStore } from "./level.ts";
import type { ReplicaPhase } from "./life.ts";
import type { Peers } from "./peers.ts";
import type { AppliedBatch, ShardReplica } from "./replica.ts";

export interface TrackerOptions {
  readonly name: string;
  /** Where others reach it. */
  readonly endpoint: string;
  /** Of the cluster, for its whole life. */
  readonly shards: number;
  readonly bus: Bus;
  readonly store: FlowStore;
  readonly peers: Peers;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rebuildSettleMs: number;
  readonly onBatch: (batch: AppliedBatch) => void;
  readonly onPhase?: (shard: number, phase: ReplicaPhase) => void;
}

/** Who is to be asked instead. */
export interface Elsewhere {
  /** Of the newest epoch that is known here; undefined: none. */
  readonly epoch: bigint | undefined;
  /** Undefined: nobody is known to answer. */
  readonly tracker: TrackerName | undefined;
}

/** Shards that one tracker copies from others at a time: each is read there and written here while both have other work. */
export const handoffsMax = 2;

export class Tracker {
  readonly #options: TrackerOptions;
  readonly #handoffs = new Permits(handoffsMax);
  readonly #hosted = new Map<number, HostedShard>();
  #epochs: Epochs | undefined;
  #running:
    | { readonly stop: AbortSignal; readonly fail: (error: unknown) => void; readonly tasks: Set<Promise<void>> }
    | undefined;

  constructor(options: TrackerOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.name;
  }

  get endpoint(): string {
    return this.#options.endpoint;
  }

  get shards(): number {
    return this.#options.shards;
  }

  /** The newest that it was told of. */
  get assignment(): Assignment | undefined {
    return this.#epochs?.current;
  }

  /** From now on. `earlier`: newest first; who held a shard then may still have it. An older epoch changes nothing. */
  adopt(current: Assignment, earlier: readonly Assignment[] = []): void {
    if (this.#epochs !== undefined && current.epoch < this.#epochs.current.epoch) return;
    const relaid = changedLayouts(this.#epochs?.current.layouts, current.layouts);
    this.#epochs = { current, earlier };
    if (relaid.size > 0) for (const { replica } of this.#hosted.values()) replica.relay(relaid);
    const named = new Set(shardsOf(current, this.name));
    for (const [shard, hosted] of [...this.#hosted]) hosted.heed(named.has(shard) ? "named" : "unnamed");
    for (const shard of named) if (!this.#hosted.has(shard)) this.#host(shard);
    for (const hosted of this.#hosted.values()) this.#begin(hosted);
  }

  /** Undefined: this tracker does not answer for the shard. */
  replica(shard: number): ShardReplica | undefined {
    const hosted = this.#hosted.get(shard);
    return this.#epochs !== undefined && hosted?.answers ? hosted.replica : undefined;
  }

  /** Of a shard that this tracker answers for. */
  changesOf(shard: number): ChangeLog {
    const hosted = this.#hosted.get(shard);
    if (hosted === undefined) throw new RangeError(`shard ${shard} is not held here`);
    return hosted.changes;
  }

  /** False: what is not found here may be with another, or in messages that are still to be applied. */
  isUpToDate(shard: number): boolean {
    return this.#hosted.get(shard)?.isUpToDate ?? false;
  }

  /** Of the shards that it answers for. */
  replicas(): ShardReplica[] {
    return [...this.#hosted.keys()].sort((a, b) => a - b).flatMap((shard) => this.replica(shard) ?? []);
  }

  /** Who answers for a shard that this tracker doesn't answer for. */
  elsewhere(shard: number): Elsewhere {
    if (this.#epochs === undefined) return { epoch: undefined, tracker: undefined };
    const { current } = this.#epochs;
    const giver = this.#hosted.get(shard)?.giver;
    const tracker = giver ?? holdersOf(current, shard).find(({ name }) => name !== this.name);
    return { epoch: current.epoch, tracker };
  }

  /** In the order of shards. */
  status(): HostedStatus[] {
    return [...this.#hosted.values()].map((hosted) => hosted.status()).sort((a, b) => a.shard - b.shard);
  }

  /** Reads what is stored of every shard, so that it can be answered from. Throws when the database fails. */
  async load(): Promise<void> {
    for (const shard of await this.#options.store.shards()) if (!this.#hosted.has(shard)) this.#host(shard);
    for (const hosted of [...this.#hosted.values()]) await hosted.load();
    if (this.#epochs !== undefined) this.adopt(this.#epochs.current, this.#epochs.earlier);
  }

  /** Follows every shard until the signal aborts. Throws when the database fails; then all of them have stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    const tasks = new Set<Promise<void>>();
    const { promise: stopped, resolve } = Promise.withResolvers<void>();
    stop.addEventListener("abort", () => resolve(), { once: true });
    this.#running = { stop, fail: (error) => failed.abort(error), tasks };
    try {
      for (const hosted of this.#hosted.values()) this.#begin(hosted);
      if (!stop.aborted) await stopped;
    } finally {
      this.#running = undefined;
    }
    await Promise.all(tasks);
    if (failed.signal.aborted) throw failed.signal.reason;
  }

  #host(shard: number): void {
    const { onPhase, name, ...parts } = this.#options;
    const hosted = new HostedShard({
      ...parts,
      self: name,
      shard,
      handoffs: this.#handoffs,
      epochs: () => this.#epochs,
      onPhase: (of, phase) => onPhase?.(of, phase),
    });
    this.#hosted.set(shard, hosted);
  }

  readonly #begun = new WeakMap<HostedShard, object>();

  /** Once in every run. A copy that has gone makes room for the next one. */
  #begin(hosted: HostedShard): void {
    const running = this.#running;
    if (running === undefined || this.#epochs === undefined || this.#begun.get(hosted) === running) return;
    this.#begun.set(hosted, running);
    const live = async (): Promise<void> => {
      try {
        await hosted.run(running.stop);
        if (hosted.phase === "gone" && !running.stop.aborted) this.#remove(hosted);
      } catch (error) {
        running.fail(error);
      }
    };
    const task = live().finally(() => running.tasks.delete(task));
    running.tasks.add(task);
  }

  #remove(hosted: HostedShard): void {
    this.#hosted.delete(hosted.shard);
    if (this.#epochs !== undefined) this.adopt(this.#epochs.current, this.#epochs.earlier);
  }
}
