/** What a tracker asks of others: a port; rpc/tracker-peers.ts implements it. */
import type { ReplicaPhase } from "./life.ts";

export interface PeerReplica {
  readonly phase: ReplicaPhase;
  /** Messages not yet applied; undefined: not known. */
  readonly lag: number | undefined;
  readonly flows: number;
  readonly complete: boolean;
  /** Stream sequence applied and stored. */
  readonly applied: bigint;
}

export interface PeerReport {
  readonly name: string;
  readonly endpoint: string;
  /** 0: it knows none yet. */
  readonly epoch: bigint;
  /** By shard. */
  readonly replicas: ReadonlyMap<number, PeerReplica>;
}

/** A row of another tracker's database, as its disk has it. */
export interface ShardRow {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface Peers {
  /** Undefined: it does not answer. No shards: all of them. Throws the abort reason. */
  report(endpoint: string, shards: readonly number[], signal: AbortSignal): Promise<PeerReport | undefined>;
  /** All rows of a shard as of one position, in parts. Throws when they don't all come. */
  rows(endpoint: string, shard: number, signal: AbortSignal): AsyncIterable<readonly ShardRow[]>;
}
