/**
 * What a tracker costs and gives: flows taken in, flows found, memory, and the time to be back after a SIGKILL, beside
 * LevelDB alone and redis.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startNatsServer } from "../support/nats-server.ts";
import { type Comparison, compare, type Pair } from "./ratio.ts";
import { flowAt, messagesOf, rowsPerMessage } from "./tracker/flows.ts";
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
} from "./tracker/ingest.ts";
import { type Lookups, lookupsOfLevel, lookupsOfRedis, lookupsOfTable, lookupsOfTracker } from "./tracker/lookups.ts";
import { RedisServer, redisVersion } from "./tracker/redis.ts";
import { memoryOf, TrackerProcess, tell } from "./tracker/tracker-process.ts";

export interface TrackerOptions {
  /** Open at a time, for memory, look-ups and recovery. */
  readonly flows: number;
  readonly pairs: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface Footprint {
  readonly subject: string;
  /** With all flows, beyond what it takes without any; `Anonymous`: without the files that it has mapped. */
  readonly bytesPerFlow: number;
  readonly anonymousBytesPerFlow: number;
  /** Of a process that was started again after a SIGKILL. */
  readonly bytesPerFlowAfterRestart: number;
  /** From its start to its first answer. */
  readonly recoveryMs: number;
}

export interface TrackerResult {
  readonly bench: "tracker";
  readonly flows: number;
  readonly ingestFlows: number;
  readonly redis: string;
  /** Flows a second; `ratio`: of the tracker's to the peer's. */
  readonly ingest: readonly (Comparison & { readonly peerName: string })[];
  readonly lookups: readonly Lookups[];
  readonly footprints: readonly Footprint[];
}

export const trackerDefaults = { flows: 1_000_000, pairs: 5 };

const ingestFlowsMax = 200_000;
const lookupMs = 3_000;
const peers = ["classic-level, batch([…])", "classic-level, chained", "redis-server"] as const;

export async function benchTracker(options: TrackerOptions): Promise<TrackerResult> {
  const { flows, signal, say } = options;
  const redis = redisVersion();
  const directory = await mkdtemp(join(tmpdir(), "baton-bench-"));
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => rm(directory, { recursive: true, force: true }));
  const ingestFlows = Math.min(flows, ingestFlowsMax);
  const { ingest, lookups } = await benchIngest(directory, ingestFlows, options);
  say(`${flows} flows in a tracker's process`);
  const tracker = await benchProcess(directory, flows, signal);
  say(`${flows} flows in redis-server`);
  const peer = await benchRedis(directory, flows, signal);
  return {
    bench: "tracker",
    flows,
    ingestFlows,
    redis,
    ingest,
    lookups: [...tracker.lookups, ...lookups, ...peer.lookups],
    footprints: [tracker.footprint, peer.footprint],
  };
}

async function benchIngest(
  directory: string,
  flows: number,
  { pairs, say, signal }: TrackerOptions,
): Promise<Pick<TrackerResult, "ingest" | "lookups">> {
  const [bus, batches] = [await filledBus(messagesOf(flows), signal), batchesOf(flows)];
  const pipelines = [...pipelinesOf(batches)];
  const rates = new Map<string, Pair[]>(peers.map((peer) => [peer, []]));
  const perSecond = (ms: number): number => (1_000 * flows) / ms;
  let lookups: readonly Lookups[] = [];
  for (let pair = 0; pair < pairs; pair++) {
    say(`ingest of ${flows} flows, ${pair + 1} of ${pairs}`);
    const place = join(directory, `pair-${pair}`);
    await mkdir(place);
    const isLast = pair === pairs - 1;
    const subject = async (): Promise<number> => {
      await using ingested = await ingestIntoTracker(join(place, "tracker"), bus, signal);
      if (isLast) lookups = [...lookups, ...(await lookupsOfTable(ingested.replicas, flows, lookupMs))];
      return perSecond(ingested.ms);
    };
    const level = async (write: typeof ingestIntoLevel, name: string): Promise<number> => {
      await using db = await openLevel(join(place, name));
      const rate = perSecond(await write(db, batches));
      if (isLast && write === ingestIntoLevel)
        lookups = [...lookups, ...(await lookupsOfLevel(db, rowKeyOf, flows, lookupMs))];
      return rate;
    };
    // Whoever begins finds another machine than whoever ends: they take turns.
    const measured = pair % 2 === 0 ? await subject() : undefined;
    const found = [
      await level(ingestIntoLevel, "level"),
      await level(chainedIntoLevel, "chained"),
      perSecond(await ingestIntoRedis(join(place, "redis"), pipelines, signal)),
    ];
    const rate = measured ?? (await subject());
    for (const [index, name] of peers.entries()) rates.get(name)?.push({ subject: rate, peer: found[index] ?? 0 });
    await rm(place, { recursive: true, force: true });
  }
  const ingest = [...rates].map(([peerName, measured]) => ({ peerName, ...compare(measured) }));
  return { ingest, lookups };
}

async function benchProcess(directory: string, flows: number, signal: AbortSignal): Promise<Measured> {
  await using nats = await startNatsServer();
  await using tracker = await TrackerProcess.configured(directory, nats.servers);
  const { key } = flowAt(flows - 1);
  await tracker.start(key, signal);
  const empty = tracker.memory();
  await tell(nats.servers, tracker.endpoint, messagesOf(flows), signal);
  const full = tracker.memory();
  const lookups = await lookupsOfTracker(tracker.endpoint, flows, lookupMs);
  await tracker.kill();
  const { ms, found } = await tracker.start(key, signal);
  if (!found) throw new Error("a flow was lost by a SIGKILL");
  const again = tracker.memory();
  return { lookups, footprint: footprint("tracker", flows, empty, full, again, ms) };
}

interface Measured {
  readonly lookups: readonly Lookups[];
  readonly footprint: Footprint;
}

type Memory = ReturnType<typeof memoryOf>;

function footprint(subject: string, flows: number, empty: Memory, full: Memory, again: Memory, ms: number): Footprint {
  return {
    subject,
    bytesPerFlow: (full.residentBytes - empty.residentBytes) / flows,
    anonymousBytesPerFlow: (full.anonymousBytes - empty.anonymousBytes) / flows,
    bytesPerFlowAfterRestart: (again.residentBytes - empty.residentBytes) / flows,
    recoveryMs: ms,
  };
}

async function benchRedis(directory: string, flows: number, signal: AbortSignal): Promise<Measured> {
  const place = join(directory, "redis");
  await mkdir(place);
  await using server = new RedisServer(place);
  using client = await server.start(signal);
  const empty = memoryOf(server.pid);
  for (const { bytes, commands } of pipelinesOf(batchesOf(flows))) await client.ask([bytes], commands);
  const full = memoryOf(server.pid);
  const lookups = await lookupsOfRedis(client, rowKeyOf, flows, lookupMs);
  await server.kill();
  const startMs = performance.now();
  using _again = await server.start(signal);
  const ms = performance.now() - startMs;
  return { lookups, footprint: footprint("redis-server", flows, empty, full, memoryOf(server.pid), ms) };
}

/** As a table for people. */
export function trackerTable(result: TrackerResult): string {
  const { flows, ingestFlows, ingest, lookups, footprints } = result;
  const rate = (perSecond: number): string => Math.round(perSecond).toLocaleString("en");
  const lines = [
    `a tracker on LevelDB, against LevelDB alone (classic-level) and redis-server ${result.redis} (AOF everysec)`,
    "",
    `ingest: ${rate(ingestFlows)} flows in messages of ${rowsPerMessage}, from encoded bytes to a committed database`,
    columns(["against", "pairs", "tracker/s", "peer/s", "ratio: median", "min", "max"]),
    ...ingest.map(({ peerName, pairs, subject, peer, ratio }) => {
      const ratios = [ratio.median, ratio.min, ratio.max].map((value) => value.toFixed(3));
      return columns([peerName, String(pairs), rate(subject.median), rate(peer.median), ...ratios]);
    }),
    "",
    "look-ups",
    columns(["", "keys", "at a time", "keys/s", "p50", "p99", ""]),
    ...lookups.map(({ subject, keysEach, inFlight, keysPerSecond, p50Ms, p99Ms }) => {
      const times = [p50Ms, p99Ms].map((ms) => `${ms.toFixed(2)} ms`);
      return columns([subject, String(keysEach), String(inFlight), rate(keysPerSecond), ...times, ""]);
    }),
    "",
    `memory and recovery, ${rate(flows)} open flows`,
    columns(["", "bytes a flow", "without files", "restarted", "recovery", "", ""]),
    ...footprints.map((it) => {
      const bytes = [it.bytesPerFlow, it.anonymousBytesPerFlow, it.bytesPerFlowAfterRestart].map((n) => n.toFixed(0));
      return columns([it.subject, ...bytes, `${(it.recoveryMs / 1_000).toFixed(2)} s`, "", ""]);
    }),
    "",
    ...ahead(result),
  ];
  return lines.join("\n");
}

/** Where redis is ahead, by how much, and why. */
function ahead({ ingest, lookups, footprints }: TrackerResult): string[] {
  const [tracker, redis] = footprints;
  const byRedis = ingest.find(({ peerName }) => peerName === "redis-server");
  const rateOf = (name: string, isSingle: boolean): number =>
    lookups.find(({ subject, keysEach }) => subject.startsWith(name) && (keysEach === 1) === isSingle)?.keysPerSecond ??
    0;
  const claims: readonly (readonly [what: string, factor: number, why: string])[] = [
    [
      "ingest",
      byRedis === undefined ? 0 : 1 / byRedis.ratio.median,
      "it stores what it is given; the tracker decodes, applies the stream's rules and keeps an ordered table too",
    ],
    [
      "single look-ups",
      rateOf("redis", true) / rateOf("tracker, gRPC", true),
      "a call of gRPC is HTTP/2 and JavaScript",
    ],
    [
      "batched look-ups",
      rateOf("redis", false) / rateOf("tracker, gRPC", false),
      "the tracker reads and validates addresses as text, and answers with whole flows that the client validates",
    ],
    [
      "memory",
      (tracker?.bytesPerFlow ?? 0) / (redis?.bytesPerFlow ?? 1),
      "the tracker's process maps LevelDB's files, and keeps its latest changes for watchers",
    ],
    ["recovery", (tracker?.recoveryMs ?? 0) / (redis?.recoveryMs ?? 1), "the tracker checks every row, in JavaScript"],
  ];
  const lost = claims.filter(([, factor]) => factor > 1);
  if (lost.length === 0) return ["redis is ahead nowhere."];
  return lost.map(([what, factor, why]) => `redis is ahead in ${what}, ${factor.toFixed(1)} times: ${why}.`);
}

function columns(cells: readonly string[]): string {
  const widths = [32, 13, 14, 13, 15, 10, 8];
  return cells
    .map((cell, index) => (index === 0 ? cell.padEnd : cell.padStart).call(cell, widths[index] ?? 0))
    .join("")
    .trimEnd();
}
