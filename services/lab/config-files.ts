/** The configuration of every service in a lab: the one place that knows their settings and ports. Pure. */
import { stringify } from "yaml";
import { fabricPrefixes, firstPublicAddresses, probeSource, publicPrefixes } from "./addresses.ts";
import type { LabDirectory } from "./directory.ts";
import { fabricAddress, type Host, hostsOf, type LabPlan, type Service } from "./plan.ts";
import type { HealthPort } from "./readiness.ts";

const coordinatorPort = 7400;
const trackerPort = 7410;
const gossipPort = 7420;
const adminPort = 9464;
const natsPort = 4222;
const natsClusterPort = 6222;
const natsMonitorPort = 8222;

/** Within its host's namespace, on loopback. */
export function healthPortOf(service: Service): HealthPort {
  return service.kind === "nats" ? { port: natsMonitorPort, path: "/healthz" } : { port: adminPort, path: "/readyz" };
}

/** Endpoints of all coordinators for programs outside the namespaces. */
export function outsideEndpoints(plan: LabPlan, directory: LabDirectory): readonly string[] {
  return hostsOf(plan, "coordinator").map((host) => `unix:${directory.socket(host.name)}`);
}

export function renderConfig(plan: LabPlan, directory: LabDirectory, service: Service, host: Host): string {
  switch (service.kind) {
    case "nats":
      return natsConfig(plan, directory, host);
    case "agent":
      return stringify(agentConfig(plan, directory, host));
    case "gateway":
      return stringify(gatewayConfig(plan, directory, host));
    case "tracker":
      return stringify(trackerConfig(plan, directory, host));
    case "coordinator":
      return stringify(coordinatorConfig(plan, directory, host));
    default:
      return service.kind satisfies never;
  }
}

function agentConfig(plan: LabPlan, directory: LabDirectory, host: Host): object {
  return {
    name: host.name,
    coordinators: endpointsOf(plan, "coordinator", coordinatorPort),
    trackers: endpointsOf(plan, "tracker", trackerPort),
    nats: natsClient(plan),
    privateAddresses: host.cables.flatMap((cable) => cable.numbers.map((number) => number.ipv4)),
    stateDirectory: directory.data(host.name),
    ...(mayHost(plan, host) && { hosting: { stream: { replicas: replicasOf(plan) }, gossip: gossip(plan, host) } }),
    admin,
  };
}

function mayHost(plan: LabPlan, host: Host): boolean {
  return hostsOf(plan, "instance").indexOf(host) < plan.options.hosting;
}

function gatewayConfig(plan: LabPlan, directory: LabDirectory, host: Host): object {
  return {
    name: host.name,
    coordinators: endpointsOf(plan, "coordinator", coordinatorPort),
    publicDevice: "eth0",
    fabricDevice: "eth1",
    publicPrefixes: [...publicPrefixes],
    stateDirectory: directory.data(host.name),
    admin,
  };
}

function trackerConfig(plan: LabPlan, directory: LabDirectory, host: Host): object {
  return {
    name: host.name,
    listen: [`${fabricAddress(host)}:${trackerPort}`, `unix:${directory.socket(host.name)}`],
    trackers: hostsOf(plan, "tracker").map((tracker) => ({
      name: tracker.name,
      endpoint: `${fabricAddress(tracker)}:${trackerPort}`,
    })),
    nats: natsClient(plan),
    dataDirectory: directory.data(host.name),
    stream: { replicas: replicasOf(plan) },
    gossip: gossip(plan, host),
    admin,
  };
}

function coordinatorConfig(plan: LabPlan, directory: LabDirectory, host: Host): object {
  const instances = hostsOf(plan, "instance");
  return {
    name: host.name,
    listen: [`${fabricAddress(host)}:${coordinatorPort}`, `unix:${directory.socket(host.name)}`],
    trackers: endpointsOf(plan, "tracker", trackerPort),
    nats: natsClient(plan),
    fabric: [...fabricPrefixes],
    publicPrefixes: [...publicPrefixes],
    probeSource,
    addresses: firstPublicAddresses
      .slice(0, instances.length)
      .map((address, index) => ({ address, instance: instances[index]?.name })),
    store: { replicas: replicasOf(plan) },
    gossip: gossip(plan, host),
    admin,
  };
}

const admin = { listen: `127.0.0.1:${adminPort}` };

/** Everybody is a seed: whoever is there first is found by the others. */
function gossip(plan: LabPlan, host: Host): object {
  return {
    listen: `${fabricAddress(host)}:${gossipPort}`,
    seeds: (["tracker", "coordinator"] as const).flatMap((role) => endpointsOf(plan, role, gossipPort)),
    label: plan.options.name,
    // Its machines share one host's processors: by `host` all would be as busy as the busiest.
    load: ["loop", "delay"],
  };
}

function natsClient(plan: LabPlan): { servers: string[] } {
  return { servers: endpointsOf(plan, "nats", natsPort) };
}

/** JetStream keeps odd numbers of copies. */
function replicasOf(plan: LabPlan): 1 | 3 {
  return plan.options.nats >= 3 ? 3 : 1;
}

function endpointsOf(plan: LabPlan, role: "coordinator" | "tracker" | "nats", port: number): string[] {
  return hostsOf(plan, role).map((host) => `${fabricAddress(host)}:${port}`);
}

/** In nats-server's own format. A cluster only where there are several: alone, JetStream would wait for the others. */
function natsConfig(plan: LabPlan, directory: LabDirectory, host: Host): string {
  const lines = [
    `server_name: ${host.name}`,
    `listen: "0.0.0.0:${natsPort}"`,
    `http: "127.0.0.1:${natsMonitorPort}"`,
    `jetstream { store_dir: "${directory.data(host.name)}", max_memory_store: 64MB, max_file_store: 16GB }`,
  ];
  if (plan.options.nats > 1) {
    const routes = endpointsOf(plan, "nats", natsClusterPort).map((endpoint) => `"nats://${endpoint}"`);
    lines.push(
      `cluster { name: ${plan.options.name}, listen: "${fabricAddress(host)}:${natsClusterPort}", routes: [${routes.join(", ")}] }`,
    );
  }
  return `${lines.join("\n")}\n`;
}
