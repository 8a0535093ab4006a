import { describe, expect, it } from "vitest";
import { SmallCluster } from "./small-cluster.ts";

function events(cluster: SmallCluster, kind: string): string[] {
  return cluster.nodes.flatMap(({ events }) =>
    events.flatMap((event) => (event.kind === kind ? [event.member.profile.name] : [])),
  );
}

describe("a probe", () => {
  it("passes a blocked direct path by an indirect ack, without any suspicion", () => {
    const cluster = SmallCluster.settled(5, { streamFallback: false });
    cluster.cut(0, 1);
    cluster.run(60_000);
    expect(events(cluster, "suspect")).toEqual([]);
    expect(cluster.node(0).machine.counters.indirectProbes).toBeGreaterThan(0);
    expect(cluster.node(0).machine.counters.probesFailed).toBe(0);
  });

  it("reaches by TCP who is dead by UDP, and suspects nobody", () => {
    const cluster = SmallCluster.settled(4);
    for (const other of [0, 1, 2]) cluster.cut(other, 3, ["udp"]);
    cluster.run(60_000);
    expect(events(cluster, "suspect")).toEqual([]);
    expect(cluster.node(0).machine.counters.streamRescues).toBeGreaterThan(0);
  });

  it("finds a crash: suspect first, then dead for everybody", () => {
    const cluster = SmallCluster.settled(8);
    cluster.run(2_000);
    cluster.kill(3);
    const suspectedMs = cluster.runUntil(() => events(cluster, "suspect").includes("n3"), 20_000);
    expect(suspectedMs).toBeLessThan(9_000);
    const others = [0, 1, 2, 4, 5, 6, 7];
    expect(cluster.runUntil(() => others.every((other) => cluster.state(other, 3) === "dead"), 60_000)).toBeDefined();
    expect(new Set(events(cluster, "dead"))).toEqual(new Set(["n3"]));
  });

  it("visits everybody once in each round, newcomers too", () => {
    const cluster = SmallCluster.settled(6);
    cluster.run(60_500);
    const pinged = cluster
      .node(0)
      .sent.flatMap(({ messages: [first] }) => (first?.kind === "ping" ? [first.target] : []));
    for (let round = 0; round + 5 <= pinged.length; round += 5)
      expect(new Set(pinged.slice(round, round + 5)).size).toBe(5);
  });

  it("answers a ping only by the one that it is meant for", () => {
    const cluster = SmallCluster.settled(2);
    const effects = cluster.do(1, (machine, nowMs) =>
      machine.receive("10.9.9.9:1", [{ kind: "ping", sequence: 5, target: "n0" }], nowMs),
    );
    expect(effects).toEqual([]);
    expect(cluster.node(1).machine.counters.misdirectedPings).toBe(1);
  });

  it("helps others to probe, and says nack when that fails", () => {
    const cluster = SmallCluster.settled(2, { probeIntervalMs: 100_000 });
    const request = {
      kind: "indirect-ping",
      sequence: 9,
      target: "x",
      targetAddress: "10.8.8.8:1",
      nack: true,
    } as const;
    cluster.do(1, (machine, nowMs) => machine.receive("10.0.0.0:7946", [request], nowMs));
    cluster.run(600);
    const heads = cluster.node(1).sent.map(({ to, messages: [first] }) => [to, first?.kind]);
    expect(heads.filter(([, kind]) => kind !== "alive")).toEqual([
      ["10.8.8.8:1", "ping"],
      ["10.0.0.0:7946", "nack"],
    ]);
  });
});

describe("awareness of our own health", () => {
  it("falls when nobody answers us, not even helpers, and comes back with the answers", () => {
    const cluster = SmallCluster.settled(6);
    for (const other of [1, 2, 3, 4, 5]) cluster.cut(0, other);
    cluster.run(4_000);
    expect(cluster.node(0).machine.awareness).toBeGreaterThan(2);
    cluster.heal();
    expect(cluster.runUntil(() => cluster.node(0).machine.awareness === 0, 60_000)).toBeDefined();
  });

  it("makes us wait longer before we accuse", () => {
    const slowest = (awarenessMax: number): number => {
      const cluster = SmallCluster.settled(6, { awarenessMax });
      for (const other of [1, 2, 3, 4, 5]) cluster.cut(0, other);
      cluster.run(15_000);
      return cluster.node(0).machine.counters.probesFailed;
    };
    expect(slowest(8)).toBeLessThan(slowest(1) / 2);
  });

  it("is not hurt by a target that is really dead, as the helpers say nack", () => {
    const cluster = SmallCluster.settled(6);
    cluster.kill(5);
    cluster.run(12_000);
    expect(Math.max(...[0, 1, 2, 3, 4].map((index) => cluster.node(index).machine.awareness))).toBe(0);
  });

  it("takes a stall of its own for what it is: nobody is accused by who was paused (M9)", () => {
    const cluster = SmallCluster.settled(6);
    for (let cycle = 0; cycle < 20; cycle++) {
      cluster.pause(0);
      cluster.run(3_000);
      cluster.resume(0);
      cluster.run(4_000);
    }
    const accusedByPaused = cluster.node(0).events.filter(({ kind }) => kind === "suspect" || kind === "dead");
    expect(accusedByPaused.filter(({ member }) => member.profile.name !== "n0")).toEqual([]);
    expect(cluster.node(0).machine.counters.stalls).toBeGreaterThan(0);
  });
});
