import { describe, expect, test } from "vitest";
import type { Assignment } from "../../../src/placement/assignment.ts";
import type { Candidate } from "../../../src/placement/candidate.ts";
import { Decider } from "../../../src/placement/decider.ts";
import { defaultPolicy } from "../../../src/placement/policy.ts";
import { candidate, candidates, countOf } from "../../support/placement.ts";

const minuteMs = 60_000;

/** Takes the epoch that it has decided on. */
function step(decider: Decider, members: readonly Candidate[], nowMs: number): Assignment | undefined {
  decider.members(members, nowMs);
  const placement = decider.decide(nowMs);
  if (placement.kind === "unchanged") return undefined;
  decider.epoch(placement.next, nowMs);
  return placement.next;
}

function begun(members: readonly Candidate[]): Decider {
  const decider = new Decider({ shards: 8 });
  decider.members(members, 0);
  expect(step(decider, members, 10_000)?.epoch).toBe(1n);
  return decider;
}

describe("a member that decides", () => {
  test("makes the first epoch when nobody has come or gone for three seconds", () => {
    const decider = new Decider({ shards: 8 });
    expect(step(decider, candidates(1), 1_000)).toBeUndefined();
    expect(step(decider, candidates(3), 3_900)).toBeUndefined();
    expect(step(decider, candidates(3), 6_800)).toBeUndefined();
    const first = step(decider, candidates(3), 6_900);
    expect(countOf(first, "m3")).toBeGreaterThan(0);
  });

  test("moves the shards of whom it has seen and sees no more, at once (P11)", () => {
    const decider = begun(candidates(3));
    const next = step(decider, candidates(2), 11_000);
    expect(countOf(next, "m3")).toBe(0);
  });

  test("leaves the shards of whom has left where they are for half a minute, and moves nothing if it is back by then (P14)", () => {
    const members = candidates(3);
    const left = members.map((member) => (member.name === "m3" ? { ...member, state: "left" as const } : member));
    const decider = begun(members);
    for (let nowMs = 20_000; nowMs < 10 * minuteMs; nowMs += 10_000) step(decider, members, nowMs);
    const atMs = 10 * minuteMs;
    for (const afterMs of [0, 29_000]) expect(step(decider, left, atMs + afterMs)).toBeUndefined();
    expect(step(decider, members, atMs + 29_500)).toBeUndefined();
    for (const afterMs of [40_000, 69_000]) expect(step(decider, left, atMs + afterMs)).toBeUndefined();
    const next = step(decider, left, atMs + 70_000);
    expect(countOf(next, "m3")).toBe(0);
  });

  test("promotes nobody who has left, and waits for nobody who has left to stop (P14)", () => {
    const members = candidates(3);
    const leaves = (name: string, rest: Partial<Candidate> = {}): Candidate[] =>
      members.map((member) => (member.name === name ? { ...member, state: "left", ...rest } : member));
    const decider = begun(members);
    const first = decider.current as Assignment;
    const isAt = (name: string) =>
      first.holders.findIndex(({ primary, standby }) => primary.name === name && standby?.name === "m3");
    const shard = isAt("m1");
    expect(shard).not.toBe(-1);
    const draining = leaves("m3").map((member) =>
      member.name === "m1" ? { ...member, hosting: "draining" as const } : member,
    );
    const next = step(decider, draining, 60_000);
    expect(next?.holders[shard]?.primary.name ?? "m1").toBe("m1");
    expect(countOf(step(begun(members), leaves("m3", { hosting: "draining" }), 60_000), "m3")).toBe(0);
  });

  test("calls nobody gone whom it has never seen, for a minute after its start (P11)", () => {
    const first = begun(candidates(3)).current;
    if (first === undefined) throw new Error("there is no epoch");
    const restarted = new Decider({ shards: 8 });
    restarted.epoch(first, 0);
    for (let nowMs = 0; nowMs < minuteMs; nowMs += 5_000)
      expect(step(restarted, [candidate("m1")], nowMs)).toBeUndefined();
    expect(countOf(step(restarted, [candidate("m1")], minuteMs), "m1")).toBe(8);
  });

  test("does not take turns with those who see whom it does not: it waits longer each time (P12)", () => {
    const [left, right] = [candidates(2), [candidate("m3"), candidate("m4")]];
    const deciders = [begun(candidates(4)), new Decider({ shards: 8 })] as const;
    deciders[1].members(candidates(4), 0);
    deciders[1].epoch(deciders[0].current as Assignment, 10_000);
    let epochs = 0;
    for (let nowMs = 11_000; nowMs < 60 * minuteMs; nowMs += 1_000) {
      for (const [index, decider] of deciders.entries()) {
        const next = step(decider, index === 0 ? left : right, nowMs);
        if (next === undefined) continue;
        epochs++;
        deciders[1 - index]?.epoch(next, nowMs);
      }
    }
    expect(epochs).toBeGreaterThan(2);
    expect(epochs).toBeLessThan(60);
  });

  test("goes by an older epoch than it knows no more", () => {
    const decider = begun(candidates(3));
    const first = decider.current as Assignment;
    const second = step(decider, candidates(2), 20_000);
    decider.epoch(first, 21_000);
    expect(decider.current).toBe(second);
  });

  test("goes by what operators have pinned in the epoch", () => {
    const decider = begun(candidates(3));
    const first = decider.current as Assignment;
    const [holders, ...rest] = first.holders;
    if (holders === undefined) throw new Error("there are no shards");
    decider.epoch({ epoch: 2n, holders: [{ ...holders, pinned: true }, ...rest] }, 20_000);
    const gone = holders.standby?.name;
    const others = candidates(3).filter(({ name }) => name !== gone);
    const next = step(decider, others, 21_000);
    expect(next?.holders[0]).toMatchObject({ primary: holders.primary, pinned: true });
  });

  test("relieves a member ever less often when that does not end its load (P7)", () => {
    const members = candidates(4).map((member) => (member.name === "m2" ? { ...member, load: 0.9 } : member));
    const decider = new Decider({ shards: 64, policy: { ...defaultPolicy, handoffsMax: 1 } });
    const reliefsAtMs: number[] = [];
    decider.members(candidates(4), 0);
    for (let nowMs = 5_000; nowMs < 40 * minuteMs; nowMs += 5_000) {
      decider.members(nowMs < 3 * minuteMs ? candidates(4) : members, nowMs);
      const placement = decider.decide(nowMs);
      if (placement.kind === "unchanged") continue;
      decider.epoch(placement.next, nowMs);
      if (placement.moves.some(({ reason }) => reason.kind === "over-loaded")) reliefsAtMs.push(nowMs);
    }
    const gapsMs = reliefsAtMs.slice(1).map((atMs, index) => atMs - (reliefsAtMs[index] ?? 0));
    expect(gapsMs.slice(0, 4)).toEqual([2, 4, 8, 16].map((minutes) => minutes * minuteMs));
  });
});
