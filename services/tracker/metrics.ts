/** The tracker's metrics: how much it applies, how far behind it is, what it is asked. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { HostedStatus } from "../../src/tracker/hosted-shard.ts";
import { replicaPhases } from "../../src/tracker/life.ts";
import type { AppliedBatch } from "../../src/tracker/replica.ts";
import type { StoreFaultKind } from "../../src/tracker/store-fault.ts";

export interface TrackerMetrics {
  readonly registry: Registry;
  applied(batch: AppliedBatch): void;
  lookedUp(keys: number): void;
  storeFailed(kind: StoreFaultKind): void;
  epochMalformed(): void;
}

export interface TrackerState {
  readonly shards: () => readonly HostedStatus[];
  /** Undefined: none is known. */
  readonly epoch: () => bigint | undefined;
}

const batchSeconds = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2];

export function trackerMetrics({ shards: status, epoch }: TrackerState): TrackerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const perShard = (name: string, help: string, read: (shard: HostedStatus) => number | undefined): void => {
    new Gauge({
      name,
      help,
      labelNames: ["shard"],
      registers,
      collect() {
        this.reset();
        for (const shard of status()) {
          const value = read(shard);
          if (value !== undefined) this.set({ shard: shard.shard }, value);
        }
      },
    });
  };
  perShard("baton_tracker_lag_messages", "Messages of the stream not yet applied; absent: not known.", (it) => it.lag);
  perShard("baton_tracker_flows", "Live flows.", (it) => it.flows);
  perShard("baton_tracker_complete", "0: messages are missing, and snapshots are awaited.", (it) =>
    it.complete ? 1 : 0,
  );
  new Gauge({
    name: "baton_tracker_shards",
    help: "Copies of shards here, by phase of their life.",
    labelNames: ["phase"],
    registers,
    collect() {
      const all = status();
      for (const phase of replicaPhases) this.set({ phase }, all.filter((it) => it.phase === phase).length);
    },
  });
  new Gauge({
    name: "baton_tracker_epoch",
    help: "Number of the assignment that it goes by; 0: none.",
    registers,
    collect() {
      this.set(Number(epoch() ?? 0n));
    },
  });
  const malformed = new Counter({
    name: "baton_tracker_epochs_malformed_total",
    help: "Epoch records that could not be read, and were stepped over.",
    registers,
  });
  const messages = new Counter({
    name: "baton_tracker_messages_total",
    help: "Messages applied and stored.",
    registers,
  });
  const skipped = new Counter({
    name: "baton_tracker_messages_skipped_total",
    help: "Messages that were not understood, and stepped over.",
    registers,
  });
  const changes = new Counter({ name: "baton_tracker_changes_total", help: "Changes of flows applied.", registers });
  const keys = new Counter({ name: "baton_tracker_looked_up_total", help: "Keys asked for in look-ups.", registers });
  const faults = new Counter({
    name: "baton_tracker_store_faults_total",
    help: "Times that the database failed, by what ails it.",
    labelNames: ["kind"],
    registers,
  });
  const duration = new Histogram({
    name: "baton_tracker_batch_seconds",
    help: "Time to apply and store one batch of messages.",
    buckets: batchSeconds,
    registers,
  });
  return {
    registry,
    applied(batch) {
      messages.inc(batch.messages);
      changes.inc(batch.changes);
      skipped.inc(batch.skipped);
      duration.observe(batch.tookMs / 1_000);
    },
    lookedUp: (count) => keys.inc(count),
    storeFailed: (kind) => faults.inc({ kind }),
    epochMalformed: () => malformed.inc(),
  };
}
