/** What is measured of trackers and their peers. */
import type { Comparison } from "../ratio.ts";

export interface Ingest extends Comparison {
  readonly peerName: string;
  /** Processor time for a flow, of all processes that take part; medians. */
  readonly subjectMicros: number;
  readonly peerMicros: number;
}

export interface Lookups {
  readonly subject: string;
  readonly keysEach: number;
  readonly inFlight: number;
  readonly keysPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time for a key: of whoever asks, and of a process that is asked. */
  readonly clientMicros: number;
  readonly serverMicros?: number;
}

export interface Footprint {
  readonly subject: string;
  /** With all flows, beyond what it takes without any; `Anonymous`: without the files that it has mapped. */
  readonly bytesPerFlow: number;
  readonly anonymousBytesPerFlow: number;
  /** Of a process that was started again after a SIGKILL. */
  readonly bytesPerFlowAfterRestart: number;
  /** From its start to its first answer. */
  readonly recoveryMs: number;
  /** The same of a process that has no flows. */
  readonly emptyStartMs: number;
}

export interface TrackerResult {
  readonly bench: "tracker";
  readonly flows: number;
  readonly ingestFlows: number;
  readonly redis: string;
  /** Flows a second; `ratio`: of the tracker's to the peer's. */
  readonly ingest: readonly Ingest[];
  readonly lookups: readonly Lookups[];
  readonly footprints: readonly Footprint[];
  /** To read all of the tracker's database with LevelDB alone, in this process. */
  readonly levelReadMs: number;
}

export const subjects = {
  tracker: "tracker, gRPC over loopback",
  table: "tracker's table, without gRPC",
  level: "classic-level alone, in process",
  redis: "redis-server, unix socket",
} as const;
export const peers = {
  batch: "classic-level, batch([…])",
  chained: "classic-level, chained",
  redis: "redis-server",
} as const;
