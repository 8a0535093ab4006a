/** What a node tells Prometheus: memberlist's figures, under names of ours. Read when asked, never pushed. */
import { Counter, Gauge, type Registry } from "prom-client";
import { memberStates } from "../member.ts";
import type { Gossip } from "./node.ts";

interface Counted {
  readonly name: string;
  readonly help: string;
  readonly read: (gossip: Gossip) => number;
}

const counted: readonly Counted[] = [
  { name: "probes_total", help: "Probes begun", read: ({ counters }) => counters.probes },
  {
    name: "probes_indirect_total",
    help: "Probes that needed helpers",
    read: ({ counters }) => counters.indirectProbes,
  },
  { name: "probes_failed_total", help: "Probes that nothing answered", read: ({ counters }) => counters.probesFailed },
  {
    name: "probes_rescued_total",
    help: "Members that answer TCP and not UDP: is UDP blocked?",
    read: ({ counters }) => counters.streamRescues,
  },
  { name: "suspicions_total", help: "Members that came under suspicion", read: ({ counters }) => counters.suspicions },
  { name: "deaths_total", help: "Members concluded to be dead", read: ({ counters }) => counters.deaths },
  { name: "refutations_total", help: "Accusations of ourselves refuted", read: ({ counters }) => counters.refutations },
  { name: "conflicts_total", help: "Claims of a name that is taken", read: ({ counters }) => counters.conflicts },
  {
    name: "members_refused_total",
    help: "Members that were one too many, or speak no version that we speak",
    read: ({ counters }) => counters.refusedMembers,
  },
  { name: "stalls_total", help: "Steps late by our own fault", read: ({ counters }) => counters.stalls },
  { name: "push_pulls_total", help: "Views compared over TCP", read: ({ counters }) => counters.pushPulls },
  {
    name: "push_pulls_failed_total",
    help: "Views that could not be compared",
    read: ({ counters }) => counters.pushPullsFailed,
  },
  { name: "packets_sent_total", help: "UDP packets sent", read: ({ traffic }) => traffic.packetsSent },
  { name: "packets_received_total", help: "UDP packets received", read: ({ traffic }) => traffic.packetsReceived },
  { name: "packets_dropped_total", help: "UDP packets not sent", read: ({ traffic }) => traffic.packetsDropped },
  { name: "packet_bytes_sent_total", help: "UDP bytes sent", read: ({ traffic }) => traffic.packetBytesSent },
  {
    name: "packet_bytes_received_total",
    help: "UDP bytes received",
    read: ({ traffic }) => traffic.packetBytesReceived,
  },
  { name: "stream_bytes_sent_total", help: "TCP bytes sent", read: ({ traffic }) => traffic.streamBytesSent },
  {
    name: "stream_bytes_received_total",
    help: "TCP bytes received",
    read: ({ traffic }) => traffic.streamBytesReceived,
  },
  { name: "streams_refused_total", help: "Streams beyond the limit", read: ({ traffic }) => traffic.streamsRefused },
  {
    name: "events_missed_total",
    help: "Events that a slow consumer has missed",
    read: (gossip) => gossip.eventsMissed,
  },
];

const prefix = "baton_gossip_";

export function registerGossipMetrics(gossip: Gossip, registry: Registry): void {
  const registers = [registry];
  for (const { name, help, read } of counted)
    new Counter({
      name: `${prefix}${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(read(gossip));
      },
    });
  new Counter({
    name: `${prefix}refused_total`,
    help: "Packets and frames that were no messages of ours",
    labelNames: ["fault"],
    registers,
    collect() {
      this.reset();
      for (const [fault, count] of Object.entries(gossip.refused)) this.inc({ fault }, count);
    },
  });
  new Gauge({
    name: `${prefix}members`,
    help: "Members by what is believed of them, ourselves among them",
    labelNames: ["state"],
    registers,
    collect() {
      const members = gossip.members();
      for (const state of memberStates) this.set({ state }, members.filter((member) => member.state === state).length);
    },
  });
  new Gauge({
    name: `${prefix}health_score`,
    help: "Local health: 0 is well, 7 is worst",
    registers,
    collect() {
      this.set(gossip.awareness);
    },
  });
  new Gauge({
    name: `${prefix}rumours_queued`,
    help: "Rumours that are still being told",
    registers,
    collect() {
      this.set(gossip.rumoursQueued);
    },
  });
}
