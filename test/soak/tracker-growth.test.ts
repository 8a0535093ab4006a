/**
 * A cluster that grows from one tracker to three and five and shrinks to two while thousands of flow events a second come,
 * and three coordinators place its shards at the same time.
 */
import { expect, test } from "vitest";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { Inquirer } from "../support/inquirer.ts";
import { TrackerCluster } from "../support/tracker-cluster.ts";

const shards = 8;
const addresses = Array.from({ length: 8 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const eventsPerSecond = 1_000;
const lookupP99Ms = 1_000;
/** Of look-ups that may stay without an answer: those under way to a tracker that is killed. */
const unknownMax = 0.01;
const timeoutMs = 600_000;

test("trackers that become 3, 5 and 2 amid events, of which one is killed, lose nothing, and no look-up is answered wrongly (P5, P12)", {
  timeout: timeoutMs,
}, async () => {
  const signal = AbortSignal.timeout(timeoutMs - 20_000);
  const [one, two, three, four, five] = ["tracker1", "tracker2", "tracker3", "tracker4", "tracker5"] as const;
  await using cluster = await TrackerCluster.create(
    {
      ...{ trackers: [one, two, three, four, five], listed: [one], shards },
      coordinators: ["coordinator1", "coordinator2", "coordinator3"],
    },
    signal,
  );
  await cluster.start(one);
  await using traffic = new Traffic({ bus: cluster.bus, addresses, shards, instance: "vm-a", eventsPerSecond });
  const stop = new AbortController();
  const inquirer = new Inquirer(cluster.client, traffic, shards);
  const running = Promise.all([traffic.run(stop.signal), inquirer.run(stop.signal, signal)]);
  const stage = async (what: string, act: () => Promise<unknown>, ...members: readonly string[]): Promise<void> => {
    const [beganMs, epochs] = [performance.now(), cluster.epochs.records.length];
    cluster.epochs.cause();
    await act();
    await cluster.settled(...members);
    const tookMs = Math.round(performance.now() - beganMs);
    console.info(`${what}: ${tookMs} ms, ${cluster.epochs.records.length - epochs} epochs`);
  };
  try {
    await stage("one", async () => {}, one);
    await stage("three", () => cluster.join(two, three), one, two, three);
    await stage("five", () => cluster.join(four, five), one, two, three, four, five);
    await stage("one is killed", () => cluster.tracker(four).end("SIGKILL"), one, two, three, five);
    await stage("one leaves", () => cluster.tracker(five).end("SIGTERM"), one, two, three);
    await stage("the first one leaves", () => cluster.tracker(one).end("SIGTERM"), two, three);
  } finally {
    stop.abort();
    await running;
  }
  const { wrong, p99Ms, tookMs } = inquirer;
  const unknown = inquirer.shareOf("unknown");
  console.info(`${traffic.events} events, ${traffic.flows.size} flows; ${cluster.epochs.records.length} epochs`);
  console.info(`p99 of ${tookMs.length} look-ups ${Math.round(p99Ms)} ms; ${(100 * unknown).toFixed(2)} % unknown`);
  expect(wrong).toEqual([]);
  expect(cluster.epochs.faults()).toEqual([]);
  expect(p99Ms).toBeLessThan(lookupP99Ms);
  expect(unknown).toBeLessThan(unknownMax);
  expect(await compareWithTrackers(traffic, addresses, cluster.client, signal)).toEqual([]);
});
