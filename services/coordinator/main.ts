/** A coordinator's process: the store, the trackers, the answers. */
import { randomBytes } from "node:crypto";
import { KvBucket } from "../../src/bus/kv.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { ClusterEvents } from "../../src/cluster/events.ts";
import { ClusterMembership } from "../../src/cluster/membership.ts";
import { Coordinator } from "../../src/coordinator/coordinator.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import { type Layout, layoutOf } from "../../src/placement/layout.ts";
import { coordinatorFlowService } from "../../src/rpc/coordinator-flows.ts";
import { coordinatorServices } from "../../src/rpc/coordinator-server.ts";
import { nodeService } from "../../src/rpc/node-stream.ts";
import { serveGrpc } from "../../src/rpc/server.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { retry } from "../../src/runtime/retry.ts";
import { version } from "../../src/runtime/version.ts";
import { ClusterCalls } from "./cluster-calls.ts";
import { type CoordinatorConfig, coordinatorConfigSchema } from "./config.ts";
import { type CoordinatorMetrics, coordinatorMetrics } from "./metrics.ts";
import { placeShards } from "./placing.ts";
import { Publishing } from "./publishing.ts";
import { settleLayouts } from "./settling.ts";
import { flowAges, trackerPort } from "./trackers.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  readonly signal: AbortSignal;
}

const retryInitialMs = 100;
const retryMaxMs = 2_000;
const processIdBytes = 8;
const leaseIdBytes = 12;
const remapIdBytes = 5;

/** The process's exit code. */
export async function run(options: RunOptions): Promise<number> {
  const loaded = loadConfig(coordinatorConfigSchema, options.configFile, process.env);
  if (!loaded.ok) {
    process.stderr.write(`${loaded.errors.join("\n")}\n`);
    return 2;
  }
  if (options.printConfig) {
    process.stdout.write(printConfig(coordinatorConfigSchema, loaded.value));
    return 0;
  }
  const log = createLog({ service: "coordinator", name: loaded.value.name, level: loaded.value.log.level });
  await serve(loaded.value, log, options.signal);
  return 0;
}

async function serve(config: CoordinatorConfig, log: Logger, signal: AbortSignal): Promise<void> {
  await using bus = connectBus({ servers: config.nats.servers, name: `coordinator ${config.name}` });
  using trackers = new TrackerClient(config.trackers);
  using peers = new TrackerPeers();
  const epochs = new KvEpochLog({
    bus,
    replicas: config.store.replicas,
    shards: config.shards,
    log,
    onMalformed: (key, reason) => log.error({ key, reason }, "an epoch record can't be read, and is stepped over"),
  });
  const processId = randomBytes(processIdBytes).toString("hex");
  const metrics: CoordinatorMetrics = coordinatorMetrics({
    leader: () => coordinator.leader,
    epoch: () => epochs.current?.epoch,
  });
  const layout = (address: IpAddress): Layout => layoutOf(coordinator.leader?.cluster.layouts, address);
  const publishing = new Publishing({ config, bus, layout, processId, metrics, log });
  const endpoint = config.advertise ?? config.listen[0] ?? "";
  const coordinator = assemble({ config, bus, trackers, processId, endpoint, publishing, metrics, log });
  const onBug = (error: unknown): void => log.error({ error }, "a call failed");
  const { name, gossip: section } = config;
  await using membership = await ClusterMembership.open({
    name,
    roles: ["coordinator"],
    services: { grpc: endpoint },
    section,
    log,
  });
  membership.register(metrics.registry);
  const calls = new ClusterCalls({
    coordinator,
    epochs,
    peers,
    trackerEndpoints: config.trackers,
    bus,
    membership,
    audit: (action, entry) => publishing.feed.audit({ action, entry, atMs: systemClock.nowMs() }),
  });
  const ready = (): string[] => reasonsNotReady(bus, coordinator);
  await using _server = await serveGrpc({
    endpoints: config.listen,
    services: [
      nodeService((hello, stream) => coordinator.greet(hello, stream)),
      ...coordinatorServices(calls.api(), onBug),
      coordinatorFlowService({ trackers, assignment: () => calls.assignment(), onBug }),
    ],
    signal,
    ready: () => ready().length === 0,
  });
  membership.join();
  await using _admin = config.admin && (await serveAdmin({ ...config.admin, ready, registry: metrics.registry }));
  log.info({ version, endpoint }, "started");
  const events = new ClusterEvents({
    membership,
    term: () => coordinator.leader?.term,
    bus,
    clock: systemClock,
    log,
  });
  const published = publishing.run([events]);
  const following = epochs.run(signal);
  const placing = place({ config, coordinator, calls, epochs, membership, peers, bus, metrics, log }, signal);
  await coordinator.run(signal);
  await publishing.end();
  await published;
  await following;
  await placing;
}

interface PlaceParts {
  readonly config: CoordinatorConfig;
  readonly coordinator: Coordinator;
  readonly calls: ClusterCalls;
  readonly epochs: KvEpochLog;
  readonly membership: ClusterMembership;
  readonly peers: TrackerPeers;
  readonly bus: NatsBus;
  readonly metrics: CoordinatorMetrics;
  readonly log: Logger;
}

/** This coordinator's part in the epochs: who holds which shard, and in which ones the flows of addresses lie. */
async function place(parts: PlaceParts, signal: AbortSignal): Promise<void> {
  const { config, coordinator, calls, epochs, membership, peers, bus, metrics, log } = parts;
  const { name, shards } = config;
  const [clock, random, onMove] = [systemClock, Math.random, metrics.noteMove];
  const leader = () => coordinator.leader;
  const reports = (stop: AbortSignal) => calls.reports(stop);
  await Promise.all([
    placeShards({ name, shards, epochs, membership, peers, bus, log, clock, random, onMove }, signal),
    settleLayouts({ name, epochs, bus, leader, reports, log }, signal),
  ]);
}

interface CoreParts {
  readonly config: CoordinatorConfig;
  readonly bus: NatsBus;
  readonly trackers: TrackerClient;
  readonly processId: string;
  readonly endpoint: string;
  readonly publishing: Publishing;
  readonly metrics: CoordinatorMetrics;
  readonly log: Logger;
}

function assemble({ config, bus, trackers, processId, endpoint, publishing, metrics, log }: CoreParts): Coordinator {
  return new Coordinator({
    name: config.name,
    process: processId,
    shards: config.shards,
    endpoint,
    leaseMs: config.leaseMs,
    projection: { fabric: config.fabric, publicPrefixes: config.publicPrefixes, probeSource: config.probeSource },
    bounds: config.bounds,
    firstAddresses: config.addresses.map(({ address, instance, private: own }) => ({
      address,
      instance,
      ...(own && { private: own }),
    })),
    tracker: trackerPort(trackers),
    events: publishing.port,
    feed: publishing.feed,
    flowAges: (address, owner, stop) => flowAges(trackers, address, owner, systemClock.nowMs(), stop),
    openBucket: (stop) => openBucket(config, bus, log, stop),
    storeTrouble: () => storeTrouble(bus),
    onStoreLost: (listener) => bus.onStatus((connected) => !connected && listener()),
    clock: systemClock,
    random: Math.random,
    newId: () => `r${systemClock.nowMs().toString(36)}-${randomBytes(remapIdBytes).toString("hex")}`,
    newLease: () => randomBytes(leaseIdBytes).toString("hex"),
    onWrite: metrics.noteWrite,
    log,
  });
}

function storeTrouble(bus: NatsBus): string | undefined {
  return bus.connected ? undefined : "no connection to NATS";
}

function reasonsNotReady(bus: NatsBus, coordinator: Coordinator): string[] {
  const trouble = storeTrouble(bus);
  if (trouble !== undefined) return [trouble];
  const heldBack = coordinator.leader?.cluster.unexplained() ?? [];
  if (heldBack.length > 0) return heldBack.map(({ name, unexplained }) => `${name} is held back: ${unexplained}`);
  return coordinator.settled ? [] : ["no coordinator leads yet"];
}

async function openBucket(
  config: CoordinatorConfig,
  bus: NatsBus,
  log: Logger,
  signal: AbortSignal,
): Promise<KvBucket> {
  return await retry(
    async () => {
      const connection = await bus.connection(signal);
      return await KvBucket.open(connection, config.store.replicas);
    },
    {
      signal,
      initialMs: retryInitialMs,
      maxMs: retryMaxMs,
      onError: (error) => log.warn({ error }, "the store is not there yet"),
    },
  );
}
