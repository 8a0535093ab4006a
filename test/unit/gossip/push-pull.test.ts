import { describe, expect, it } from "vitest";
import type { StreamMessage } from "../../../src/gossip/message.ts";
import { streamMessageBytes } from "../../../src/gossip/size.ts";
import { profileOf, SmallCluster } from "./small-cluster.ts";

const indexes = (cluster: SmallCluster): number[] => cluster.nodes.map((_, index) => index);
const isWhole = (cluster: SmallCluster): boolean =>
  cluster.nodes.every(({ machine }) => machine.liveCount === cluster.nodes.length);

function halves(cluster: SmallCluster, act: (one: number, other: number) => void): void {
  const half = cluster.nodes.length / 2;
  for (const one of indexes(cluster).slice(0, half)) for (const other of indexes(cluster).slice(half)) act(one, other);
}

describe("joining", () => {
  it("through one seed makes everybody known to everybody", () => {
    const cluster = new SmallCluster();
    for (let index = 0; index < 12; index++) cluster.start(cluster.add(profileOf(index), [profileOf(0).address]));
    expect(cluster.runUntil(() => isWhole(cluster), 30_000)).toBeDefined();
    expect(cluster.node(3).events.filter(({ kind }) => kind === "joined")).toHaveLength(11);
  });

  it("waits for a seed that comes later", () => {
    const cluster = new SmallCluster();
    const early = cluster.add(profileOf(0), [profileOf(1).address]);
    cluster.start(early);
    cluster.run(120_000);
    cluster.start(cluster.add(profileOf(1), []));
    expect(cluster.runUntil(() => isWhole(cluster), 15_000)).toBeDefined();
  });

  it("again after a restart takes a higher incarnation than the one that died", () => {
    const cluster = SmallCluster.settled(4);
    cluster.do(2, (machine, nowMs) => machine.setMetadata(Uint8Array.of(1), nowMs));
    cluster.run(2_000);
    cluster.kill(2);
    cluster.run(60_000);
    expect(cluster.state(0, 2)).toBe("dead");
    const reborn = cluster.add(profileOf(2), [profileOf(0).address]);
    cluster.start(reborn);
    const isBack = (): boolean => [0, 1, 3].every((observer) => cluster.state(observer, 2) === "alive");
    expect(cluster.runUntil(isBack, 5_000)).toBeDefined();
    expect(reborn.machine.self.incarnation).toBe(3);
  });

  it("again before anybody noticed the crash replaces what was known of it", () => {
    const cluster = SmallCluster.settled(4);
    cluster.do(2, (machine, nowMs) => machine.setMetadata(Uint8Array.of(1), nowMs));
    cluster.run(2_000);
    cluster.kill(2);
    cluster.run(100);
    cluster.start(cluster.add({ ...profileOf(2), metadata: Uint8Array.of(2) }, [profileOf(0).address]));
    cluster.run(3_000);
    expect([0, 1, 3].map((observer) => cluster.node(observer).machine.member("n2")?.profile.metadata[0])).toEqual([
      2, 2, 2,
    ]);
  });

  it("again after a leave is a join", () => {
    const cluster = SmallCluster.settled(3);
    cluster.do(2, (machine, nowMs) => machine.leave(nowMs));
    cluster.run(6_000);
    cluster.kill(2);
    cluster.start(cluster.add(profileOf(2), [profileOf(0).address]));
    cluster.run(3_000);
    expect([0, 1].map((observer) => cluster.state(observer, 2))).toEqual(["alive", "alive"]);
  });
});

describe("push/pull", () => {
  it("merges what the other end holds dead as a suspicion only (M5)", () => {
    const cluster = SmallCluster.settled(3);
    cluster.cut(0, 2);
    cluster.cut(0, 1, ["udp"]);
    cluster.do(1, (machine, nowMs) =>
      machine.receive("", [{ kind: "dead", name: "n2", incarnation: 1, from: "n1" }], nowMs),
    );
    const { reply } = cluster.node(1).machine.receiveStream("", requestOf(cluster, 0), cluster.nowMs);
    const entry = reply?.kind === "sync-reply" ? reply.entries.find(({ profile }) => profile.name === "n2") : undefined;
    expect(entry?.state).toBe("dead");
    cluster.do(0, (machine, nowMs) => {
      const finish = { kind: "sync-finish", entries: entry === undefined ? [] : [entry] } as const;
      return machine.receiveStream("", finish, nowMs).effects;
    });
    expect(cluster.state(0, 2)).toBe("suspect");
  });

  it("tells who is called what is believed of it, and hears the refutation in the answer", () => {
    const cluster = SmallCluster.settled(3);
    cluster.cut(0, 1);
    cluster.do(0, (machine, nowMs) =>
      machine.receive("", [{ kind: "dead", name: "n1", incarnation: 1, from: "n2" }], nowMs),
    );
    let request: StreamMessage | undefined;
    for (let minute = 1; minute <= 60 && request === undefined; minute++)
      request = dialsTo(cluster, 0, profileOf(1).address, cluster.nowMs + minute * 60_000)[0];
    expect(request).toMatchObject({ held: { name: "n1", incarnation: 1, state: "dead" } });
    if (request === undefined) return;
    const { reply } = cluster.node(1).machine.receiveStream("", request, cluster.nowMs);
    const entries = reply?.kind === "sync-reply" ? reply.entries : [];
    expect(entries.find(({ profile }) => profile.name === "n1")).toMatchObject({ state: "alive", incarnation: 2 });
  });

  it("costs a few hundred bytes where views are equal, however many members there are", () => {
    for (const count of [4, 100]) {
      const cluster = SmallCluster.settled(count);
      const request = requestOf(cluster, 0);
      const { reply } = cluster.node(1).machine.receiveStream("", request, 0);
      expect(reply).toEqual({ kind: "sync-reply", buckets: [], entries: [] });
      expect(streamMessageBytes(request)).toBeLessThan(400);
    }
  });

  it("repairs what gossip never told", () => {
    const cluster = SmallCluster.settled(6, { gossipNodes: 0, loadsPerPacket: 0, retransmitMultiplier: 0 });
    cluster.do(5, (machine, nowMs) => machine.setMetadata(Uint8Array.of(9), nowMs));
    const known = (): boolean => cluster.nodes.every(({ machine }) => machine.member("n5")?.profile.metadata[0] === 9);
    expect(cluster.runUntil(known, 600_000)).toBeDefined();
  });
});

describe("a partition", () => {
  it("ten times longer than suspicion heals by itself within a minute", () => {
    const cluster = SmallCluster.settled(10);
    cluster.run(1_000);
    halves(cluster, (one, other) => cluster.cut(one, other));
    cluster.run(10 * 24_000);
    expect(cluster.nodes.map(({ machine }) => machine.liveCount)).toEqual(cluster.nodes.map(() => 5));
    cluster.heal();
    expect(cluster.runUntil(() => isWhole(cluster), 60_000)).toBeDefined();
  });

  it("that leaves a node alone lets it come back by itself, without seeds", () => {
    const cluster = SmallCluster.settled(6);
    for (const other of [1, 2, 3, 4, 5]) cluster.cut(0, other);
    cluster.run(400_000);
    expect(cluster.node(0).machine.liveCount).toBe(1);
    expect(cluster.node(0).machine.counters.reconnects).toBeGreaterThan(10);
    cluster.heal();
    expect(cluster.runUntil(() => isWhole(cluster), 30_000)).toBeDefined();
  });

  it("of two clusters that never knew each other ends by a common seed", () => {
    const cluster = new SmallCluster();
    for (let index = 0; index < 6; index++) {
      const seed = profileOf(index < 3 ? 0 : 3).address;
      cluster.add(profileOf(index), [seed, profileOf(0).address]);
    }
    halves(cluster, (one, other) => cluster.cut(one, other));
    for (const node of cluster.nodes) cluster.start(node);
    cluster.run(60_000);
    expect(cluster.nodes.map(({ machine }) => machine.liveCount)).toEqual([3, 3, 3, 3, 3, 3]);
    cluster.heal();
    expect(cluster.runUntil(() => isWhole(cluster), 60_000)).toBeDefined();
  });
});

function requestOf(cluster: SmallCluster, index: number): StreamMessage {
  const { machine } = cluster.node(index);
  const dials = machine.tick(cluster.nowMs + 400_000).filter((effect) => effect.kind === "dial");
  const request = dials.map(({ message }) => message).find(({ kind }) => kind === "sync-request");
  if (request === undefined) throw new Error("no push/pull was due");
  return request;
}

function dialsTo(cluster: SmallCluster, index: number, address: string, nowMs: number): StreamMessage[] {
  const effects = cluster.node(index).machine.tick(nowMs);
  const dials = effects.filter((effect) => effect.kind === "dial").filter(({ to }) => to === address);
  return dials.map(({ message }) => message).filter(({ kind }) => kind === "sync-request");
}
