/** A measurement of trackers as a table for people, with what the figures say of where redis is ahead. Pure. */
import { rowsPerMessage } from "./flows.ts";
import { type Footprint, type Lookups, peers, subjects, type TrackerResult } from "./result.ts";

export function trackerTable(result: TrackerResult): string {
  const { flows, ingestFlows, ingest, lookups, footprints } = result;
  return [
    `a tracker on LevelDB, against LevelDB alone (classic-level) and redis-server ${result.redis} (AOF everysec)`,
    "µs: processor time, of all threads, which tells the costs also while the machine has other work",
    "",
    `ingest: ${rate(ingestFlows)} flows in messages of ${rowsPerMessage}, from encoded bytes to a committed database`,
    columns(["against", "tracker/s", "peer/s", "ratio: median", "min", "max", "tracker µs", "peer µs"]),
    ...ingest.map(({ peerName, subject, peer, ratio, subjectMicros, peerMicros }) => {
      const ratios = [ratio.median, ratio.min, ratio.max].map((value) => value.toFixed(3));
      const micros = [subjectMicros, peerMicros].map((value) => value.toFixed(2));
      return columns([peerName, rate(subject.median), rate(peer.median), ...ratios, ...micros]);
    }),
    "",
    "look-ups; µs for a key, at whoever asks and at whoever answers",
    columns(["", "keys", "at a time", "keys/s", "p50", "p99", "asking µs", "answering µs"]),
    ...lookups.map(({ subject, keysEach, inFlight, keysPerSecond, p50Ms, p99Ms, clientMicros, serverMicros }) => {
      const times = [p50Ms, p99Ms].map((ms) => `${ms.toFixed(2)} ms`);
      const micros = [clientMicros.toFixed(2), serverMicros?.toFixed(2) ?? ""];
      return columns([subject, String(keysEach), String(inFlight), rate(keysPerSecond), ...times, ...micros]);
    }),
    "",
    `memory and recovery, ${rate(flows)} open flows`,
    columns(["", "bytes a flow", "without files", "restarted", "recovery", "empty start"]),
    ...footprints.map((it) => {
      const bytes = [it.bytesPerFlow, it.anonymousBytesPerFlow, it.bytesPerFlowAfterRestart].map((n) => n.toFixed(0));
      return columns([it.subject, ...bytes, seconds(it.recoveryMs), seconds(it.emptyStartMs)]);
    }),
    "",
    ...whereRedisIsAhead(result),
  ].join("\n");
}

/** By how much, and why as far as it was measured. */
export function whereRedisIsAhead(result: TrackerResult): string[] {
  const claims = [...ingestClaims(result), ...lookupClaims(result), ...footprintClaims(result)];
  const lost = claims.filter(({ factor }) => factor > 1);
  if (lost.length === 0) return ["redis is ahead nowhere."];
  return lost.map(({ what, factor, why }) => `redis is ahead in ${what}, ${factor.toFixed(1)} times: ${why}.`);
}

interface Claim {
  readonly what: string;
  readonly factor: number;
  readonly why: string;
}

function ingestClaims({ ingest }: TrackerResult): Claim[] {
  const [redis, level] = [peers.redis, peers.chained].map((name) => ingest.find(({ peerName }) => peerName === name));
  if (redis === undefined || level === undefined) return [];
  const why =
    `a flow costs the tracker ${micros(redis.subjectMicros)} of processor time, from its message to the database; redis and ` +
    `its client take ${micros(redis.peerMicros)} and LevelDB ${micros(level.peerMicros)} for a row that is ready made`;
  return [{ what: "ingest", factor: 1 / redis.ratio.median, why }];
}

function lookupClaims({ lookups }: TrackerResult): Claim[] {
  const find = (subject: string, isSingle: boolean): Lookups | undefined =>
    lookups.find((it) => it.subject === subject && (it.keysEach === 1) === isSingle);
  const table = find(subjects.table, false);
  return [true, false].flatMap((isSingle) => {
    const [tracker, redis] = [find(subjects.tracker, isSingle), find(subjects.redis, isSingle)];
    if (tracker === undefined || redis === undefined || table === undefined) return [];
    const sides = ({ clientMicros, serverMicros = 0 }: Lookups): string =>
      `${micros(clientMicros)} where it is asked and ${micros(serverMicros)} where it is answered`;
    const why =
      `a key costs ${sides(tracker)}, against ${sides(redis)}; finding it in the table is ${micros(table.clientMicros)} of ` +
      `that, and the rest is gRPC with its messages`;
    return [
      {
        what: isSingle ? "single look-ups" : "batched look-ups",
        factor: redis.keysPerSecond / tracker.keysPerSecond,
        why,
      },
    ];
  });
}

function footprintClaims({ footprints, flows, levelReadMs }: TrackerResult): Claim[] {
  const [tracker, redis] = footprints;
  if (tracker === undefined || redis === undefined) return [];
  return [
    { what: "memory", factor: tracker.bytesPerFlow / redis.bytesPerFlow, why: memoryWhy(tracker) },
    {
      what: "recovery",
      factor: tracker.recoveryMs / redis.recoveryMs,
      why:
        `a tracker without flows takes ${seconds(tracker.emptyStartMs)} to its first answer, redis-server ` +
        `${seconds(redis.emptyStartMs)}; and LevelDB alone takes ${seconds(levelReadMs)} to hand what is stored of ` +
        `${rate(flows)} flows to JavaScript, of the ${seconds(tracker.recoveryMs - tracker.emptyStartMs)} that the tracker takes for them`,
    },
  ];
}

function memoryWhy({ bytesPerFlow, anonymousBytesPerFlow, bytesPerFlowAfterRestart }: Footprint): string {
  const files = Math.max(0, bytesPerFlow - anonymousBytesPerFlow);
  return (
    `of ${bytesPerFlow.toFixed(0)} bytes a flow ${files.toFixed(0)} are LevelDB's files, mapped; a tracker that has just ` +
    `started, without the latest changes that it keeps for watchers and with tables that have no room to grow, takes ` +
    `${bytesPerFlowAfterRestart.toFixed(0)}`
  );
}

function rate(perSecond: number): string {
  return Math.round(perSecond).toLocaleString("en");
}

function micros(value: number): string {
  return `${value.toFixed(2)} µs`;
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

function columns(cells: readonly string[]): string {
  const widths = [32, 13, 14, 14, 11, 11, 12, 14];
  return cells
    .map((cell, index) => (index === 0 ? cell.padEnd : cell.padStart).call(cell, widths[index] ?? 0))
    .join("")
    .trimEnd();
}
