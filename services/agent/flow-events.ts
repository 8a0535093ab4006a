/** How an agent's flow events come to be: the bus, the publisher, the observer, and what can be measured of them. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Gauge, type Registry } from "prom-client";
import { FlowPublisher } from "../../src/bus/flow-publisher.ts";
import { connectBus } from "../../src/bus/nats.ts";
import { Layouts } from "../../src/placement/layouts.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import type { AgentConfig } from "./config.ts";
import { FlowObserver } from "./flow-observer.ts";
import type { HostListings } from "./host-listings.ts";

export interface FlowEvents {
  readonly observer: FlowObserver;
  readonly publisher: FlowPublisher;
}

export interface FlowEventsParts {
  readonly config: AgentConfig;
  readonly boot: Uint8Array;
  readonly listings: HostListings;
  readonly log: Logger;
}

export function openFlowEvents(parts: FlowEventsParts, resources: AsyncDisposableStack): FlowEvents {
  const { config, boot, listings, log } = parts;
  const bus = resources.use(connectBus({ servers: config.nats.servers, name: `agent ${config.name}` }));
  const { name: instance, shards } = config;
  const layouts = new Layouts(shards);
  const publisher = resources.use(
    new FlowPublisher({
      bus,
      instance,
      shards,
      layouts,
      boot,
      flush: config.events,
      bufferedMax: config.events.waitingMax,
      digestOf: (shard) => observer.digestOf(shard),
      onSnapshotNeeded: (shard, reason) => observer.publishShard(shard, reason),
      onError: (error) => log.warn({ error }, "flow events wait for the bus"),
    }),
  );
  const observer = new FlowObserver({ instance, shards, layouts, listings, sink: publisher, clock: systemClock, log });
  return { observer, publisher };
}

const delayResolutionMs = 5;
const nanosecondsPerSecond = 1e9;

export function flowEventMetrics(registry: Registry, { observer, publisher }: FlowEvents): void {
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
  gauge("flows_opened", "Connections opened since the agent has started.", () => observer.openedEver);
  gauge("flow_overflows", "Times that the kernel had more events than it could hand over.", () => observer.overflows);
  gauge("flow_messages", "Messages of flow events stored since the agent has started.", () => publisher.messages);
  gauge("flow_changes_waiting", "Changes of flows that wait for the bus.", () => publisher.buffered);
  gauge(
    "flow_changes_dropped",
    "Changes of flows that found no room, made up for by snapshots.",
    () => publisher.dropped,
  );
  gauge("flow_window_seconds", "How long changes gather now.", () => publisher.windowMs / 1_000);
  gauge(
    "cluster_flow_messages_per_second",
    "Of all instances together, as this one's own messages show.",
    () => publisher.clusterMessagesPerSecond,
  );
  const delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
  delay.enable();
  gauge("event_loop_delay_max_seconds", "Longest time that the event loop was held, since this was asked last.", () => {
    const longest = delay.max / nanosecondsPerSecond - delayResolutionMs / 1_000;
    delay.reset();
    return Math.max(0, longest);
  });
}
