/** A tracker at work: its database, its place on the bus, its answers. Whoever starts it gives it a process of its own. */
import { join } from "node:path";
import { BusError, type ExistingStream } from "../../src/bus/bus.ts";
import { announceClusterEvent } from "../../src/bus/cluster-events.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import type { ClusterMembership } from "../../src/cluster/membership.ts";
import { flowStreamName, flowSubjects } from "../../src/flow/events.ts";
import { type Assignment, shardsOf } from "../../src/placement/assignment.ts";
import type { EpochHistory } from "../../src/placement/epoch-log.ts";
import { serveGrpc } from "../../src/rpc/server.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { trackerService } from "../../src/rpc/tracker-server.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, retry, sleep } from "../../src/runtime/retry.ts";
import { version } from "../../src/runtime/version.ts";
import type { HostedStatus } from "../../src/tracker/hosted-shard.ts";
import { FlowStore } from "../../src/tracker/level.ts";
import type { ReplicaPhase } from "../../src/tracker/life.ts";
import type { TrackerSetup } from "../../src/tracker/setup.ts";
import { StoreKeeper } from "../../src/tracker/store-keeper.ts";
import { Tracker } from "../../src/tracker/tracker.ts";
import { EpochFile } from "./epoch-file.ts";
import { trackerMetrics } from "./metrics.ts";

export interface TrackerServiceOptions {
  readonly setup: TrackerSetup;
  /**
   * What a cluster without an epoch begins with. Absent: others begin, make the store of epochs, and choose the limits of
   * the stream, which several configurations would set to and fro.
   */
  readonly first?: Assignment;
  /** Absent: whoever has started this tracker is the member of the gossip that it belongs to. */
  readonly openMembership?: () => Promise<ClusterMembership>;
  /** Once it answers calls. */
  readonly onServing?: (running: RunningTracker) => void;
  readonly log: Logger;
}

export interface RunningTracker {
  /** Of which it has copies, in whatever phase of their life. */
  shards(): readonly number[];
  /** The newest epoch that it goes by. */
  epoch(): bigint | undefined;
  /** Why it should not be asked yet; empty: it is ready. */
  reasonsNotReady(): readonly string[];
}

/** How long JetStream remembers the ids of messages: longer than a publisher goes on repeating one. */
const duplicateWindowMs = 120_000;
/** Messages; a tracker that is further behind had better not be asked yet. */
const lagReadyMax = 256;
const retryInitialMs = 100;
const retryMaxMs = 2_000;
const streamCheckMs = 5_000;

/** Until the signal aborts. */
export async function serveTracker(options: TrackerServiceOptions, signal: AbortSignal): Promise<void> {
  const { setup: config, log, first, openMembership, onServing } = options;
  await using store = new FlowStore(join(config.dataDirectory, "flows"));
  await using bus = connectBus({ servers: config.nats.servers, name: `tracker ${config.name}` });
  using peers = new TrackerPeers();
  const metrics = trackerMetrics({ shards: () => tracker.status(), epoch: () => tracker.assignment?.epoch });
  const tracker = new Tracker({
    name: config.name,
    endpoint: config.endpoint,
    shards: config.shards,
    bus,
    store,
    peers,
    clock: systemClock,
    log,
    rebuildSettleMs: config.rebuild.settleMs,
    onBatch: metrics.applied,
    onPhase: (shard, phase) => tellPhase(bus, tracker, log, shard, phase),
  });
  const file = new EpochFile(join(config.dataDirectory, "epoch"), config.shards, log);
  const remembered = await file.read();
  if (remembered !== undefined) tracker.adopt(remembered);
  const keeper = new StoreKeeper({ store, tracker, log, onFault: metrics.storeFailed });
  await keeper.begin();
  await using membership = await openMembership?.();
  membership?.register(metrics.registry);
  const ready = (): string[] => reasonsNotReady(bus, tracker, keeper);
  const onBug = (error: unknown): void => log.error({ error }, "a call failed");
  await using _server = await serveGrpc({
    endpoints: config.listen,
    services: [trackerService({ tracker, store, onBug, onLookup: metrics.lookedUp })],
    signal,
    ready: () => ready().length === 0,
  });
  membership?.join();
  await using _admin = config.admin && (await serveAdmin({ ...config.admin, ready, registry: metrics.registry }));
  log.info({ version, shards: tracker.status().length }, "started");
  onServing?.({
    shards: () => tracker.status().map(({ shard }) => shard),
    epoch: () => tracker.assignment?.epoch,
    reasonsNotReady: ready,
  });
  const ended = new AbortController();
  const stop = AbortSignal.any([signal, ended.signal]);
  const epochs = new KvEpochLog({
    bus,
    shards: config.shards,
    ...(first !== undefined && { first, replicas: config.stream.replicas }),
    remembered,
    log,
    onMalformed: (key, reason) => {
      metrics.epochMalformed();
      log.error({ key, reason }, "an epoch record can't be read, and is stepped over");
    },
  });
  const keeping: Promise<void>[] = [epochs.run(stop), followEpochs(epochs, tracker, file, log, stop)];
  try {
    const ensured = (until: AbortSignal): Promise<void> =>
      ensureFlowStream(bus, config, first === undefined ? "keep" : "set", log, until);
    await ensured(signal);
    keeping.push(keepFlowStream(ensured, stop));
    await keeper.run(signal);
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  } finally {
    ended.abort();
    await Promise.all(keeping);
  }
}

async function followEpochs(
  epochs: EpochHistory,
  tracker: Tracker,
  file: EpochFile,
  log: Logger,
  stop: AbortSignal,
): Promise<void> {
  try {
    for await (const next of epochs.changes(stop)) {
      tracker.adopt(next, epochs.earlier);
      log.info({ epoch: String(next.epoch), shards: shardsOf(next, tracker.name).length }, "goes by a new epoch");
      await file.write(next);
    }
  } catch (error) {
    if (!isAbort(error, stop)) throw error;
  }
}

function tellPhase(bus: NatsBus, tracker: Tracker, log: Logger, shard: number, phase: ReplicaPhase): void {
  const epoch = Number(tracker.assignment?.epoch ?? 0n);
  log.info({ shard, phase, epoch }, "a copy of a shard has changed its phase");
  announceClusterEvent(bus, `shard-${phase}`, { shard, tracker: tracker.name, epoch }, systemClock.nowMs());
}

function reasonsNotReady(bus: NatsBus, tracker: Tracker, keeper: StoreKeeper): string[] {
  if (keeper.trouble !== undefined) return [keeper.trouble];
  if (!bus.connected) return ["no connection to NATS"];
  if (tracker.assignment === undefined) return ["no epoch is known yet, which says who holds which shard"];
  const behind = tracker.status().filter(isBehind);
  if (behind.length === 0) return [];
  const shards = behind.map(({ shard }) => shard).join(", ");
  return [`${behind.length} shards are more than ${lagReadyMax} messages behind the stream: ${shards}`];
}

/** A shard that another answers for until it is here makes nobody wait. */
function isBehind({ phase, giver, lag }: HostedStatus): boolean {
  const isOurs = phase === "joining" || phase === "tailing" || phase === "serving";
  return isOurs && giver === undefined && (lag === undefined || lag > lagReadyMax);
}

/** A stream that was deleted, or lost with its server's disk, is made anew. */
async function keepFlowStream(ensured: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await sleep(streamCheckMs, signal);
      await ensured(signal);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}

async function ensureFlowStream(
  bus: NatsBus,
  config: TrackerSetup,
  existing: ExistingStream,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const stream = { name: flowStreamName, subjects: [flowSubjects], duplicateWindowMs, ...config.stream };
  await retry(() => bus.ensureStream(stream, signal, existing), {
    signal,
    initialMs: retryInitialMs,
    maxMs: retryMaxMs,
    onError: (error) => {
      if (!(error instanceof BusError)) throw error;
      log.warn({ error }, "the stream of flow events is not there yet");
    },
  });
}
