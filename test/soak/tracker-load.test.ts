/** One of four trackers has three times the load of the others, by work that has nothing to do with its shards. */
import { expect, test } from "vitest";
import { BusyTracker } from "../support/busy-tracker.ts";
import { compareWithTrackers, Traffic } from "../support/flow-traffic.ts";
import { ip, keyOf } from "../support/flows.ts";
import { TrackerCluster } from "../support/tracker-cluster.ts";

const shards = 16;
const addresses = Array.from({ length: 32 }, (_, n) => ip(`203.0.113.${10 + n}`)) as [ReturnType<typeof ip>];
const eventsPerSecond = 300;
const keysAsked = 300;
const names = ["tracker1", "tracker2", "tracker3", "tracker4"] as const;
const busyName = "tracker3";
const usualLoad = 0.18;
const busyLoad = 0.65;
const timesMin = 3;
const givenWithinMs = 180_000;
/** Afterwards: long enough for two more turns, of which each comes later than the one before. */
const watchedMs = 200_000;
/** It keeps half its part: 8 copies of 32. */
const keptMin = 4;
const timeoutMs = 600_000;

test("a tracker at three times the load of the others gives shards away within three minutes, and gets none back while it is so (P6, P7)", {
  timeout: timeoutMs,
}, async () => {
  const signal = AbortSignal.timeout(timeoutMs - 20_000);
  const wish = { trackers: names, listed: names, coordinators: ["coordinator1", "coordinator2"], shards };
  await using cluster = await TrackerCluster.create(wish, signal);
  await cluster.start(...names);
  await using traffic = new Traffic({ bus: cluster.bus, addresses, shards, instance: "vm-a", eventsPerSecond });
  const stop = new AbortController();
  const all = new Map(names.map((name) => [name, new BusyTracker(cluster.tracker(name), usualLoad)]));
  const busy = all.get(busyName);
  if (busy === undefined) throw new Error(`there is no ${busyName}`);
  const unknownKeys = Array.from({ length: keysAsked }, (_, n) => ({ ...keyOf(n, addresses[n % 32]), port: 9 }));
  const running = Promise.all([
    traffic.run(stop.signal),
    ...[...all.values()].map((tracker) => tracker.run(unknownKeys, stop.signal)),
  ]);
  const isAt = (tracker: BusyTracker): boolean => Math.abs(tracker.load - tracker.wanted) < 0.15 * tracker.wanted;
  const timesTheOthers = (): number => {
    const others = [...all.values()].filter((it) => it !== busy);
    return (busy.load * others.length) / others.reduce((sum, { load }) => sum + load, 0);
  };
  try {
    await cluster.settled(...names);
    await cluster.until(() => all.values().every(isAt), "equal loads");
    const before = cluster.copiesOf(busyName);

    cluster.epochs.cause();
    busy.wanted = busyLoad;
    await cluster.until(() => timesTheOthers() >= timesMin, `${timesMin} times the load of the others`);
    const beganMs = performance.now();
    await cluster.until(() => cluster.copiesOf(busyName) < before, "it to give shards away", givenWithinMs);
    const afterMs = Math.round(performance.now() - beganMs);
    console.info(`${busyName} gave ${before - cluster.copiesOf(busyName)} of ${before} copies after ${afterMs} ms`);

    const endMs = performance.now() + watchedMs;
    let fewest = cluster.copiesOf(busyName);
    const isOver = (): boolean => {
      const copies = cluster.copiesOf(busyName);
      expect(copies).toBeLessThanOrEqual(fewest);
      fewest = copies;
      return performance.now() > endMs;
    };
    await cluster.until(isOver, "time to pass", 2 * watchedMs);
    console.info(`${fewest} copies are left with it; it has ${timesTheOthers().toFixed(1)} times the others' load`);
    expect(fewest).toBeGreaterThanOrEqual(keptMin);
  } finally {
    stop.abort();
    await running;
  }
  expect(cluster.epochs.faults()).toEqual([]);
  expect(await compareWithTrackers(traffic, addresses, cluster.client, signal)).toEqual([]);
});
