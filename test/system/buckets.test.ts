/**
 * An address that gets four buckets and one again, while its flows come and go: trackers in processes of their own, on NATS and
 * LevelDB (SPEC, "Buckets of hot addresses"). Epochs are written as the coordinators write them; the instance does what an
 * agent does.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { type Flow, type FlowKey, flowKeyText } from "../../src/flow/flow.ts";
import { type Layout, shardsOf } from "../../src/placement/layout.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { sleep, waitFor } from "../../src/runtime/retry.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { type TestDirectory, temporaryDirectory } from "../support/tracker.ts";
import { type TrackerProcess, trackerProcess } from "../support/tracker-process.ts";

const shards = 8;
const address = ip("203.0.113.10");
const eventsPerSecond = 1_000;
const names = ["tracker1", "tracker2"] as const;
const askedAtOnce = 100;
const askEveryMs = 10;

const signal = AbortSignal.timeout(170_000);

describe("an address with buckets", () => {
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let trackers: TrackerProcess[];
  let bus: NatsBus;
  let traffic: Traffic;
  let client: TrackerClient;
  let peers: TrackerPeers;
  let epoch = 1;
  let running: Promise<unknown>;
  let stop: AbortController;

  const until = (condition: () => boolean | Promise<boolean>, what: string): Promise<true> =>
    waitFor(condition, { signal, timeoutMs: 30_000, what, intervalMs: 50 });

  const writeEpoch = async (layout?: Layout): Promise<void> => {
    epoch++;
    const members = trackers.map(({ endpoint }, index) => ({ name: names[index], endpoint }));
    const holders = Array.from({ length: shards }, (_, shard) => ({
      primary: names[shard % 2],
      standby: names[(shard + 1) % 2],
    }));
    const record = { epoch, members, shards: holders, ...(layout && { buckets: { [address]: layout } }) };
    const connection = await bus.connection(signal);
    const bucket = await connection.jetstream().views.kv("baton", { bindOnly: true });
    await bucket.create(`epoch.${epoch}`, Buffer.from(JSON.stringify(record)));
  };
  const reports = () => Promise.all(trackers.map(({ endpoint }) => peers.report(endpoint, [], signal)));
  /** Every copy of these shards serves, and has come to these positions. */
  const areServed = async (of: readonly number[], positions: ReadonlyMap<number, bigint>): Promise<boolean> =>
    (await reports()).every((report) =>
      of.every((shard) => {
        const copy = report?.replicas.get(shard);
        return copy?.phase === "serving" && copy.complete && copy.applied >= (positions.get(shard) ?? 0n);
      }),
    );
  /** From the operator's order to the last epoch of it. */
  const change = async (layout: Layout): Promise<void> => {
    await writeEpoch(layout);
    const positions = await traffic.lay(address, layout, signal);
    const told = new Map(positions.map(({ shard, sequence }) => [shard, sequence]));
    await until(() => areServed(shardsOf(address, layout, shards), told), "the flows to move");
    const { before: _, ...settled } = layout;
    await writeEpoch(settled);
    await traffic.lay(address, settled, signal);
  };
  const untilMoreEvents = async (count: number): Promise<void> => {
    const before = traffic.events;
    await until(() => traffic.events >= before + count, `${count} more events`);
  };

  beforeEach(async () => {
    nats = await startNatsServer();
    directory = await temporaryDirectory();
    trackers = [];
    for (const name of names)
      trackers.push(await trackerProcess(directory, name, { servers: nats.servers, shards, listed: ["tracker1"] }));
    for (const tracker of trackers) await tracker.start();
    bus = connectBus({ servers: nats.servers, name: "test" });
    traffic = new Traffic({ bus, addresses: [address], shards, instance: "vm-a", eventsPerSecond });
    client = new TrackerClient(trackers.map(({ endpoint }) => endpoint));
    peers = new TrackerPeers();
    epoch = 1;
    stop = new AbortController();
    running = traffic.run(stop.signal);
  });
  afterEach(async () => {
    stop.abort();
    await running;
    client[Symbol.dispose]();
    peers[Symbol.dispose]();
    await traffic[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    for (const process of trackers) await process[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  /** Flows that are told of, and never end, are asked for all the time; whatever else is said of one is kept. */
  async function inquire(wrong: string[], tookMs: number[]): Promise<void> {
    while (!stop.signal.aborted) {
      const keys: FlowKey[] = traffic.lasting.slice(-askedAtOnce, -1);
      const atLeast = await traffic.barrier(signal);
      const beganMs = performance.now();
      const answers = await client.lookup(keys, atLeast, { signal });
      tookMs.push(performance.now() - beganMs);
      for (const [index, { kind }] of answers.entries())
        if (kind === "closed" || kind === "absent") wrong.push(`${flowKeyText(keys[index] as FlowKey)} is ${kind}`);
      await sleep(askEveryMs, stop.signal).catch(() => undefined);
    }
  }

  async function watch(seen: Map<string, Flow>, counts: { snapshots: number }): Promise<void> {
    for await (const event of client.watch({ address }, { signal: stop.signal })) {
      if (event.kind === "snapshot" && event.first) {
        seen.clear();
        counts.snapshots++;
      }
      for (const flow of event.flows)
        if (flow.state === "closed") seen.delete(flowKeyText(flow.key));
        else seen.set(flowKeyText(flow.key), flow);
    }
  }

  test("goes to four and back to one: nothing is lost, doubled, or said to be over, and watches follow (K2, K4, K6, K7, K8)", async () => {
    await writeEpoch();
    await until(() => areServed([...Array(shards).keys()], new Map()), "every shard to be served twice");
    await untilMoreEvents(2_000);
    const [wrong, tookMs]: [string[], number[]] = [[], []];
    const seen = new Map<string, Flow>();
    const counts = { snapshots: 0 };
    const asking = inquire(wrong, tookMs);
    const watching = watch(seen, counts).catch(() => undefined);
    running = Promise.all([running, asking, watching]);
    await untilMoreEvents(1_000);
    await change({ buckets: 4, generation: 1, before: 1 });
    await untilMoreEvents(2_000);
    const spread = await Promise.all(
      shardsOf(address, { buckets: 4, generation: 1 }, shards).map((shard) =>
        client.count({ shards: [shard] }, { signal }),
      ),
    );
    for (const { counts: of } of spread) expect(of[0]?.flows ?? 0).toBeGreaterThan(0);
    await change({ buckets: 1, generation: 2, before: 4 });
    await untilMoreEvents(1_000);
    stop.abort();
    await running;
    expect(wrong).toEqual([]);
    expect(await compareWithTrackers(traffic, [address], client, signal)).toEqual([]);
    // Two changes, each with an epoch that begins and one that ends it.
    expect(counts.snapshots).toBeGreaterThanOrEqual(3);
    tookMs.sort((a, b) => a - b);
    const p99 = tookMs[Math.floor(0.99 * tookMs.length)] ?? 0;
    console.log(`${tookMs.length} look-ups of ${askedAtOnce}, 99th percentile ${p99.toFixed(1)} ms`);
    expect(p99).toBeLessThan(1_000);
  });

  test("is watched through a change: whoever watches ends with what there is (K7)", async () => {
    await writeEpoch();
    await until(() => areServed([...Array(shards).keys()], new Map()), "every shard to be served twice");
    const seen = new Map<string, Flow>();
    const stopWatching = new AbortController();
    const watching = (async () => {
      for await (const event of client.watch({ address }, { signal: stopWatching.signal })) {
        if (event.kind === "snapshot" && event.first) seen.clear();
        for (const flow of event.flows)
          if (flow.state === "closed") seen.delete(flowKeyText(flow.key));
          else seen.set(flowKeyText(flow.key), flow);
      }
    })().catch(() => undefined);
    await untilMoreEvents(1_000);
    await change({ buckets: 3, generation: 1, before: 1 });
    await untilMoreEvents(500);
    stop.abort();
    await running;
    const texts = () => [...traffic.flows.keys()].sort().join();
    await until(() => [...seen.keys()].sort().join() === texts(), "the watch to have seen everything");
    stopWatching.abort();
    await watching;
  });
});
