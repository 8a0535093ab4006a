import { describe, expect, it } from "vitest";
import { SmallCluster } from "./small-cluster.ts";

const loadAt = (cluster: SmallCluster, observer: number, of: string): number | undefined =>
  cluster.node(observer).machine.member(of)?.load;
const everyoneKnows = (cluster: SmallCluster, of: string, level: number): boolean =>
  cluster.nodes.every((_, observer) => loadAt(cluster, observer, of) === level);
const setLoad = (cluster: SmallCluster, index: number, load: number): void => {
  cluster.do(index, (machine, nowMs) => machine.setLoad(load, nowMs));
};

describe("a member's load", () => {
  it("is one of eight levels, and reaches everybody", () => {
    const cluster = SmallCluster.settled(12);
    setLoad(cluster, 4, 0.99);
    expect(cluster.runUntil(() => everyoneKnows(cluster, "n4", 7), 15_000)).toBeDefined();
    expect(cluster.node(0).events).toContainEqual(expect.objectContaining({ kind: "load" }));
  });

  it("changes at most once in thirty seconds, and is told as it is by then", () => {
    const cluster = SmallCluster.settled(4);
    setLoad(cluster, 0, 0.1);
    cluster.run(5_000);
    setLoad(cluster, 0, 0.9);
    setLoad(cluster, 0, 0.5);
    cluster.run(20_000);
    expect(loadAt(cluster, 1, "n0")).toBe(0);
    cluster.run(10_000);
    expect(loadAt(cluster, 1, "n0")).toBe(4);
  });

  it("stays where it is near a level's border", () => {
    const cluster = SmallCluster.settled(2, { loadIntervalMs: 0 });
    setLoad(cluster, 0, 0.49);
    for (const load of [0.51, 0.52, 0.5]) setLoad(cluster, 0, load);
    expect(loadAt(cluster, 0, "n0")).toBe(3);
    setLoad(cluster, 0, 0.54);
    expect(loadAt(cluster, 0, "n0")).toBe(4);
  });

  it("takes no packet of its own, and the same room whatever is new (M7)", () => {
    const quiet = SmallCluster.settled(20);
    const busy = SmallCluster.settled(20);
    quiet.run(120_000);
    for (const index of busy.nodes.keys()) setLoad(busy, index, 0.5);
    busy.run(120_000);
    const packets = (cluster: SmallCluster): number => cluster.nodes.reduce((sum, { sent }) => sum + sent.length, 0);
    expect(Math.abs(packets(busy) / packets(quiet) - 1)).toBeLessThan(0.02);
    const reports = busy.nodes.flatMap(({ sent }) => [...sent]).flatMap(({ messages }) => messages);
    const sizes = reports.flatMap((message) => (message.kind === "loads" ? [message.reports.length] : []));
    expect(Math.max(...sizes)).toBe(busy.config.loadsPerPacket);
  });

  it("of before a restart gives way to the one of after", () => {
    const cluster = SmallCluster.settled(3, { loadIntervalMs: 0 });
    for (const load of [0.2, 0.4, 0.9]) setLoad(cluster, 2, load);
    cluster.run(10_000);
    expect(loadAt(cluster, 0, "n2")).toBe(7);
    cluster.kill(2);
    const reborn = cluster.add(cluster.node(2).profile, [cluster.node(0).profile.address]);
    cluster.start(reborn);
    cluster.run(2_000);
    cluster.do(3, (machine, nowMs) => machine.setLoad(0.3, nowMs));
    expect(cluster.runUntil(() => loadAt(cluster, 0, "n2") === 2, 20_000)).toBeDefined();
  });
});
