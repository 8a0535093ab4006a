import { describe, expect, it } from "vitest";
import type { PacketMessage } from "../../../src/gossip/message.ts";
import { profileOf, SmallCluster } from "./small-cluster.ts";

function hear(cluster: SmallCluster, index: number, ...messages: PacketMessage[]): void {
  cluster.do(index, (machine, nowMs) => machine.receive("10.0.9.9:1", messages, nowMs));
}

const alive = (index: number, incarnation: number): PacketMessage => ({
  kind: "alive",
  incarnation,
  profile: profileOf(index),
});
const suspect = (index: number, incarnation: number, from = "n2"): PacketMessage => ({
  kind: "suspect",
  incarnation,
  name: `n${index}`,
  from,
});
const dead = (index: number, incarnation: number, from = "n2"): PacketMessage => ({
  kind: "dead",
  incarnation,
  name: `n${index}`,
  from,
});

const onlyGossip = { probeIntervalMs: 3_600_000, reconnectIntervalMs: 3_600_000, pushPullIntervalMs: 3_600_000 };

describe("an accused member", () => {
  it("refutes with an incarnation strictly higher than the accusation's, and lives on for everybody (M2, M4)", () => {
    const cluster = SmallCluster.settled(5);
    for (const observer of [1, 2, 3]) hear(cluster, observer, suspect(0, 1, "n4"));
    expect(cluster.state(1, 0)).toBe("suspect");
    cluster.run(3_000);
    expect(cluster.node(0).machine.self.incarnation).toBe(2);
    expect([1, 2, 3, 4].map((observer) => cluster.node(observer).machine.member("n0"))).toEqual(
      [1, 2, 3, 4].map(() => expect.objectContaining({ state: "alive", incarnation: 2 })),
    );
    expect(cluster.node(1).events.map(({ kind }) => kind)).toContain("refuted");
  });

  it("jumps over an accusation from its own future: it has restarted, and forgotten its past", () => {
    const cluster = SmallCluster.settled(2);
    hear(cluster, 0, dead(0, 40));
    expect(cluster.node(0).machine.self).toMatchObject({ state: "alive", incarnation: 41 });
  });

  it("does not answer an accusation that it has refuted already", () => {
    const cluster = SmallCluster.settled(2);
    hear(cluster, 0, suspect(0, 1));
    hear(cluster, 0, suspect(0, 1));
    expect(cluster.node(0).machine.counters.refutations).toBe(1);
  });

  it("tells an accuser that has missed its refutation so, directly and not twice at once", () => {
    const cluster = SmallCluster.settled(3, onlyGossip);
    hear(cluster, 0, suspect(0, 1, "n1"));
    cluster.run(5_000);
    const before = cluster.node(0).sent.length;
    hear(cluster, 0, suspect(0, 1, "n1"), dead(0, 1, "n1"), suspect(0, 1, "nobody"));
    const refutation = expect.objectContaining({ kind: "alive", incarnation: 2 });
    expect(cluster.node(0).sent.slice(before)).toEqual([
      expect.objectContaining({ to: profileOf(1).address, messages: [refutation] }),
    ]);
  });

  it("hears of a suspicion with the ping of who suspects it (buddy rule)", () => {
    const cluster = SmallCluster.settled(2, { gossipNodes: 0 });
    hear(cluster, 0, suspect(1, 1));
    expect(cluster.runUntil(() => cluster.node(1).machine.counters.refutations === 1, 3_000)).toBeDefined();
    const told = cluster.node(0).sent.find(({ messages }) => messages.some(({ kind }) => kind === "suspect"));
    expect(told?.messages.slice(0, 2).map(({ kind }) => kind)).toEqual(["suspect", "ping"]);
  });

  it("called dead by mistake, hears it by gossip to the dead and comes back, without probes and push/pull", () => {
    const cluster = SmallCluster.settled(4, onlyGossip);
    cluster.run(1_000);
    for (const observer of [1, 2, 3]) hear(cluster, observer, dead(0, 1));
    expect([1, 2, 3].map((observer) => cluster.state(observer, 0))).toEqual(["dead", "dead", "dead"]);
    const backMs = cluster.runUntil(() => [1, 2, 3].every((observer) => cluster.state(observer, 0) === "alive"), 900);
    expect(backMs).toBeDefined();
  });
});

describe("what is believed", () => {
  it("is not changed by stale incarnations (M1)", () => {
    const cluster = SmallCluster.settled(3);
    hear(cluster, 0, alive(1, 5));
    hear(cluster, 0, suspect(1, 4), dead(1, 4), alive(1, 4));
    expect(cluster.node(0).machine.member("n1")).toMatchObject({ state: "alive", incarnation: 5 });
  });

  it("is not changed by a replay of everything that was said before (M3)", () => {
    const cluster = SmallCluster.settled(4, { loadIntervalMs: 0 });
    hear(cluster, 1, suspect(0, 1, "n3"));
    cluster.kill(3);
    cluster.run(60_000);
    cluster.node(1).events.length = 0;
    const before = cluster.node(1).machine.members();
    const counters = { ...cluster.node(1).machine.counters };
    for (const { messages } of cluster.nodes.flatMap(({ sent }) => [...sent]))
      hear(cluster, 1, ...messages.filter(({ kind }) => kind !== "ping" && kind !== "indirect-ping"));
    expect(cluster.node(1).machine.members()).toEqual(before);
    expect(cluster.node(1).machine.counters).toEqual(counters);
    expect(cluster.node(1).events).toEqual([]);
  });

  it("lets a suspicion of a higher incarnation begin anew", () => {
    const cluster = SmallCluster.settled(3, { probeIntervalMs: 1_000 });
    hear(cluster, 0, suspect(1, 1));
    hear(cluster, 0, suspect(1, 3));
    hear(cluster, 0, alive(1, 2));
    expect(cluster.node(0).machine.member("n1")).toMatchObject({ state: "suspect", incarnation: 3 });
  });

  it("of a member unknown so far comes from itself alone: nobody is born suspect or dead", () => {
    const cluster = SmallCluster.settled(2);
    hear(cluster, 0, suspect(77, 1), dead(77, 1));
    expect(cluster.node(0).machine.member("n77")).toBeUndefined();
  });

  it("refuses who speaks no version that we speak", () => {
    const cluster = SmallCluster.settled(2);
    const profile = { ...profileOf(9), versions: { min: 7, max: 9, current: 8 } };
    hear(cluster, 0, { kind: "alive", incarnation: 1, profile });
    expect(cluster.node(0).machine.member("n9")).toBeUndefined();
    expect(cluster.node(0).machine.counters.refusedMembers).toBe(1);
  });
});

describe("a name", () => {
  it("that clashes stays with who has it, and both sides are told", () => {
    const cluster = SmallCluster.settled(3);
    const intruder = cluster.add({ ...profileOf(50, "n1") }, [profileOf(0).address]);
    cluster.start(intruder);
    cluster.run(5_000);
    expect(cluster.node(0).machine.member("n1")?.profile.address).toBe(profileOf(1).address);
    const conflictOf = (events: typeof intruder.events): object | undefined =>
      events.find(({ kind }) => kind === "conflict");
    expect(conflictOf(cluster.node(0).events)).toMatchObject({ claimant: profileOf(50).address });
    expect(conflictOf(intruder.events)).toMatchObject({ claimant: profileOf(1).address });
  });

  it("of a dead member is reclaimed from a new address, after its time (M1)", () => {
    const cluster = SmallCluster.settled(3, { reclaimMs: 20_000 });
    cluster.kill(1);
    cluster.run(40_000);
    expect(cluster.state(0, 1)).toBe("dead");
    const heir = cluster.add({ ...profileOf(50, "n1") }, [profileOf(0).address]);
    cluster.start(heir);
    const taken = (): boolean =>
      [0, 2].every((index) => cluster.node(index).machine.member("n1")?.profile.address === profileOf(50).address);
    expect(cluster.runUntil(taken, 90_000)).toBeDefined();
    expect(cluster.node(0).machine.member("n1")?.state).toBe("alive");
  });

  it("of a member that has left is free at once", () => {
    const cluster = SmallCluster.settled(2);
    hear(cluster, 0, dead(1, 1, "n1"));
    hear(cluster, 0, { kind: "alive", incarnation: 1, profile: profileOf(50, "n1") });
    expect(cluster.node(0).machine.member("n1")).toMatchObject({
      state: "alive",
      profile: { address: profileOf(50).address },
    });
  });
});

describe("a leave", () => {
  it("is told to all as left, which is not dead, and is not probed or grieved (M6)", () => {
    const cluster = SmallCluster.settled(5);
    cluster.run(1_000);
    cluster.do(2, (machine, nowMs) => machine.leave(nowMs));
    cluster.run(6_000);
    expect(cluster.node(2).departed).toBe(true);
    expect([0, 1, 3, 4].map((observer) => cluster.state(observer, 2))).toEqual(["left", "left", "left", "left"]);
    const kinds = cluster.nodes.flatMap(({ events }) => events.map(({ kind }) => kind));
    expect(kinds).not.toContain("dead");
    expect(kinds).not.toContain("suspect");
  });

  it("wins against an alive of the same member that is still queued or under way (M6)", () => {
    const cluster = SmallCluster.settled(5);
    hear(cluster, 0, alive(2, 3));
    cluster.do(2, (machine, nowMs) => machine.receive("10.0.0.0:7946", [suspect(2, 2)], nowMs));
    cluster.do(2, (machine, nowMs) => machine.leave(nowMs));
    cluster.run(6_000);
    for (const observer of [0, 1, 3, 4]) hear(cluster, observer, alive(2, 3), suspect(2, 3));
    expect([0, 1, 3, 4].map((observer) => cluster.state(observer, 2))).toEqual(["left", "left", "left", "left"]);
    expect(cluster.node(2).machine.counters.refutations).toBe(1);
  });

  it("does not hold up the last of all", () => {
    const cluster = SmallCluster.settled(1);
    cluster.do(0, (machine, nowMs) => machine.leave(nowMs));
    expect(cluster.node(0).departed).toBe(true);
  });
});
