/** One tracker: its copies of the shards that the assignment gives it, on one database and one bus. */
import type { Bus } from "../bus/bus.ts";
import type { IpAddress } from "../flow/address.ts";
import { type Assignment, holdersOf, shardsOf, type Tracker as TrackerName } from "../placement/assignment.ts";
import { shardOf } from "../placement/shard.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { ChangeLog } from "./change-log.ts";
import type { FlowStore } from "./level.ts";
import { type AppliedBatch, type ReplicaStatus, ShardReplica } from "./replica.ts";

export interface TrackerOptions {
  readonly name: string;
  readonly assignment: Assignment;
  readonly bus: Bus;
  readonly store: FlowStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly rebuildSettleMs: number;
  readonly onBatch: (batch: AppliedBatch) => void;
}

export class Tracker {
  readonly assignment: Assignment;
  readonly #replicas: ReadonlyMap<number, ShardReplica>;
  readonly #changes = new Map<number, ChangeLog>();

  constructor(options: TrackerOptions) {
    this.assignment = options.assignment;
    const shards = shardsOf(options.assignment, options.name);
    this.#replicas = new Map(shards.map((shard) => [shard, new ShardReplica({ ...options, shard })]));
    for (const [shard, replica] of this.#replicas) {
      const log = new ChangeLog();
      replica.subscribe(log);
      this.#changes.set(shard, log);
    }
  }

  get shards(): number {
    return this.assignment.holders.length;
  }

  /** Undefined: this tracker does not hold the shard. */
  replica(shard: number): ShardReplica | undefined {
    return this.#replicas.get(shard);
  }

  /** Of a shard that this tracker holds. */
  changesOf(shard: number): ChangeLog {
    const log = this.#changes.get(shard);
    if (log === undefined) throw new RangeError(`shard ${shard} is not held here`);
    return log;
  }

  replicas(): Iterable<ShardReplica> {
    return this.#replicas.values();
  }

  shardOf(address: IpAddress): number {
    return shardOf(address, this.shards);
  }

  /** Who holds the shard, the primary first. */
  holdersOf(shard: number): readonly TrackerName[] {
    return holdersOf(this.assignment, shard);
  }

  status(): ReplicaStatus[] {
    return [...this.#replicas.values()].map((replica) => replica.status());
  }

  /** Reads what is stored of every shard, so that it can be answered from. Throws when the database fails. */
  async load(): Promise<void> {
    for (const replica of this.#replicas.values()) await replica.load();
  }

  /** Follows every shard until the signal aborts. Throws when the database fails; then all of them have stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    const runs = [...this.#replicas.values()].map(async (replica) => {
      try {
        await replica.run(stop);
      } catch (error) {
        failed.abort(error);
      }
    });
    await Promise.all(runs);
    if (failed.signal.aborted) throw failed.signal.reason;
  }
}
