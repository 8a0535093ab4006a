/** Metrics of an agent that may host a tracker; the tracker's own are at its own admin port, where it has one. */
import { Gauge, type Registry } from "prom-client";
import type { Hosting } from "./hosting.ts";

export function hostingMetrics(registry: Registry, hosting: Hosting): void {
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `baton_agent_hosting_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  const { tracker } = hosting;
  gauge("tracker_running", "1 while the tracker beside the agent runs and answers.", () => (tracker.report ? 1 : 0));
  gauge("tracker_needed", "1 while it is named by an epoch, or has copies to give away.", () =>
    Number(tracker.isNeeded),
  );
  gauge("tracker_deaths", "Times that it has died since the agent has started.", () => tracker.restarts.total);
  gauge("shards", "Shards whose copies are here, or are to be.", () => hosting.report().shards.length);
  gauge("draining", "1 while this host gives its shards away.", () =>
    Number(hosting.report().readiness === "draining"),
  );
  gauge("epoch", "Number of the newest assignment that is known; 0: none.", () =>
    Number(hosting.epochs.current?.epoch ?? 0n),
  );
  hosting.registerGossip(registry);
}
