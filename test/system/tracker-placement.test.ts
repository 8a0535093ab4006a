/**
 * Trackers that gossip, on NATS and LevelDB, and a coordinator's placing: who dies loses its shards, who comes gets some, and
 * nothing of what is told meanwhile is lost (SPEC, "Placement").
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { placeShards } from "../../services/coordinator/placing.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { gossipField } from "../../src/cluster/config.ts";
import { ClusterMembership } from "../../src/cluster/membership.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { sleep, waitFor } from "../../src/runtime/retry.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { freePort, natsServerInstalled, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { countOf } from "../support/placement.ts";
import { quietLog, type TestDirectory, temporaryDirectory } from "../support/tracker.ts";
import { type TrackerProcess, trackerProcess } from "../support/tracker-process.ts";

const shards = 8;
const addresses = Array.from({ length: 8 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const names = ["tracker1", "tracker2", "tracker3"] as const;
const eventsPerSecond = 5_000;
const keysPerLookup = 200;
const lookupEveryMs = 20;
/** From the kill until the epoch that takes the dead tracker's shards away. */
const epochWithinMs = 15_000;
const lookupP99Ms = 1_000;

const signal = AbortSignal.timeout(280_000);

describe("trackers that gossip", () => {
  let cleanUp: AsyncDisposableStack;
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let bus: NatsBus;
  let client: TrackerClient;
  let peers: TrackerPeers;
  let epochs: KvEpochLog;
  let membership: ClusterMembership;
  const trackers = new Map<string, TrackerProcess>();
  const tracker = (name: string): TrackerProcess => trackers.get(name) as TrackerProcess;
  const until = (condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 60_000): Promise<true> =>
    waitFor(condition, { signal, timeoutMs, what, intervalMs: 50 });

  beforeEach(async () => {
    if (!natsServerInstalled) throw new Error("nats-server is not installed; run `npm run setup`");
    cleanUp = new AsyncDisposableStack();
    const stop = new AbortController();
    nats = cleanUp.use(await startNatsServer());
    directory = cleanUp.use(await temporaryDirectory());
    const ports = await Promise.all([...names, "coordinator1"].map(freePort));
    const seeds = ports.map((port) => `127.0.0.1:${port}`);
    // All of them share this machine's processors.
    const sectionOf = (place: number) => ({ listen: seeds[place], seeds, label: "test", load: ["loop", "delay"] });
    for (const [place, name] of names.entries()) {
      const gossip = sectionOf(place);
      const listed = ["tracker1", "tracker2"];
      trackers.set(
        name,
        cleanUp.use(await trackerProcess(directory, name, { servers: nats.servers, shards, listed, gossip })),
      );
    }
    await Promise.all([tracker("tracker1").start(), tracker("tracker2").start()]);
    bus = cleanUp.use(connectBus({ servers: nats.servers, name: "test" }));
    client = cleanUp.use(new TrackerClient([tracker("tracker1").endpoint, tracker("tracker2").endpoint]));
    peers = cleanUp.use(new TrackerPeers());
    epochs = new KvEpochLog({ bus, replicas: 1, shards, log: quietLog, onMalformed: (key) => expect.fail(key) });
    membership = cleanUp.use(
      await ClusterMembership.open({
        ...{ name: "coordinator1", roles: ["coordinator"], services: {}, log: quietLog },
        section: gossipField.parse(sectionOf(names.length)),
      }),
    );
    membership.join();
    const parts = { name: "coordinator1", shards, epochs, membership, peers, bus, clock: systemClock, log: quietLog };
    const running = [
      epochs.run(stop.signal),
      placeShards({ ...parts, random: Math.random, onMove: () => undefined }, stop.signal),
    ];
    cleanUp.defer(async () => {
      stop.abort();
      await Promise.all(running);
    });
  });
  afterEach(async () => {
    await cleanUp[Symbol.asyncDispose]();
  });

  /** Every copy that the newest epoch names is served, and no other is left anywhere. */
  const isServedAsPlaced = async (): Promise<boolean> => {
    const { current } = epochs;
    if (current === undefined) return false;
    for (const name of names) {
      const report = await peers.report(tracker(name).endpoint, [], signal);
      const serving = [...(report?.replicas.values() ?? [])].filter(({ phase }) => phase === "serving").length;
      if (serving !== countOf(current, name) || (report !== undefined && report.replicas.size !== serving))
        return false;
    }
    return true;
  };
  const hasTwoCopies = (): boolean => epochs.current?.holders.every(({ standby }) => standby !== undefined) ?? false;
  const copiesOf = (name: string): number => countOf(epochs.current, name);
  const haveTheirParts = (...members: readonly string[]): boolean =>
    hasTwoCopies() &&
    names.every((name) =>
      members.includes(name)
        ? copiesOf(name) >= Math.floor((0.75 * 2 * shards) / members.length)
        : copiesOf(name) === 0,
    );

  /** Asks all the time; how long each answer took. */
  const lookUp = async (keys: () => readonly FlowKey[], stop: AbortSignal): Promise<number[]> => {
    const tookMs: number[] = [];
    while (!stop.aborted) {
      const beganMs = performance.now();
      await client.lookup(keys(), [], { signal });
      tookMs.push(performance.now() - beganMs);
      await sleep(lookupEveryMs, stop).catch(() => undefined);
    }
    return tookMs;
  };

  test("give shards to one that joins, take them from one that is killed under load, and lose nothing (P5, P10)", async () => {
    await using traffic = new Traffic({ bus, addresses, shards, instance: "vm-a", eventsPerSecond });
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await until(() => traffic.events > eventsPerSecond, "events");
    expect(copiesOf("tracker3")).toBe(0);
    await tracker("tracker3").start();
    await until(() => haveTheirParts(...names), "tracker3 to have its part");
    await until(isServedAsPlaced, "its copies to be served");

    const someKeys = (): FlowKey[] => [...traffic.flows.values()].slice(-keysPerLookup).map(({ key }) => key);
    const looking = lookUp(someKeys, stop.signal);
    const killedMs = performance.now();
    await tracker("tracker3").end("SIGKILL");
    await until(() => copiesOf("tracker3") === 0, "an epoch without it", epochWithinMs);
    const epochMs = performance.now() - killedMs;
    await until(() => haveTheirParts("tracker1", "tracker2"), "two copies of every shard");
    await until(isServedAsPlaced, "these to be served");
    stop.abort();
    await running;
    const tookMs = (await looking).sort((a, b) => a - b);
    const p99Ms = tookMs[Math.floor(0.99 * tookMs.length)] ?? Number.POSITIVE_INFINITY;
    console.info(
      `epoch ${Math.round(epochMs)} ms after the kill; p99 of ${tookMs.length} look-ups ${Math.round(p99Ms)} ms`,
    );
    expect(p99Ms).toBeLessThan(lookupP99Ms);
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);
  }, 200_000);

  test("leave by SIGTERM at once, and come back to what they get then", async () => {
    await until(() => haveTheirParts("tracker1", "tracker2"), "the first epoch");
    await tracker("tracker3").start();
    await until(() => haveTheirParts(...names), "tracker3 to have its part");
    expect(await tracker("tracker2").end("SIGTERM")).toBe(0);
    await until(() => haveTheirParts("tracker1", "tracker3"), "tracker2's shards to be given away");
    await tracker("tracker2").start();
    await until(() => haveTheirParts(...names), "it to have its part again");
    await until(isServedAsPlaced, "all copies to be served, and no others");
  }, 200_000);
});
