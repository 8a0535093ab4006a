/**
 * A tracker beside an agent: it runs while an epoch names it, and at no other time (SPEC, "Hosting"). The agent's part is
 * the real one but for its kernel; its tracker is a process, as is the dedicated one beside it.
 */
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { planHosting } from "../../services/agent/hosting/config.ts";
import { Hosting } from "../../services/agent/hosting/hosting.ts";
import { placeShards } from "../../services/coordinator/placing.ts";
import { KvEpochLog } from "../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { gossipField } from "../../src/cluster/config.ts";
import { ClusterMembership } from "../../src/cluster/membership.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { freePort, natsServerInstalled, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { countOf } from "../support/placement.ts";
import { quietLog, type TestDirectory, temporaryDirectory } from "../support/tracker.ts";
import { type TrackerProcess, trackerProcess } from "../support/tracker-process.ts";

const shards = 4;
const addresses = Array.from({ length: 4 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const host = "vm-a";
const eventsPerSecond = 500;

describe("an agent that may host a tracker", () => {
  let cleanUp: AsyncDisposableStack;
  let nats: TestNatsServer;
  let dedicated: TrackerProcess;
  let directory: TestDirectory;
  let bus: NatsBus;
  let epochs: KvEpochLog;
  let client: TrackerClient;
  let peers: TrackerPeers;
  let seeds: readonly string[];
  const signal = AbortSignal.timeout(150_000);
  const until = (condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 30_000): Promise<true> =>
    waitFor(condition, { signal, timeoutMs, what, intervalMs: 50 });
  const endpoint = (): string => `unix:${join(directory.path, `${host}.sock`)}`;
  const dataDirectory = (): string => join(directory.path, host);
  const copies = (): number => countOf(epochs.current, host);
  const failed = (error: Error): void => expect.fail(error.message);

  beforeEach(async () => {
    if (!natsServerInstalled) throw new Error("nats-server is not installed; run `npm run setup`");
    cleanUp = new AsyncDisposableStack();
    nats = cleanUp.use(await startNatsServer());
    directory = cleanUp.use(await temporaryDirectory());
    const ports = await Promise.all(["tracker1", "coordinator1", host].map(freePort));
    seeds = ports.map((port) => `127.0.0.1:${port}`);
    dedicated = cleanUp.use(
      await trackerProcess(directory, "tracker1", { servers: nats.servers, shards, gossip: section(0) }),
    );
    await dedicated.start();
    bus = cleanUp.use(connectBus({ servers: nats.servers, name: "test" }));
    client = cleanUp.use(new TrackerClient([dedicated.endpoint]));
    peers = cleanUp.use(new TrackerPeers());
    epochs = new KvEpochLog({ bus, replicas: 1, shards, log: quietLog, onMalformed: (key) => expect.fail(key) });
    const membership = cleanUp.use(
      await ClusterMembership.open({
        ...{ name: "coordinator1", roles: ["coordinator"], services: {}, log: quietLog },
        section: gossipField.parse(section(1)),
      }),
    );
    membership.join();
    const parts = { name: "coordinator1", shards, epochs, membership, peers, bus, clock: systemClock, log: quietLog };
    const stop = new AbortController();
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

  const section = (place: number): object => ({
    ...{ listen: seeds[place], seeds, label: "test" },
    load: ["loop", "delay"],
  });

  const openHosting = async (listen = endpoint()): Promise<Hosting> => {
    const plan = planHosting({
      ...{ name: host, privateAddresses: ["127.0.0.1"], stateDirectory: directory.path, shards },
      ...{ coordinators: [], trackers: [], nats: { servers: nats.servers }, log: { level: "error" } },
      hosting: {
        ...{ enabled: true, readiness: "ready", listen: [listen], dataDirectory: dataDirectory() },
        stream: { maxAgeMs: 3_600_000, maxBytes: 100_000_000, replicas: 1 },
        rebuild: { settleMs: 500 },
        gossip: gossipField.parse(section(2)),
      },
    });
    const hosting = cleanUp.use(await Hosting.open(plan, quietLog));
    hosting.begin(failed);
    return hosting;
  };

  const serves = async (count: number): Promise<boolean> => {
    const replicas = [...((await peers.report(endpoint(), [], signal))?.replicas.values() ?? [])];
    return replicas.filter(({ phase }) => phase === "serving").length === count && replicas.length === count;
  };

  test("starts it when an epoch names it, gives all away when its host is to go, and stops it then (H11, H12)", async () => {
    await using traffic = new Traffic({ bus, addresses, shards, instance: "vm-b", eventsPerSecond });
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await until(() => epochs.current !== undefined, "the first epoch");
    const hosting = await openHosting();
    expect(hosting.tracker.pid).toBeUndefined();
    await until(() => copies() === shards, "a copy of every shard here");
    await until(() => serves(shards), "these to be served");
    expect(hosting.report()).toMatchObject({ readiness: "ready", vacated: false, takers: 0 });

    const pid = hosting.tracker.pid as number;
    process.kill(pid, "SIGKILL");
    await until(async () => hosting.tracker.pid !== pid && (await serves(shards)), "it to be back after its death");
    expect(hosting.troubles()).toEqual([]);

    hosting.vacate(true, false);
    await until(() => copies() === 0, "an epoch without it");
    expect(hosting.report()).toMatchObject({ readiness: "draining", vacated: false, takers: 1 });
    await until(() => hosting.report().vacated, "it to have nothing, and to be sure of it");
    expect(hosting.tracker.pid).toBeUndefined();
    expect(existsSync(join(dataDirectory(), "flows"))).toBe(false);
    stop.abort();
    await running;
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);

    hosting.vacate(false, false);
    await until(() => serves(shards), "it to get shards again when its host stays");
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);

    dedicated.drain();
    await until(() => countOf(epochs.current, "tracker1") === 0, "the other tracker to have given all to it (P13)");
    await until(() => serves(shards), "it to serve them alone");
    expect(await dedicated.end("SIGTERM")).toBe(0);
    using alone = new TrackerClient([endpoint()]);
    expect(await compareWithTrackers(traffic, addresses, alone, signal)).toEqual([]);
  }, 120_000);

  test("offers nothing while its tracker can't run, and its shards go to others (H13)", async () => {
    const occupied = createServer();
    const port = await freePort();
    await new Promise<void>((resolve) => occupied.listen(port, "127.0.0.1", () => resolve()));
    await until(() => epochs.current !== undefined, "the first epoch");
    const hosting = await openHosting(`127.0.0.1:${port}`);
    await until(() => copies() === shards, "it to be named");
    await until(() => hosting.troubles().length > 0, "it to say that its tracker can't run");
    await until(() => !hosting.tracker.offers, "it to give up for a while");
    await until(() => copies() === 0, "its shards to be taken away");
    expect(hosting.troubles()).toMatchObject([expect.stringContaining("has died")]);
    occupied.close();
  }, 120_000);
});
