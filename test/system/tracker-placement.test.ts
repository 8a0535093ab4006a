/**
 * Trackers that gossip, on NATS and LevelDB, and a coordinator that places their shards: who dies loses them, who comes gets
 * some, who is restarted keeps them, and nothing of what is told meanwhile is lost (SPEC, "Placement").
 */
import { expect, test } from "vitest";
import { holdersOf } from "../../src/placement/assignment.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip } from "../support/flows.ts";
import { Inquirer } from "../support/inquirer.ts";
import { TrackerCluster } from "../support/tracker-cluster.ts";

const shards = 8;
const addresses = Array.from({ length: 8 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const eventsPerSecond = 5_000;
/** From the kill until the epoch that takes the dead tracker's shards away. */
const epochWithinMs = 15_000;
const lookupP99Ms = 1_000;
const timeoutMs = 200_000;

const [one, two, three] = ["tracker1", "tracker2", "tracker3"] as const;
const wish = { trackers: [one, two, three], listed: [one, two], coordinators: ["coordinator1"], shards };

/** Who has which shard, whichever of them is the primary. */
function copiesIn({ epochs }: TrackerCluster): string[] {
  const { current } = epochs;
  if (current === undefined) return [];
  return current.holders.map((_, shard) =>
    holdersOf(current, shard)
      .map(({ name }) => name)
      .sort()
      .join(" "),
  );
}

test("trackers give shards to one that joins, keep them when it is restarted, take them when it is killed, and lose nothing (P5, P10, P14)", {
  timeout: timeoutMs,
}, async () => {
  const signal = AbortSignal.timeout(timeoutMs - 10_000);
  await using cluster = await TrackerCluster.create(wish, signal);
  await cluster.start(one, two);
  await using traffic = new Traffic({ bus: cluster.bus, addresses, shards, instance: "vm-a", eventsPerSecond });
  const stop = new AbortController();
  const inquirer = new Inquirer(cluster.client, traffic, shards);
  const running = Promise.all([traffic.run(stop.signal), inquirer.run(stop.signal, signal)]);
  let epochMs = 0;
  try {
    expect(cluster.copiesOf(three)).toBe(0);
    await cluster.join(three);
    await cluster.settled(one, two, three);

    const joined = copiesIn(cluster);
    expect(await cluster.tracker(three).end("SIGTERM")).toBe(0);
    await cluster.join(three);
    await cluster.settled(one, two, three);
    expect(copiesIn(cluster)).toEqual(joined);

    cluster.epochs.cause();
    const killedMs = performance.now();
    await cluster.tracker(three).end("SIGKILL");
    await cluster.until(() => cluster.copiesOf(three) === 0, "an epoch without it", epochWithinMs);
    epochMs = performance.now() - killedMs;
    await cluster.settled(one, two);
  } finally {
    stop.abort();
    await running;
  }
  const { p99Ms, tookMs, wrong } = inquirer;
  console.info(
    `epoch ${Math.round(epochMs)} ms after the kill; p99 of ${tookMs.length} look-ups ${Math.round(p99Ms)} ms`,
  );
  expect(p99Ms).toBeLessThan(lookupP99Ms);
  expect(wrong).toEqual([]);
  expect(cluster.epochs.faults()).toEqual([]);
  expect(await compareWithTrackers(traffic, addresses, cluster.client, signal)).toEqual([]);
});
