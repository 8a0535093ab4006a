/** How fast flows are found: one at a time and many at once, by a tracker, its table alone, its LevelDB alone, and redis. */
import type { Level } from "level";
import type { FlowKey } from "../../../src/flow/flow.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { TrackerClient } from "../../../src/rpc/tracker-client.ts";
import type { ShardReplica } from "../../../src/tracker/replica.ts";
import { flowAt } from "./flows.ts";
import { ownProcessorMs, processorMsOf } from "./processor-time.ts";
import { type Answer, command, type RedisClient } from "./redis.ts";
import { type Lookups, subjects } from "./result.ts";

/** Keys of one question, and questions at a time. */
interface Shape {
  readonly keysEach: number;
  readonly inFlight: number;
}

const single: Shape = { keysEach: 1, inFlight: 16 };
const batched: Shape = { keysEach: 1_000, inFlight: 4 };
/** Of each kind; more would measure how the asking process finds its own keys in memory. */
const questionsMax = 64;
/** Prime, so that keys come from everywhere. */
const stride = 7_919;

/** Who is asked: a process of its own, or this one. */
interface Subject {
  readonly name: string;
  readonly pid?: number;
}

export async function lookupsOfTracker(
  { endpoint, pid }: { readonly endpoint: string; readonly pid: number },
  flows: number,
  ms: number,
): Promise<Lookups[]> {
  using client = new TrackerClient([endpoint]);
  const ask = async (keys: readonly FlowKey[]): Promise<void> => {
    const answers = await client.lookup(keys);
    if (!answers.every(({ kind }) => kind === "owned")) throw new Error("the tracker did not find a flow");
  };
  return await both({ name: subjects.tracker, pid }, flows, ms, (flow) => flow.key, ask);
}

export async function lookupsOfTable(replicas: readonly ShardReplica[], flows: number, ms: number): Promise<Lookups[]> {
  const ask = async (keys: readonly FlowKey[]): Promise<void> => {
    for (const key of keys)
      if (replicas[shardOf(key.address, replicas.length)]?.table.find(key).kind !== "owned")
        throw new Error("the table did not find a flow");
  };
  return [await measure({ name: subjects.table }, batched, flows, ms, (flow) => flow.key, ask)];
}

export async function lookupsOfLevel(
  db: Level<Buffer, Buffer>,
  rowKeys: (flow: Flow) => Buffer,
  flows: number,
  ms: number,
): Promise<Lookups[]> {
  const ask = async (keys: readonly Buffer[]): Promise<void> => {
    const [first] = keys;
    const values = keys.length === 1 && first !== undefined ? [await db.get(first)] : await db.getMany([...keys]);
    if (values.some((value) => value === undefined)) throw new Error("LevelDB did not find a flow");
  };
  return await both({ name: subjects.level }, flows, ms, rowKeys, ask);
}

export async function lookupsOfRedis(
  client: RedisClient,
  pid: number,
  rowKeys: (flow: Flow) => Buffer,
  flows: number,
  ms: number,
): Promise<Lookups[]> {
  const ask = async (keys: readonly Buffer[]): Promise<void> => {
    const question = keys.length === 1 ? command("GET", ...keys) : command("MGET", ...keys);
    const answers: readonly Answer[] = await client.ask([question], keys.length);
    if (!answers.every((answer) => answer === "value")) throw new Error("redis-server did not find a flow");
  };
  return await both({ name: subjects.redis, pid }, flows, ms, rowKeys, ask);
}

type Flow = ReturnType<typeof flowAt>;

async function both<Key>(
  subject: Subject,
  flows: number,
  ms: number,
  keyOf: (flow: Flow) => Key,
  ask: (keys: readonly Key[]) => Promise<void>,
): Promise<Lookups[]> {
  return [
    await measure(subject, single, flows, ms, keyOf, ask),
    await measure(subject, batched, flows, ms, keyOf, ask),
  ];
}

async function measure<Key>(
  { name: subject, pid }: Subject,
  { keysEach, inFlight }: Shape,
  flows: number,
  ms: number,
  keyOf: (flow: Flow) => Key,
  ask: (keys: readonly Key[]) => Promise<void>,
): Promise<Lookups> {
  const questions = Array.from({ length: questionsMax }, (_, question) =>
    Array.from({ length: keysEach }, (_one, n) => keyOf(flowAt(((question * keysEach + n) * stride) % flows))),
  );
  const run = async (untilMs: number, took: number[]): Promise<void> => {
    let next = 0;
    const asker = async (): Promise<void> => {
      while (performance.now() < untilMs) {
        const askedMs = performance.now();
        await ask(questions[next++ % questionsMax] ?? []);
        took.push(performance.now() - askedMs);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, asker));
  };
  await run(performance.now() + ms / 4, []);
  const took: number[] = [];
  const serverMs = (): number => (pid === undefined ? 0 : processorMsOf(pid));
  const [clientBeforeMs, serverBeforeMs] = [ownProcessorMs(), serverMs()];
  const startMs = performance.now();
  await run(startMs + ms, took);
  const seconds = (performance.now() - startMs) / 1_000;
  const microsFor = (spentMs: number): number => (1_000 * spentMs) / (took.length * keysEach);
  const clientMicros = microsFor(ownProcessorMs() - clientBeforeMs);
  const server = pid === undefined ? {} : { serverMicros: microsFor(serverMs() - serverBeforeMs) };
  took.sort((a, b) => a - b);
  const quantile = (share: number): number => took[Math.min(took.length - 1, Math.trunc(share * took.length))] ?? 0;
  const keysPerSecond = (took.length * keysEach) / seconds;
  const times = { p50Ms: quantile(0.5), p99Ms: quantile(0.99) };
  return { subject, keysEach, inFlight, keysPerSecond, ...times, clientMicros, ...server };
}
