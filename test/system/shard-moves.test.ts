/**
 * Shards that move between trackers in processes of their own, on NATS and LevelDB, while flow events come (SPEC, "Shards
 * that move"). Epochs are written as an operator writes them by hand.
 */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { type Flow, flowKeyText } from "../../src/flow/flow.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../src/rpc/tracker-peers.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import type { ReplicaPhase } from "../../src/tracker/life.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { type TestDirectory, temporaryDirectory } from "../support/tracker.ts";
import { type TrackerProcess, trackerProcess } from "../support/tracker-process.ts";

const shards = 4;
const addresses = [ip("203.0.113.10"), ip("203.0.113.11"), ip("203.0.113.12"), ip("203.0.113.13")] as const;
const eventsPerSecond = 1_000;
const names = ["tracker1", "tracker2", "tracker3"] as const;
type Name = (typeof names)[number];
type Holders = readonly [primary: Name, standby?: Name];

const signal = AbortSignal.timeout(280_000);

describe("shards of trackers on NATS", () => {
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let trackers: Map<Name, TrackerProcess>;
  let bus: NatsBus;
  let traffic: Traffic;
  let client: TrackerClient;
  let peers: TrackerPeers;
  let stopTraffic: AbortController;
  let running: Promise<void>;

  const tracker = (name: Name): TrackerProcess => trackers.get(name) as TrackerProcess;
  const until = (condition: () => boolean | Promise<boolean>, what: string): Promise<true> =>
    waitFor(condition, { signal, timeoutMs: 30_000, what, intervalMs: 50 });

  /** As an operator would with `nats kv create baton epoch.<n> …`. */
  const writeEpoch = async (epoch: number, holders: readonly Holders[] | string): Promise<void> => {
    const members = names.map((name) => ({ name, endpoint: tracker(name).endpoint }));
    const entries = Array.from({ length: shards }, (_, shard) => {
      const [primary, standby] = (holders[shard] ?? []) as Holders;
      return { primary, ...(standby && { standby }) };
    });
    const text = typeof holders === "string" ? holders : JSON.stringify({ epoch, members, shards: entries });
    const connection = await bus.connection(signal);
    const bucket = await connection.jetstream().views.kv("baton", { bindOnly: true });
    await bucket.create(`epoch.${epoch}`, Buffer.from(text));
  };
  const everywhere = (...holders: Holders): Holders[] => Array.from({ length: shards }, () => holders);
  /** Undefined: the tracker has nothing of it, or does not answer. */
  const phaseAt = async (name: Name, shard: number): Promise<ReplicaPhase | undefined> =>
    (await peers.report(tracker(name).endpoint, [shard], signal))?.replicas.get(shard)?.phase;
  const isServed = async (shard: number, [primary, standby]: Holders): Promise<boolean> => {
    for (const name of names) {
      const wanted = name === primary || name === standby ? "serving" : undefined;
      if ((await phaseAt(name, shard)) !== wanted) return false;
    }
    return true;
  };
  const isServedAs = async (holders: readonly Holders[]): Promise<boolean> => {
    for (const [shard, of] of holders.entries()) if (!(await isServed(shard, of))) return false;
    return true;
  };
  const untilMoreEvents = async (count: number): Promise<void> => {
    const before = traffic.events;
    await until(() => traffic.events >= before + count, `${count} more events`);
  };
  /** Nothing lost, no phantom: what the trackers say is what the Map says. */
  const endTraffic = async (): Promise<void> => {
    stopTraffic.abort();
    await running;
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);
  };

  beforeEach(async () => {
    nats = await startNatsServer();
    directory = await temporaryDirectory();
    trackers = new Map();
    for (const name of names)
      trackers.set(
        name,
        await trackerProcess(directory, name, { servers: nats.servers, shards, listed: ["tracker1"] }),
      );
    await tracker("tracker1").start();
    bus = connectBus({ servers: nats.servers, name: "test" });
    traffic = new Traffic({ bus, addresses, shards, instance: "vm-a", eventsPerSecond });
    client = new TrackerClient([tracker("tracker1").endpoint]);
    peers = new TrackerPeers();
    stopTraffic = new AbortController();
    running = traffic.run(stopTraffic.signal);
  });
  afterEach(async () => {
    stopTraffic.abort();
    await running;
    client[Symbol.dispose]();
    peers[Symbol.dispose]();
    await traffic[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    for (const process of trackers.values()) await process[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  test("move by an epoch.2 written by hand, and clients, watches and barriers follow (H1, H3, H4)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(2_000)]);
    const [address] = addresses;
    const seen = new Map<string, Flow>();
    const stop = new AbortController();
    const watching = (async () => {
      for await (const event of client.watch({ address }, { signal: stop.signal })) {
        if (event.kind === "snapshot" && event.first) seen.clear();
        for (const flow of event.flows)
          if (flow.state === "closed") seen.delete(flowKeyText(flow.key));
          else seen.set(flowKeyText(flow.key), flow);
      }
    })().catch(() => undefined);
    await until(() => seen.size > 0, "the watch to begin");
    await writeEpoch(2, everywhere("tracker2"));
    const barriers: boolean[] = [];
    while (!(await isServedAs(everywhere("tracker2")))) {
      const { reached } = await client.barrier(await traffic.barrier(signal), { signal, deadlineMs: 10_000 });
      barriers.push(reached);
    }
    expect(barriers).not.toContain(false);
    await untilMoreEvents(1_000);
    await endTraffic();
    const expected = [...traffic.flows].filter(([, { key }]) => key.address === address).map(([text]) => text);
    await until(() => seen.size === expected.length, "the watch to know what the Map knows");
    expect([...seen.keys()].sort()).toEqual(expected.sort());
    stop.abort();
    await watching;
    // The only tracker that the client was given knows nothing any more; it could as well be gone.
    await tracker("tracker1").end("SIGTERM");
    expect(await compareWithTrackers(traffic, addresses, client, signal)).toEqual([]);
  }, 60_000);

  test("look-ups go on at every moment of a move, and never say that a flow is absent that is there (H3)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(2_000)]);
    const known = [...traffic.flows.values()].filter(({ state }, index) => state === "open" && index % 3 === 0);
    const keys = known.slice(0, 50).map(({ key }) => key);
    await writeEpoch(2, everywhere("tracker2"));
    const kinds = new Map<string, number>();
    const tookMs: number[] = [];
    while (!(await isServedAs(everywhere("tracker2")))) {
      const beganMs = performance.now();
      for (const { kind } of await client.lookup(keys, [], { signal })) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      tookMs.push(performance.now() - beganMs);
    }
    expect(kinds.get("absent") ?? 0).toBe(0);
    expect(kinds.get("owned") ?? 0).toBeGreaterThan(0);
    expect(Math.max(...tookMs)).toBeLessThan(2_000);
    await endTraffic();
  }, 60_000);

  test("are copied where the stream is long, and go on from there (H2)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(500)]);
    const connection = await bus.connection(signal);
    const manager = await connection.jetstreamManager();
    const { state } = await manager.streams.info("BATON_FLOWS");
    await until(
      async () => (await tracker("tracker1").metric("baton_tracker_lag_messages")) < 20,
      "tracker1 to follow",
    );
    await manager.streams.purge("BATON_FLOWS", { seq: Math.max(2, state.last_seq - 50) });
    await writeEpoch(2, everywhere("tracker2", "tracker1"));
    await until(() => isServedAs(everywhere("tracker2", "tracker1")), "both to serve");
    expect(tracker("tracker2").log()).toContain('"isCopied":true');
    expect(tracker("tracker2").log()).not.toContain("built anew");
    await untilMoreEvents(500);
    await endTraffic();
  }, 60_000);

  test("outlive the giver's and the taker's SIGKILL amid a handoff (H5, H6)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(1_000)]);
    await writeEpoch(2, everywhere("tracker2"));
    await until(async () => (await phaseAt("tracker1", 0)) === "leaving", "the handoff to begin");
    await tracker("tracker2").end("SIGKILL");
    await untilMoreEvents(500);
    expect(await phaseAt("tracker1", 0)).toBe("leaving");
    expect((await client.count({}, { signal })).complete).toBe(true);
    const restarted = tracker("tracker2").start();
    await tracker("tracker1").end("SIGKILL");
    await Promise.all([restarted, tracker("tracker1").start()]);
    await until(() => isServedAs(everywhere("tracker2")), "the taker to serve, and the giver to be rid of it");
    await untilMoreEvents(500);
    await endTraffic();
  }, 60_000);

  test("go back to who has had them, who kept nothing of before (H6)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(500)]);
    for (const [epoch, name] of [
      [2, "tracker2"],
      [3, "tracker1"],
      [4, "tracker2"],
    ] as const) {
      await writeEpoch(epoch, everywhere(name));
      await until(() => isServedAs(everywhere(name)), `${name} to serve alone`);
      await untilMoreEvents(200);
    }
    await endTraffic();
  }, 60_000);

  test("keep to the epoch before a record that nobody can read, and go on with the next one (H7)", async () => {
    await Promise.all([tracker("tracker2").start(), untilMoreEvents(200)]);
    for (const [epoch, text] of [
      [2, "not JSON"],
      [3, '{"epoch":3,"members":[],"shards":[]}'],
    ] as const)
      await writeEpoch(epoch, text);
    const malformed = () => tracker("tracker1").metric("baton_tracker_epochs_malformed_total");
    await until(async () => (await malformed()) === 2, "both to be counted");
    expect(await phaseAt("tracker1", 0)).toBe("serving");
    await writeEpoch(4, everywhere("tracker2"));
    await until(() => isServedAs(everywhere("tracker2")), "the next epoch to rule");
    await endTraffic();
  }, 60_000);

  test("grow from one tracker to three, and a primary's SIGKILL costs no answer (H8)", async () => {
    await untilMoreEvents(1_000);
    await tracker("tracker2").start();
    const two = everywhere("tracker1", "tracker2");
    await writeEpoch(2, two);
    await until(() => isServedAs(two), "two copies");
    await tracker("tracker3").start();
    const three: Holders[] = [
      ["tracker1", "tracker2"],
      ["tracker2", "tracker3"],
      ["tracker3", "tracker1"],
      ["tracker3", "tracker2"],
    ];
    await writeEpoch(3, three);
    await until(() => isServedAs(three), "three trackers to share");
    await untilMoreEvents(500);
    const open = [...traffic.flows.values()].filter(
      ({ key }, index) => index % 3 === 0 && shardOf(key.address, shards) >= 2,
    );
    const keys = open.slice(0, 50).map(({ key }) => key);
    await tracker("tracker3").end("SIGKILL");
    const tookMs: number[] = [];
    for (let round = 0; round < 20; round++) {
      const beganMs = performance.now();
      const answers = await client.lookup(keys, [], { signal });
      tookMs.push(performance.now() - beganMs);
      expect(answers.filter(({ kind }) => kind === "unknown" || kind === "absent")).toEqual([]);
    }
    expect(Math.max(...tookMs)).toBeLessThan(2_000);
    await untilMoreEvents(500);
    await endTraffic();
  }, 60_000);
});
