/**
 * What a tracker costs and gives: flows taken in, flows found, memory, and the time to be back after a SIGKILL, beside
 * LevelDB alone and redis.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNatsServer } from "../support/nats-server.ts";
import { compare, spread } from "./ratio.ts";
import { flowAt, messagesOf } from "./tracker/flows.ts";
import { collectGarbage } from "./tracker/garbage.ts";
import {
  batchesOf,
  chainedIntoLevel,
  filledBus,
  ingestIntoLevel,
  ingestIntoRedis,
  ingestIntoTracker,
  openLevel,
  pipelinesOf,
  rowKeyOf,
  type Took,
  timeToRead,
} from "./tracker/ingest.ts";
import { lookupsOfLevel, lookupsOfRedis, lookupsOfTable, lookupsOfTracker } from "./tracker/lookups.ts";
import { RedisServer, redisVersion } from "./tracker/redis.ts";
import { type Footprint, type Ingest, type Lookups, peers, type TrackerResult } from "./tracker/result.ts";
import { memoryOf, TrackerProcess, tell } from "./tracker/tracker-process.ts";

export interface TrackerOptions {
  /** Open at a time, for memory, look-ups and recovery. */
  readonly flows: number;
  readonly pairs: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export const trackerDefaults = { flows: 1_000_000, pairs: 5 };

const ingestFlowsMax = 200_000;
/** Pairs before those that count: the tracker and its peers are compiled for good by then, as in a process that runs for days. */
const warmUpPairs = 3;
const lookupMs = 3_000;

export async function benchTracker(options: TrackerOptions): Promise<TrackerResult> {
  const { flows, signal, say } = options;
  const redis = redisVersion();
  const directory = await mkdtemp(join(tmpdir(), "baton-bench-"));
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rm(directory, { recursive: true, force: true }));
  const ingestFlows = Math.min(flows, ingestFlowsMax);
  // First what asks a process: this one has little in its memory then, which collecting garbage would search.
  say(`${flows} flows in a tracker's process`);
  const tracker = await benchProcess(directory, flows, signal);
  say(`${flows} flows in redis-server`);
  const peer = await benchRedis(directory, flows, signal);
  const { ingest, lookups } = await benchIngest(directory, ingestFlows, options);
  return {
    bench: "tracker",
    flows,
    ingestFlows,
    redis,
    ingest,
    lookups: [...tracker.lookups, ...lookups, ...peer.lookups],
    footprints: [tracker.footprint, peer.footprint],
    levelReadMs: tracker.levelReadMs,
  };
}

async function benchIngest(
  directory: string,
  flows: number,
  { pairs, say, signal }: TrackerOptions,
): Promise<Pick<TrackerResult, "ingest" | "lookups">> {
  const bus = await filledBus(messagesOf(flows), signal);
  const pipelines = [...pipelinesOf(batchesOf(flows))];
  const runs: Run[] = [];
  let lookups: readonly Lookups[] = [];
  for (let pair = -warmUpPairs; pair < pairs; pair++) {
    say(`ingest of ${flows} flows, ${pair < 0 ? "to warm up" : `${pair + 1} of ${pairs}`}`);
    const place = join(directory, `pair-${pair}`);
    await mkdir(place);
    const isLast = pair === pairs - 1;
    const subject = async (): Promise<Took> => {
      collectGarbage();
      await using ingested = await ingestIntoTracker(join(place, "tracker"), bus, signal);
      if (isLast) lookups = [...lookups, ...(await lookupsOfTable(ingested.replicas, flows, lookupMs))];
      return ingested.took;
    };
    // Made anew each time: hundreds of thousands of buffers would be searched whenever the tracker's garbage is collected.
    const besides = async (): Promise<Run["peers"]> => {
      const batches = batchesOf(flows);
      const level = async (write: typeof ingestIntoLevel, name: string): Promise<Took> => {
        await using db = await openLevel(join(place, name));
        collectGarbage();
        const took = await write(db, batches);
        if (isLast && write === ingestIntoLevel)
          lookups = [...lookups, ...(await lookupsOfLevel(db, rowKeyOf, flows, lookupMs))];
        return took;
      };
      return {
        [peers.batch]: await level(ingestIntoLevel, "level"),
        [peers.chained]: await level(chainedIntoLevel, "chained"),
        [peers.redis]: await ingestIntoRedis(join(place, "redis"), pipelines, signal),
      };
    };
    // Whoever begins finds another machine than whoever ends: they take turns.
    const measured = pair % 2 === 0 ? await subject() : undefined;
    const found = await besides();
    const run = { subject: measured ?? (await subject()), peers: found };
    if (pair >= 0) runs.push(run);
    await rm(place, { recursive: true, force: true });
  }
  const ingest = Object.values(peers).map((name) => comparisonWith(name, runs, flows));
  return { ingest, lookups };
}

interface Run {
  readonly subject: Took;
  readonly peers: Readonly<Record<(typeof peers)[keyof typeof peers], Took>>;
}

function comparisonWith(peerName: keyof Run["peers"], runs: readonly Run[], flows: number): Ingest {
  const perSecond = ({ ms }: Took): number => (1_000 * flows) / ms;
  const microsOf = (took: readonly Took[]): number =>
    spread(took.map(({ processorMs }) => (1_000 * processorMs) / flows)).median;
  const pairs = runs.map((run) => ({ subject: perSecond(run.subject), peer: perSecond(run.peers[peerName]) }));
  return {
    peerName,
    ...compare(pairs),
    subjectMicros: microsOf(runs.map(({ subject }) => subject)),
    peerMicros: microsOf(runs.map((run) => run.peers[peerName])),
  };
}

async function benchProcess(
  directory: string,
  flows: number,
  signal: AbortSignal,
): Promise<Measured & { readonly levelReadMs: number }> {
  await using nats = await startNatsServer();
  await using tracker = await TrackerProcess.configured(directory, nats.servers);
  const { key } = flowAt(flows - 1);
  const { ms: emptyStartMs } = await tracker.start(key, signal);
  const empty = tracker.memory();
  await tell(nats.servers, tracker.endpoint, messagesOf(flows), signal);
  const full = tracker.memory();
  const lookups = await lookupsOfTracker(tracker, flows, lookupMs);
  await tracker.kill();
  const { ms, found } = await tracker.start(key, signal);
  if (!found) throw new Error("a flow was lost by a SIGKILL");
  const again = tracker.memory();
  await tracker.kill();
  const levelReadMs = await timeToRead(tracker.database);
  const times = { recoveryMs: ms, emptyStartMs };
  return { lookups, footprint: { ...footprint("tracker", flows, empty, full, again), ...times }, levelReadMs };
}

interface Measured {
  readonly lookups: readonly Lookups[];
  readonly footprint: Footprint;
}

type Memory = ReturnType<typeof memoryOf>;

function footprint(
  subject: string,
  flows: number,
  empty: Memory,
  full: Memory,
  again: Memory,
): Omit<Footprint, "recoveryMs" | "emptyStartMs"> {
  return {
    subject,
    bytesPerFlow: (full.residentBytes - empty.residentBytes) / flows,
    anonymousBytesPerFlow: (full.anonymousBytes - empty.anonymousBytes) / flows,
    bytesPerFlowAfterRestart: (again.residentBytes - empty.residentBytes) / flows,
  };
}

async function benchRedis(directory: string, flows: number, signal: AbortSignal): Promise<Measured> {
  const place = join(directory, "redis");
  await mkdir(place);
  await using server = new RedisServer(place);
  const emptyMs = performance.now();
  using client = await server.start(signal);
  const emptyStartMs = performance.now() - emptyMs;
  const empty = memoryOf(server.pid);
  for (const { bytes, commands } of pipelinesOf(batchesOf(flows))) await client.ask([bytes], commands);
  const full = memoryOf(server.pid);
  const lookups = await lookupsOfRedis(client, server.pid, rowKeyOf, flows, lookupMs);
  await server.kill();
  const startMs = performance.now();
  using _again = await server.start(signal);
  const times = { recoveryMs: performance.now() - startMs, emptyStartMs };
  return { lookups, footprint: { ...footprint("redis-server", flows, empty, full, memoryOf(server.pid)), ...times } };
}
