/** A tracker on NATS and LevelDB that is killed, and a NATS that is killed, while thousands of events a second come. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
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
