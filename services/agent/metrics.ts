/** The agent's metrics. */
import { Gauge, type Registry } from "prom-client";
import { conntrackUsage } from "../../src/kernel/conntrack.ts";
import type { Agent } from "./agent.ts";
import type { FlowObserver } from "./flow-observer.ts";
import type { UnknownPackets } from "./unknown-packets.ts";

export interface AgentMetricsParts {
  readonly agent: Agent;
  readonly observer: FlowObserver;
  readonly unknownPackets: UnknownPackets;
  readonly connected: () => boolean;
}

export function agentMetrics(registry: Registry, parts: AgentMetricsParts): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `baton_agent_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge("coordinator_connected", "1 while the agent has a stream to a coordinator.", () => (parts.connected() ? 1 : 0));
  gauge("state_generation", "Generation of the state that the kernel has.", () =>
    Number(parts.agent.fence?.generation ?? 0n),
  );
  gauge("state_term", "Term of the coordinator that ordered it.", () => Number(parts.agent.fence?.term ?? 0n));
  gauge(
    "rules_rewritten",
    "Times that rules which somebody had removed were written again.",
    () => parts.agent.rewritten,
  );
  gauge("links", "Channels to other instances.", () => parts.agent.state?.links.length ?? 0);
  gauge("flows", "Live flows that this instance owns.", () => parts.observer.size);
  gauge("lookups_dropped", "Unknown packets not asked about, for too many waited.", () => parts.unknownPackets.dropped);
  gauge("conntrack_entries", "Entries in the connection table.", () => conntrackUsage()?.count ?? 0);
  gauge("conntrack_entries_max", "Entries that the connection table takes.", () => conntrackUsage()?.max ?? 0);
}
