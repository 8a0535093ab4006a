/** A tracker's process: its database, its place on the bus, its answers. */
import { join } from "node:path";
import { BusError } from "../../src/bus/bus.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { ClusterMembership } from "../../src/cluster/membership.ts";
import { flowStreamName, flowSubjects } from "../../src/flow/events.ts";
import { assignShards } from "../../src/placement/assignment.ts";
import { serveGrpc } from "../../src/rpc/server.ts";
import { trackerService } from "../../src/rpc/tracker-server.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { isAbort, retry, sleep } from "../../src/runtime/retry.ts";
import { version } from "../../src/runtime/version.ts";
import { FlowStore } from "../../src/tracker/level.ts";
import { StoreKeeper } from "../../src/tracker/store-keeper.ts";
import { Tracker } from "../../src/tracker/tracker.ts";
import { type TrackerConfig, trackerConfigSchema } from "./config.ts";
import { trackerMetrics } from "./metrics.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  readonly signal: AbortSignal;
}

/** How long JetStream remembers the ids of messages: longer than a publisher goes on repeating one. */
const duplicateWindowMs = 120_000;
/** Messages; a tracker that is further behind had better not be asked yet. */
const lagReadyMax = 256;
const retryInitialMs = 100;
const retryMaxMs = 2_000;
const streamCheckMs = 5_000;
/** The epoch of the assignment that every tracker computes from the same configuration. */
const firstEpoch = 1n;

/** The process's exit code. */
export async function run(options: RunOptions): Promise<number> {
  const loaded = loadConfig(trackerConfigSchema, options.configFile, process.env);
  if (!loaded.ok) {
    process.stderr.write(`${loaded.errors.join("\n")}\n`);
    return 2;
  }
  if (options.printConfig) {
    process.stdout.write(printConfig(trackerConfigSchema, loaded.value));
    return 0;
  }
  const log = createLog({ service: "tracker", name: loaded.value.name, level: loaded.value.log.level });
  await serve(loaded.value, log, options.signal);
  return 0;
}

async function serve(config: TrackerConfig, log: Logger, signal: AbortSignal): Promise<void> {
  await using store = new FlowStore(join(config.dataDirectory, "flows"));
  await using bus = connectBus({ servers: config.nats.servers, name: `tracker ${config.name}` });
  const metrics = trackerMetrics(() => tracker.status());
  const tracker = new Tracker({
    name: config.name,
    assignment: assignShards(firstEpoch, config.shards, config.trackers),
    bus,
    store,
    clock: systemClock,
    log,
    rebuildSettleMs: config.rebuild.settleMs,
    onBatch: metrics.applied,
  });
  const keeper = new StoreKeeper({ store, tracker, log, onFault: metrics.storeFailed });
  await keeper.begin();
  await using membership = await openMembership(config, log);
  membership.register(metrics.registry);
  const ready = (): string[] => reasonsNotReady(bus, tracker, keeper);
  const onBug = (error: unknown): void => log.error({ error }, "a call failed");
  await using _server = await serveGrpc({
    endpoints: config.listen,
    services: [trackerService({ tracker, onBug, onLookup: metrics.lookedUp })],
    signal,
    ready: () => ready().length === 0,
  });
  membership.join();
  await using _admin = config.admin && (await serveAdmin({ ...config.admin, ready, registry: metrics.registry }));
  log.info({ version, shards: tracker.status().length }, "started");
  const ended = new AbortController();
  let keeping: Promise<void> | undefined;
  try {
    await ensureFlowStream(bus, config, log, signal);
    keeping = keepFlowStream(bus, config, log, AbortSignal.any([signal, ended.signal]));
    await keeper.run(signal);
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  } finally {
    ended.abort();
    await keeping;
  }
}

async function openMembership(config: TrackerConfig, log: Logger): Promise<ClusterMembership> {
  const { name, trackers, gossip: section } = config;
  const grpc = trackers.find((tracker) => tracker.name === name)?.endpoint ?? "";
  return await ClusterMembership.open({ name, roles: ["tracker"], services: { grpc }, section, log });
}

function reasonsNotReady(bus: NatsBus, tracker: Tracker, keeper: StoreKeeper): string[] {
  if (keeper.trouble !== undefined) return [keeper.trouble];
  if (!bus.connected) return ["no connection to NATS"];
  const behind = tracker.status().filter(({ lag }) => lag === undefined || lag > lagReadyMax);
  if (behind.length === 0) return [];
  const shards = behind.map(({ shard }) => shard).join(", ");
  return [`${behind.length} shards are more than ${lagReadyMax} messages behind the stream: ${shards}`];
}

/** A stream that was deleted, or lost with its server's disk, is made anew. */
async function keepFlowStream(bus: NatsBus, config: TrackerConfig, log: Logger, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await sleep(streamCheckMs, signal);
      await ensureFlowStream(bus, config, log, signal);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}

async function ensureFlowStream(bus: NatsBus, config: TrackerConfig, log: Logger, signal: AbortSignal): Promise<void> {
  const stream = { name: flowStreamName, subjects: [flowSubjects], duplicateWindowMs, ...config.stream };
  await retry(() => bus.ensureStream(stream, signal), {
    signal,
    initialMs: retryInitialMs,
    maxMs: retryMaxMs,
    onError: (error) => {
      if (!(error instanceof BusError)) throw error;
      log.warn({ error }, "the stream of flow events is not there yet");
    },
  });
}
