/**
 * Half of a cluster's trackers, and one of its coordinators, are cut off from the others and from NATS while flow events
 * come, for longer than gossip takes to call them dead; then the cut heals.
 */
import { expect, test } from "vitest";
import type { FlowAnswer } from "../../src/flow/answer.ts";
import type { FlowKey } from "../../src/flow/flow.ts";
import { TrackerServiceClient } from "../../src/gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../../src/node/state.ts";
import { holdersOf } from "../../src/placement/assignment.ts";
import { dial, unary } from "../../src/rpc/client.ts";
import { fromServiceError } from "../../src/rpc/errors.ts";
import { flowKeyToProto, positionsToProto } from "../../src/rpc/flow-codec.ts";
import { CutNetwork } from "../support/cut-network.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { Inquirer } from "../support/inquirer.ts";
import { TrackerCluster } from "../support/tracker-cluster.ts";

const shards = 16;
const addresses = Array.from({ length: 32 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const eventsPerSecond = 1_000;
const keysAsked = 200;
const askDeadlineMs = 1_000;
/** Of who is not cut off, once the shards are placed anew. */
const answeredWithinMs = 1_000;
/** NATS is silent for two heartbeats or pings before that means anything. */
const noticedWithinMs = 25_000;
/** After the heal: what makes both sides one, and every part full again. */
const epochsMax = 12;
const timeoutMs = 400_000;

const near = ["tracker1", "tracker2"] as const;
const far = ["tracker3", "tracker4"] as const;

/** What that one tracker says, whoever holds the shard. */
async function askAlone(
  endpoint: string,
  keys: readonly FlowKey[],
  atLeast: readonly ShardPosition[],
  signal: AbortSignal,
): Promise<FlowAnswer["kind"][]> {
  const client = dial(TrackerServiceClient, endpoint);
  const request = {
    keys: keys.map(flowKeyToProto),
    columns: undefined,
    atLeast: positionsToProto(atLeast),
    layouts: [],
  };
  try {
    const { answers } = await unary(client, "lookupFlows", request, { signal, deadlineMs: askDeadlineMs });
    return answers.map(({ answer }) => answer?.$case ?? "unknown");
  } catch (error) {
    expect(["SHARD_MOVED", "DEADLINE_EXCEEDED"]).toContain(fromServiceError(error).code);
    return keys.map(() => "unknown");
  } finally {
    client.close();
  }
}

test("trackers that are cut off give no answer that is out of date for one that is not, and after the heal all know the same (L4, L5, H1, P12)", {
  timeout: timeoutMs,
}, async () => {
  const signal = AbortSignal.timeout(timeoutMs - 20_000);
  await using network = await CutNetwork.create("baton-t-cut");
  const isFar = (name: string): boolean => name === "coordinator3" || far.some((it) => it === name);
  await using cluster = await TrackerCluster.create(
    {
      ...{ trackers: [...near, ...far], listed: [...near, ...far], shards, natsHost: network.outside.host },
      coordinators: ["coordinator1", "coordinator2", "coordinator3"],
      placeOf: (name) => (isFar(name) ? network.inside : network.outside),
    },
    signal,
  );
  await cluster.start(...near, ...far);
  await using traffic = new Traffic({ bus: cluster.bus, addresses, shards, instance: "vm-a", eventsPerSecond });
  const stop = new AbortController();
  const inquirer = new Inquirer(cluster.client, traffic, shards);
  const running = Promise.all([traffic.run(stop.signal), inquirer.run(stop.signal, signal)]);
  const farAnswers = async (keys: readonly FlowKey[], atLeast: readonly ShardPosition[] = []) => {
    const sockets = far.map((name) => cluster.tracker(name).socket);
    return new Set((await Promise.all(sockets.map((it) => askAlone(it, keys, atLeast, signal)))).flat());
  };
  try {
    await cluster.settled(...near, ...far);
    await cluster.until(() => traffic.events > 3 * eventsPerSecond, "events");
    const before = cluster.epochs.current;
    const isLost = (shard: number): boolean =>
      before !== undefined && holdersOf(before, shard).every(({ name }) => far.some((it) => it === name));
    expect(Array.from({ length: shards }, (_, shard) => isLost(shard))).toContain(true);

    cluster.epochs.cause();
    const cutMs = performance.now();
    await network.cut();
    // One may have been half-open before.
    const [opened, ended] = [traffic.lasting.length + 1, traffic.ended.length];
    await cluster.until(() => far.every((name) => cluster.copiesOf(name) === 0), "epochs without those cut off");
    console.info(`epochs without those cut off after ${Math.round(performance.now() - cutMs)} ms`);
    await cluster.settled(...near);
    console.info(`two copies of everything after ${Math.round(performance.now() - cutMs)} ms`);

    const beganMs = performance.now();
    const answers = await cluster.client.lookup(traffic.lasting.slice(0, keysAsked), [], { signal });
    expect(new Set(answers.map(({ kind }) => kind))).toEqual(new Set(["owned"]));
    expect(performance.now() - beganMs).toBeLessThan(answeredWithinMs);

    const atLeast = await traffic.barrier(signal);
    const openedSince = traffic.lasting.slice(opened, opened + keysAsked);
    const endedSince = traffic.ended.slice(ended, ended + keysAsked);
    const leftMs = Math.max(1, noticedWithinMs - (performance.now() - cutMs));
    const noticed = async () => !(await farAnswers(openedSince)).has("absent");
    await cluster.until(noticed, "those cut off to notice that they hear nothing", leftMs);
    expect(await farAnswers(openedSince)).toEqual(new Set(["unknown"]));
    expect(await farAnswers(endedSince, atLeast)).toEqual(new Set(["unknown"]));
    expect(await farAnswers(traffic.lasting.slice(0, keysAsked), atLeast)).toEqual(new Set(["unknown"]));

    cluster.epochs.cause();
    const epochs = cluster.epochs.records.length;
    const healedMs = performance.now();
    await network.heal();
    await cluster.settled(...near, ...far);
    const count = cluster.epochs.records.length - epochs;
    console.info(
      `four have their parts ${Math.round(performance.now() - healedMs)} ms after the heal, by ${count} epochs`,
    );
    expect(count).toBeLessThanOrEqual(epochsMax);
  } finally {
    stop.abort();
    await running;
  }
  console.info(
    `p99 of ${inquirer.tookMs.length} look-ups ${Math.round(inquirer.p99Ms)} ms; ${(100 * inquirer.shareOf("unknown")).toFixed(2)} % unknown`,
  );
  expect(inquirer.wrong).toEqual([]);
  expect(cluster.epochs.faults()).toEqual([]);
  expect(await compareWithTrackers(traffic, addresses, cluster.client, signal)).toEqual([]);
});
