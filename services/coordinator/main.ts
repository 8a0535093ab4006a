/** A coordinator's process: the store, the trackers, the answers. */
import { randomBytes } from "node:crypto";
import { KvBucket } from "../../src/bus/kv.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { ClusterEvents, clusterStream } from "../../src/cluster/events.ts";
import { ClusterMembership } from "../../src/cluster/membership.ts";
import { Coordinator } from "../../src/coordinator/coordinator.ts";
import type { EventPort } from "../../src/coordinator/ports.ts";
import { auditStreamName, RemapFeed, remapStreamName } from "../../src/coordinator/remap-feed.ts";
import { flowSubject } from "../../src/flow/events.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { coordinatorFlowService } from "../../src/rpc/coordinator-flows.ts";
import { coordinatorServices } from "../../src/rpc/coordinator-server.ts";
import { encodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";
import { nodeService } from "../../src/rpc/node-stream.ts";
import { serveGrpc } from "../../src/rpc/server.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { isAbort, retry } from "../../src/runtime/retry.ts";
import { version } from "../../src/runtime/version.ts";
import { ClusterCalls } from "./cluster-calls.ts";
import { type CoordinatorConfig, coordinatorConfigSchema } from "./config.ts";
import { type CoordinatorMetrics, coordinatorMetrics } from "./metrics.ts";
import { placeShards } from "./placing.ts";
import { flowAges, trackerPort } from "./trackers.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  readonly signal: AbortSignal;
}

const retryInitialMs = 100;
const retryMaxMs = 2_000;
/** JetStream forgets the ids of messages after this. */
const duplicateWindowMs = 120_000;
/** Remaps and the audit are kept for ten years, as far as there is room. */
const keptMs = 315_360_000_000;
const processIdBytes = 8;
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
  const feed = new RemapFeed(bus, processId, log);
  const metrics: CoordinatorMetrics = coordinatorMetrics({
    leader: () => coordinator.leader,
    epoch: () => epochs.current?.epoch,
  });
  const endpoint = config.advertise ?? config.listen[0] ?? "";
  const coordinator = assemble({ config, bus, trackers, processId, endpoint, feed, metrics, log });
  const onBug = (error: unknown): void => log.error({ error }, "a call failed");
  const { name, gossip: section } = config;
  await using membership = await ClusterMembership.join({
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
    audit: (action, entry) => feed.audit(action, entry, systemClock.nowMs()),
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
  await using _admin = config.admin && (await serveAdmin({ ...config.admin, ready, registry: metrics.registry }));
  log.info({ version, endpoint }, "started");
  const events = new ClusterEvents({
    membership,
    term: () => coordinator.leader?.term,
    bus,
    clock: systemClock,
    log,
  });
  const publishing = publish(config, bus, [feed, events], log, signal);
  const following = epochs.run(signal);
  const { shards } = config;
  const placing = placeShards(
    {
      ...{ name, shards, epochs, membership, peers, bus, log },
      clock: systemClock,
      random: Math.random,
      onMove: metrics.noteMove,
    },
    signal,
  );
  await coordinator.run(signal);
  await publishing;
  await following;
  await placing;
}

interface CoreParts {
  readonly config: CoordinatorConfig;
  readonly bus: NatsBus;
  readonly trackers: TrackerClient;
  readonly processId: string;
  readonly endpoint: string;
  readonly feed: RemapFeed;
  readonly metrics: CoordinatorMetrics;
  readonly log: Logger;
}

function assemble({ config, bus, trackers, processId, endpoint, feed, metrics, log }: CoreParts): Coordinator {
  return new Coordinator({
    name: config.name,
    process: processId,
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
    events: eventPort(config, bus, feed, metrics),
    feed,
    flowAges: (address, owner, stop) => flowAges(trackers, address, owner, systemClock.nowMs(), stop),
    openBucket: (stop) => openBucket(config, bus, log, stop),
    storeTrouble: () => storeTrouble(bus),
    onStoreLost: (listener) => bus.onStatus((connected) => !connected && listener()),
    clock: systemClock,
    random: Math.random,
    newId: () => `r${systemClock.nowMs().toString(36)}-${randomBytes(remapIdBytes).toString("hex")}`,
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
  return coordinator.settled ? [] : ["no coordinator leads yet"];
}

function eventPort(config: CoordinatorConfig, bus: NatsBus, feed: RemapFeed, metrics: CoordinatorMetrics): EventPort {
  return {
    async owned(address, instance, generation, signal) {
      const shard = shardOf(address, config.shards);
      const body = { kind: "address-owned", address, instance, generation } as const;
      const data = encodeFlowEventBatch({ instance: "", boot: "", shard, sequence: 0n, body });
      await bus.publish(flowSubject(shard), data, { messageId: `owned ${address} ${generation}`, signal });
    },
    remapChanged(remap) {
      metrics.noteRemap(remap);
      feed.changed(remap);
    },
    audit: (action, entry) => feed.audit(action, entry, systemClock.nowMs()),
  };
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

async function publish(
  config: CoordinatorConfig,
  bus: NatsBus,
  feeds: readonly { run(signal: AbortSignal): Promise<void> }[],
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const limits = {
    maxAgeMs: keptMs,
    maxBytes: config.store.streamBytesMax,
    duplicateWindowMs,
    replicas: config.store.replicas,
  };
  const streams = [
    { name: remapStreamName, subjects: ["baton.remaps.*"], ...limits },
    { name: auditStreamName, subjects: ["baton.audit.*"], ...limits },
    { ...clusterStream, replicas: config.store.replicas },
  ];
  try {
    for (const stream of streams)
      await retry(() => bus.ensureStream(stream, signal), {
        signal,
        initialMs: retryInitialMs,
        maxMs: retryMaxMs,
        onError: (error) => log.warn({ error, stream: stream.name }, "a stream is not there yet"),
      });
    await Promise.all(feeds.map((feed) => feed.run(signal)));
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}
