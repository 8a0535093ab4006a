/**
 * A tracker on NATS and LevelDB that is killed, and a NATS that is killed, while thousands of events a second come; and one
 * of two trackers that stands still.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { assignShards } from "../../src/placement/assignment.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { type TestDirectory, temporaryDirectory } from "../support/tracker.ts";
import { type TrackerProcess, trackerProcess } from "../support/tracker-process.ts";

const addresses = [ip("203.0.113.10"), ip("203.0.113.11"), ip("203.0.113.12")] as const;
const owner = "vm-a";
const eventsPerSecond = 3_000;

const signal = AbortSignal.timeout(180_000);

describe("a tracker on NATS and LevelDB", () => {
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let tracker: TrackerProcess;
  let bus: NatsBus;
  let traffic: Traffic;
  let client: TrackerClient;

  beforeEach(async () => {
    nats = await startNatsServer();
    directory = await temporaryDirectory();
    tracker = await trackerProcess(directory, "tracker1", { servers: nats.servers });
    await tracker.start();
    bus = connectBus({ servers: nats.servers, name: "test" });
    traffic = new Traffic({ bus, addresses, shards: 32, instance: owner, eventsPerSecond });
    client = new TrackerClient([tracker.endpoint]);
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    await traffic[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    await tracker[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const expectAllKnown = async (): Promise<void> => {
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);
  };

  test("killed again and again amid thousands of events a second, loses nothing and holds nothing twice", async () => {
    const stop = new AbortController();
    const startMs = performance.now();
    const running = traffic.run(stop.signal);
    for (let kill = 0; kill < 3; kill++) {
      const before = await tracker.metric("baton_tracker_changes_total");
      await waitFor(async () => (await tracker.metric("baton_tracker_changes_total")) > before + 2_000, {
        signal,
        timeoutMs: 20_000,
        what: "2,000 changes to be applied",
      });
      await tracker.end("SIGKILL");
      await tracker.start();
    }
    stop.abort();
    await running;
    const seconds = (performance.now() - startMs) / 1_000;
    expect(traffic.events / seconds).toBeGreaterThan(2_000);
    await expectAllKnown();
    expect(tracker.log()).not.toContain("snapshot is needed");
    expect(tracker.log()).not.toContain("built anew");
  }, 120_000);

  test("goes on when NATS was killed and came back, without a gap", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 2_000, { signal, timeoutMs: 20_000, what: "events" });
    await nats.kill();
    const atKill = traffic.events;
    await waitFor(() => traffic.events > atKill + 2_000, { signal, timeoutMs: 20_000, what: "events without NATS" });
    await nats.start();
    stop.abort();
    await running;
    await expectAllKnown();
    expect(tracker.log()).not.toContain("built anew");
  }, 120_000);

  test("builds its shards anew from what the instances send when NATS has lost everything", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 2_000, { signal, timeoutMs: 20_000, what: "events" });
    stop.abort();
    await running;
    await expectAllKnown();
    await nats.wipe();
    await nats.start();
    await tracker.end("SIGTERM");
    await tracker.start();
    const whole = async () => (await client.count({}, { signal })).complete;
    await waitFor(whole, { signal, timeoutMs: 30_000, what: "the shards to be complete" });
    await expectAllKnown();
    expect(tracker.log()).toContain("built anew");
  }, 120_000);

  test("ends on SIGTERM with exit code 0, and starts with what it knew", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 1_000, { signal, timeoutMs: 20_000, what: "events" });
    stop.abort();
    await running;
    await expectAllKnown();
    expect(await tracker.end("SIGTERM")).toBe(0);
    await nats.kill();
    const restarted = tracker.start().catch(() => undefined);
    const found = await client.lookup(
      [...traffic.flows.values()].slice(0, 10).map(({ key }) => key),
      [],
      {
        deadlineMs: 15_000,
        signal,
      },
    );
    expect(found.map(({ kind }) => kind)).toEqual(Array(10).fill("owned"));
    await nats.start();
    await restarted;
  }, 120_000);
});

describe("the two trackers of a shard", () => {
  const names = ["tracker1", "tracker2"] as const;
  /** What a client waits for before it asks the standby as well. */
  const patienceMs = 250;
  const lookups = 12;
  const shards = 4;

  test("answer look-ups a quarter of a second late while the primary stands still, and at once when it goes on (L6)", async () => {
    await using nats = await startNatsServer();
    await using directory = await temporaryDirectory();
    const options = { servers: nats.servers, shards, listed: names };
    await using first = await trackerProcess(directory, names[0], options);
    await using second = await trackerProcess(directory, names[1], options);
    await Promise.all([first.start(), second.start()]);
    await using bus = connectBus({ servers: nats.servers, name: "test" });
    await using traffic = new Traffic({ bus, addresses, shards, instance: owner, eventsPerSecond });
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.flows.size > 100, { signal, timeoutMs: 20_000, what: "flows" });
    stop.abort();
    await running;
    using client = new TrackerClient([first.endpoint, second.endpoint]);
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);
    const [{ key } = expect.fail()] = traffic.flows.values();
    const shard = shardOf(key.address, shards);
    using peers = new TrackerPeers();
    const areLevel = async (): Promise<boolean> => {
      const reports = await Promise.all(
        [first, second].map(async ({ endpoint }) =>
          (await peers.report(endpoint, [shard], signal))?.replicas.get(shard),
        ),
      );
      return reports.every((it) => it?.phase === "serving" && it.lag === 0 && it.complete);
    };
    await waitFor(areLevel, { signal, timeoutMs: 20_000, what: "both copies to have everything" });
    const timedMs = async (): Promise<number> => {
      const askedMs = performance.now();
      const [answer] = await client.lookup([key], [], { signal });
      expect(answer).toMatchObject({ kind: "owned", flow: { owner } });
      return performance.now() - askedMs;
    };
    const atOnce = async (): Promise<boolean> => (await timedMs()) < patienceMs;
    const isAtOnce = { signal, timeoutMs: 20_000, what: "an answer of the primary" };
    await waitFor(atOnce, isAtOnce);

    const { primary } = assignShards(1n, shards, [first, second]).holders[shard] ?? expect.fail();
    const [stopped] = [first, second].filter(({ name }) => name === primary.name);
    stopped?.pause();
    const took: number[] = [];
    for (let n = 0; n < lookups; n++) took.push(await timedMs());
    stopped?.resume();
    took.sort((a, b) => a - b);
    // A timer may fire a little early by another clock.
    expect(took[0]).toBeGreaterThan(patienceMs - 5);
    expect(took[lookups / 2]).toBeLessThan(2 * patienceMs);
    await waitFor(atOnce, isAtOnce);
  }, 60_000);
});
