/** The gateway's metrics: what the kernel has counted, and what the control plane is at. */
import { Counter, Gauge, Registry } from "prom-client";
import { type GatewayCounter, gatewayCounters } from "../../src/dataplane/gateway-ruleset.ts";
import type { NodeStatus } from "../../src/node/status.ts";

export interface MetricSources {
  /** Since the table was made. */
  counters(): Readonly<Partial<Record<GatewayCounter, number>>>;
  status(): NodeStatus;
  connected(): boolean;
  rewritten(): number;
}

const names = Object.keys(gatewayCounters) as GatewayCounter[];

/** Everything is read when somebody asks; what the kernel no longer counts from the start begins at zero again. */
export function gatewayMetrics(sources: MetricSources): Registry {
  const registry = new Registry();
  const registers = [registry];
  new Counter({
    name: "baton_gateway_packets_total",
    help: `Packets by fate: ${names.map((name) => `${name}: ${gatewayCounters[name]}`).join("; ")}.`,
    labelNames: ["fate"],
    registers,
    collect() {
      this.reset();
      const counts = sources.counters();
      for (const fate of names) this.inc({ fate }, counts[fate] ?? 0);
    },
  });
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  };
  gauge("baton_gateway_generation", "Generation of the state in the kernel; 0: none.", () =>
    Number(sources.status().applied?.generation ?? 0n),
  );
  gauge("baton_gateway_faults", "What of the newest state could not be done.", () => sources.status().faults.length);
  gauge("baton_gateway_stream_up", "1: connected to a coordinator.", () => (sources.connected() ? 1 : 0));
  gauge("baton_gateway_rules_rewritten", "Times that rules which somebody had removed were written again.", () =>
    sources.rewritten(),
  );
  return registry;
}
