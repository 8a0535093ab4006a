import { describe, expect, test } from "vitest";
import type { Assignment } from "../../../src/placement/assignment.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { candidatesMax, candidatesOf, TrackerCandidates } from "../../../src/tracker/candidates.ts";
import type { PeerReplica, PeerReport } from "../../../src/tracker/peers.ts";
import { SharedEpochs } from "../../support/epochs.ts";
import { Believed, member } from "../../support/membership.ts";

const mebibyte = 1_048_576;
const serving: PeerReplica = { phase: "serving", lag: 0, flows: 1, complete: true, applied: 1n };

function report(name: string, replicas: readonly (readonly [number, PeerReplica])[] = []): PeerReport {
  return { name, endpoint: `${name}:1`, epoch: 1n, replicas: new Map(replicas) };
}

function reports(...all: readonly PeerReport[]): ReadonlyMap<string, PeerReport> {
  return new Map(all.map((one) => [one.name, one]));
}

function epochOf(...names: readonly string[]): Assignment {
  return { epoch: 1n, holders: names.map((name) => ({ primary: { name, endpoint: `${name}:1` } })) };
}

describe("candidates", () => {
  test("are the living trackers, with their size, load and zone", () => {
    const busy = { ...member("t1"), load: 3 / 7 };
    const coordinator = { ...member("c1"), roles: ["coordinator"] as const };
    const beside = { ...member("t2", "suspect"), roles: ["tracker", "agent"] as const };
    const known = [busy, coordinator, beside, member("t3", "dead"), member("t4", "left")];
    expect(candidatesOf(known, undefined, new Map())).toEqual([
      {
        ...{ name: "t1", endpoint: "t1:1", state: "alive", load: 3 / 7, zone: "a" },
        ...{ cpus: 2, memoryBytes: 4_096 * mebibyte, hosting: "ready", besideAgent: false },
      },
      {
        ...{ name: "t2", endpoint: "t2:1", state: "suspect", load: 0, zone: "a" },
        ...{ cpus: 2, memoryBytes: 4_096 * mebibyte, hosting: "ready", besideAgent: true, caughtUp: [] },
      },
    ]);
  });

  test("take shards or not as they say of themselves", () => {
    const known = (["ready", "closed", "draining"] as const).map((hosting) => ({ ...member(hosting), hosting }));
    const found = candidatesOf(known, undefined, new Map());
    expect(new Map(found.map(({ name, hosting }) => [name, hosting]))).toEqual(
      new Map([
        ["ready", "ready"],
        ["closed", "closed"],
        ["draining", "draining"],
      ]),
    );
  });

  test("have caught up with the shards that they serve and of which nothing is missing", () => {
    const told = report("t1", [
      [0, serving],
      [1, { ...serving, phase: "tailing" }],
      [2, { ...serving, phase: "leaving" }],
      [3, { ...serving, complete: false }],
      [4, { ...serving, lag: undefined }],
    ]);
    expect(candidatesOf([member("t1")], undefined, reports(told))[0]?.caughtUp).toEqual([0, 2]);
    expect(candidatesOf([member("t1")], undefined, new Map())[0]).not.toHaveProperty("caughtUp");
  });

  test("are also holders that gossip takes for dead or does not know and that answer; they keep what they have (P11)", () => {
    const found = candidatesOf(
      [member("t1"), member("t2", "dead"), member("t4", "dead")],
      epochOf("t1", "t2", "t3", "t4"),
      reports(report("t2"), report("t3"), report("t9")),
    );
    expect(found.map(({ name, state, hosting }) => [name, state, hosting])).toEqual([
      ["t1", "alive", "ready"],
      ["t2", "suspect", "closed"],
      ["t3", "suspect", "closed"],
    ]);
  });

  test("are also holders that have left, for they may be back; others that have left are not (P14)", () => {
    const known = [member("t1"), member("t2", "left"), member("t3", "left")];
    const found = candidatesOf(known, epochOf("t1", "t2"), new Map());
    expect(found.map(({ name, state }) => [name, state])).toEqual([
      ["t1", "alive"],
      ["t2", "left"],
    ]);
    expect(candidatesOf([member("t2", "left")], epochOf("t2"), new Map())).toEqual([]);
  });

  test("are none where gossip knows no tracker, for then it says nothing of who is gone (P9)", () => {
    const coordinator = { ...member("c1"), roles: ["coordinator"] as const };
    expect(candidatesOf([coordinator], epochOf("t1"), reports(report("t1")))).toEqual([]);
  });

  test("are no more than an epoch's record can name: so many, each endpoint once, holders first", () => {
    const names = Array.from({ length: candidatesMax + 10 }, (_, index) => `t${index + 100}`);
    const found = candidatesOf(
      names.map((name) => member(name)),
      epochOf("t170"),
      new Map(),
    );
    expect(found).toHaveLength(candidatesMax);
    expect(found[0]?.name).toBe("t170");
    const twice = [member("t1"), { ...member("t2"), services: { grpc: "t1:1" } }];
    expect(candidatesOf(twice, epochOf("t2"), new Map()).map(({ name }) => name)).toEqual(["t2"]);
  });

  test.each([
    ["says no endpoint", { services: {} }],
    ["says an endpoint that is none", { services: { grpc: "nowhere" } }],
    ["has a name that is none", { name: "t 1" }],
  ])("are not who %s", (_, what) => {
    expect(candidatesOf([{ ...member("t1"), ...what }], undefined, new Map())).toEqual([]);
  });

  test("tell of members that come and go, and of copies that catch up, but not of loads", async () => {
    const stop = new AbortController();
    const membership = new Believed("c1", [member("t1")]);
    let answer: PeerReport | undefined = report("t1");
    let asked = 0;
    const peers = {
      async report() {
        asked++;
        return answer;
      },
      async *rows() {},
    };
    const candidates = new TrackerCandidates({ membership, epochs: new SharedEpochs().view(), peers });
    let told = 0;
    using _listener = candidates.onChange(() => told++);
    const running = candidates.run(stop.signal);
    const until = (what: string, condition: () => boolean) =>
      waitFor(condition, { what, timeoutMs: 10_000, signal: AbortSignal.timeout(20_000) });
    await until("the members and the first answer", () => told === 2 && asked === 1);
    membership.happens({ kind: "load", member: member("t1") }, { kind: "suspect", member: member("t1", "suspect") });
    await until("the suspicion", () => told === 3);
    answer = report("t1", [[0, serving]]);
    await until("the copy", () => told === 4);
    expect(candidates.now()[0]?.caughtUp).toEqual([0]);
    await until("another round without news", () => asked >= 3);
    answer = report("somebody else", [[0, serving]]);
    await until("silence of the one asked", () => candidates.now()[0]?.caughtUp === undefined);
    stop.abort();
    await running;
  });
});
