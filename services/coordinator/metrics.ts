/** What a coordinator tells Prometheus. */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Leader } from "../../src/coordinator/leader.ts";
import type { Move } from "../../src/placement/move.ts";
import { type Remap, remapPhases } from "../../src/remap/remap.ts";

const switchBucketsMs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000];
const storeBucketsMs = [1, 2, 5, 10, 20, 50, 100, 500, 1_000];

export interface CoordinatorMetrics {
  readonly registry: Registry;
  noteRemap(remap: Remap): void;
  noteWrite(ms: number): void;
  /** A message of remaps or the audit found no room. */
  noteDrop(): void;
  noteMove(move: Move): void;
}

export interface CoordinatorGauges {
  readonly leader: () => Leader | undefined;
  /** The newest that is known; undefined: none. */
  readonly epoch: () => bigint | undefined;
}

export function coordinatorMetrics(present: CoordinatorGauges): CoordinatorMetrics {
  const registry = new Registry();
  const registers = [registry];
  gauges(present, registers);
  const moves = new Counter({
    name: "baton_placement_moves_total",
    help: "Copies and primaries of shards that this coordinator has placed anew, by reason",
    labelNames: ["reason"],
    registers,
  });
  const switches = new Histogram({
    name: "baton_switch_ms",
    help: "First gateway told to flip until the source's last acknowledgement, milliseconds",
    buckets: switchBucketsMs,
    registers,
  });
  const ended = new Counter({
    name: "baton_remaps_ended_total",
    help: "Remaps that ended, by outcome",
    labelNames: ["outcome"],
    registers,
  });
  const writes = new Histogram({
    name: "baton_store_write_ms",
    help: "Time for a write to be acknowledged by the store, milliseconds",
    buckets: storeBucketsMs,
    registers,
  });
  const dropped = new Counter({
    name: "baton_events_dropped_total",
    help: "Messages of remaps and the audit that found no room while NATS did not take them",
    registers,
  });
  const measured = new Set<string>();
  return {
    registry,
    noteRemap(remap) {
      if (remap.switchMs !== undefined && !measured.has(remap.id)) {
        measured.add(remap.id);
        switches.observe(remap.switchMs);
      }
      if (remap.outcome === undefined) return;
      measured.delete(remap.id);
      ended.inc({ outcome: remap.outcome });
    },
    noteWrite: (ms) => writes.observe(ms),
    noteDrop: () => dropped.inc(),
    noteMove: ({ reason }) => moves.inc({ reason: reason.kind }),
  };
}

function gauges({ leader, epoch }: CoordinatorGauges, registers: Registry[]): void {
  new Gauge({
    name: "baton_leading",
    help: "1 while this coordinator leads",
    registers,
    collect() {
      this.set(leader() === undefined ? 0 : 1);
    },
  });
  new Gauge({
    name: "baton_remaps",
    help: "Remaps by phase, as the leader knows them",
    labelNames: ["phase"],
    registers,
    collect() {
      const remaps = [...(leader()?.cluster.remaps.values() ?? [])];
      for (const phase of remapPhases)
        this.set({ phase }, remaps.filter(({ record }) => record.phase.kind === phase).length);
    },
  });
  new Gauge({
    name: "baton_node_streams",
    help: "Nodes that are connected, by kind",
    labelNames: ["kind"],
    registers,
    collect() {
      const nodes = [...(leader()?.cluster.nodes.values() ?? [])].filter(({ connected }) => connected);
      for (const kind of ["agent", "gateway"]) this.set({ kind }, nodes.filter((node) => node.kind === kind).length);
    },
  });
  new Gauge({
    name: "baton_nodes_held_back",
    help: "Nodes that get no orders, for the store can't explain their states",
    registers,
    collect() {
      this.set(leader()?.cluster.unexplained().length ?? 0);
    },
  });
  new Gauge({
    name: "baton_epoch",
    help: "Newest assignment of shards that it knows",
    registers,
    collect() {
      this.set(Number(epoch() ?? 0n));
    },
  });
}
