import { describe, expect, it } from "vitest";
import { trackerTable, whereRedisIsAhead } from "../../bench/tracker/report.ts";
import { type Footprint, type Lookups, peers, subjects, type TrackerResult } from "../../bench/tracker/result.ts";

const spread = (median: number) => ({ median, min: median / 2, max: 2 * median });
const ingest = (peerName: string, ratio: number, subjectMicros: number, peerMicros: number) => ({
  ...{ peerName, pairs: 5, subject: spread(500_000), peer: spread(500_000 / ratio), ratio: spread(ratio) },
  ...{ subjectMicros, peerMicros },
});
const lookups = (subject: string, keysEach: number, keysPerSecond: number, clientMicros: number): Lookups => ({
  ...{ subject, keysEach, inFlight: 4, keysPerSecond, p50Ms: 1, p99Ms: 2, clientMicros },
  ...(subject === subjects.table ? {} : { serverMicros: clientMicros / 2 }),
});
const footprint = (subject: string, bytesPerFlow: number, recoveryMs: number): Footprint => ({
  ...{ subject, bytesPerFlow, anonymousBytesPerFlow: bytesPerFlow - 20, bytesPerFlowAfterRestart: bytesPerFlow - 50 },
  ...{ recoveryMs, emptyStartMs: 500 },
});

const measured: TrackerResult = {
  bench: "tracker",
  flows: 1_000_000,
  ingestFlows: 200_000,
  redis: "7.0.15",
  ingest: [ingest(peers.batch, 1.1, 3, 2.5), ingest(peers.chained, 0.8, 3, 1.8), ingest(peers.redis, 2, 3, 5)],
  lookups: [
    lookups(subjects.tracker, 1, 5_000, 200),
    lookups(subjects.tracker, 1_000, 400_000, 3),
    lookups(subjects.table, 1_000, 1_500_000, 0.6),
    lookups(subjects.redis, 1, 50_000, 12),
    lookups(subjects.redis, 1_000, 800_000, 1),
  ],
  footprints: [footprint("tracker", 200, 5_000), footprint("redis-server", 180, 2_000)],
  levelReadMs: 2_100,
};

describe("the report on trackers and their peers", () => {
  it("says where redis is ahead, by how much, and which part of the difference was measured where", () => {
    const [single, batched, memory, recovery, ...others] = whereRedisIsAhead(measured);
    expect(others).toEqual([]);
    expect(single).toContain("ahead in single look-ups, 10.0 times");
    expect(single).toContain("200.00 µs where it is asked and 100.00 µs where it is answered");
    expect(batched).toContain("ahead in batched look-ups, 2.0 times");
    expect(batched).toContain("finding it in the table is 0.60 µs");
    expect(memory).toContain("of 200 bytes a flow 20 are LevelDB's files");
    expect(memory).toContain("takes 150");
    expect(recovery).toContain("without flows takes 0.50 s");
    expect(recovery).toContain(
      "LevelDB alone takes 2.10 s to hand what is stored of 1,000,000 flows to JavaScript, of the 4.50 s",
    );
  });

  it("tells what an ingested flow costs each of them, where redis takes more of them", () => {
    const slower = measured.ingest.map((it) => (it.peerName === peers.redis ? { ...it, ratio: spread(0.5) } : it));
    const [first] = whereRedisIsAhead({ ...measured, ingest: slower });
    expect(first).toContain("ahead in ingest, 2.0 times");
    expect(first).toContain("costs the tracker 3.00 µs of processor time");
    expect(first).toContain("LevelDB 1.80 µs for a row that is ready made");
  });

  it("says that redis is ahead nowhere when it is not", () => {
    const slowRedis = measured.lookups.map((it) => (it.subject === subjects.redis ? { ...it, keysPerSecond: 1 } : it));
    const [tracker, redis] = [footprint("tracker", 100, 1_000), footprint("redis-server", 180, 2_000)];
    const result = { ...measured, lookups: slowRedis, footprints: [tracker, redis] };
    expect(whereRedisIsAhead(result)).toEqual(["redis is ahead nowhere."]);
  });

  it("has a line for each peer, each kind of look-up and each process", () => {
    const table = trackerTable(measured);
    for (const { peerName } of measured.ingest) expect(table).toContain(`\n${peerName}`);
    for (const { subject, keysEach } of measured.lookups)
      expect(table).toMatch(new RegExp(`^${subject} +${keysEach} `, "m"));
    expect(table).toMatch(/^tracker +200 +180 +150 +5\.00 s +0\.50 s$/m);
  });
});
