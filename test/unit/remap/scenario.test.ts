/** Remaps from request to end, with nodes that have no kernel. Each test reads as what an operator would see. */
import { describe, expect, it } from "vitest";
import type { AgentState } from "../../../src/node/state.ts";
import type { HostingReport } from "../../../src/node/status.ts";
import type { Remap, RemapPolicy } from "../../../src/remap/remap.ts";
import { bigintText, type FakeCluster, ip, publicA, publicB, sourceLostMs } from "../../support/fake-cluster.ts";
import type { FakeNode } from "../../support/fake-node.ts";
import { openWatched } from "../../support/watched-cluster.ts";

async function refusalOf(creating: ReturnType<FakeCluster["create"]>): Promise<string> {
  const answer = await creating;
  return answer.ok ? "none" : answer.error.code;
}

const kinds = (cluster: FakeCluster) =>
  cluster.published.map(({ phase }) => phase).filter((p, i, all) => p !== all[i - 1]);

describe("a remap", () => {
  it("goes through all phases and ends when the last old connection has ended", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    await cluster.tick(30_000);
    expect(cluster.remap(id)).toMatchObject({ phase: "draining", flows: { atSwitch: 5, remaining: 5 } });
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id)).toMatchObject({ outcome: "completed", flows: { atSwitch: 5, remaining: 0, closed: 5 } });
    expect(kinds(cluster)).toEqual(["preparing", "arming", "switching", "draining", "finalizing", "completed"]);
    expect(cluster.node("vm-a").agentState).toMatchObject({ addresses: [], links: [], marks: [] });
    expect(cluster.ownerships).toEqual([`${publicA} vm-b`]);
    expect(cluster.audits).toEqual(["address-add", "remap-create"]);
  });

  it("is the same one when the request comes again with its key, and another one refused while it runs (R7)", async () => {
    const cluster = await openWatched({ instances: 3 });
    const request = cluster.request(publicA, "vm-b", {}, "once");
    const [first, second] = await Promise.all([cluster.remaps.create(request), cluster.remaps.create(request)]);
    expect(first.ok && second.ok && first.value.id === second.value.id).toBe(true);
    expect(await refusalOf(cluster.remaps.create({ ...request, target: "vm-c" }))).toBe("INVALID_ARGUMENT");
    expect(await refusalOf(cluster.create(publicA, "vm-c"))).toBe("REMAP_IN_PROGRESS");
  });

  it.each([
    ["an unknown address", publicB, "vm-b", {}, "UNKNOWN_ADDRESS"],
    ["an unknown target", publicA, "vm-z", {}, "UNKNOWN_INSTANCE"],
    ["its own instance", publicA, "vm-a", {}, "SOURCE_IS_TARGET"],
    ["offline-source without a hook", publicA, "vm-b", { offlineSource: true }, "NO_OFFLINE_HOOK"],
    ["a channel that is not built", publicA, "vm-b", { channel: "gre" }, "UNSUPPORTED"],
    ["a channel without room", publicA, "vm-b", { channel: "vxlan" }, "MTU_TOO_SMALL"],
  ] as const)("refuses %s", async (_what, address, target, policy, code) => {
    const cluster = await openWatched();
    expect(await refusalOf(cluster.create(address, target, policy))).toBe(code);
    expect(cluster.remaps.list(undefined, false)).toEqual([]);
  });

  it("is refused while an agent that it needs, or any gateway, is away", async () => {
    const cluster = await openWatched({ gateways: 2 });
    cluster.disconnect(cluster.node("vm-b"));
    expect(await refusalOf(cluster.create(publicA, "vm-b"))).toBe("INSTANCE_DOWN");
    cluster.connectAll();
    await cluster.settle();
    cluster.disconnect(cluster.node("gw2"));
    expect(await refusalOf(cluster.create(publicA, "vm-b"))).toBe("GATEWAY_DOWN");
    await cluster.inventory.removeGateway("gw2", "test");
    expect(await refusalOf(cluster.create(publicA, "vm-b"))).toBe("none");
  });

  it("is refused where the target would follow more instances than it can, and says what to do", async () => {
    const cluster = await openWatched({ instances: 18 });
    for (const { name } of cluster.agents.slice(1, 17)) {
      const { id } = await cluster.created(publicA, name);
      await cluster.until(() => cluster.remap(id).phase === "draining");
      cluster.node(name).open(publicA, 1);
    }
    expect(await cluster.create(publicA, "vm-r")).toMatchObject({
      error: {
        code: "LIMIT_EXCEEDED",
        message: `vm-r would follow connections of 17 instances, and can follow those of 16: wait until a drain of ${publicA} ends, or cut one`,
      },
    });
    cluster.node("vm-c").close(publicA);
    await cluster.until(() => cluster.remaps.list(publicA, true).length === 15);
    expect(await refusalOf(cluster.create(publicA, "vm-r"))).toBe("none");
  });

  it("uses for the target the private address on which old flows may live, and keeps the source's until the drain ends", async () => {
    const cluster = await openWatched();
    await cluster.addAddress(publicB, "vm-b");
    const there = await cluster.created(publicA, "vm-b");
    expect(there.targetPrivate).toBe("10.77.0.112");
    await cluster.until(() => cluster.remap(there.id).phase === "draining");
    expect((await cluster.created(publicB, "vm-a")).targetPrivate).toBe("10.77.0.111");
    const back = await cluster.created(publicA, "vm-a");
    expect(back.targetPrivate).toBe("10.77.0.11");
  });
});

function lag(cluster: FakeCluster): void {
  const answer = cluster.answerTracker.bind(cluster);
  cluster.answerTracker = () => !cluster.slowTracker && answer();
  cluster.slowTracker = true;
}

function narrow(cluster: FakeCluster): void {
  for (const gateway of cluster.gateways) gateway.mtu = 100;
}

describe("before the flip, a remap aborts by itself", () => {
  const cases: readonly [string, (cluster: FakeCluster) => void, string, string][] = [
    ["a node does not answer", (cluster) => cluster.disconnect(cluster.node("vm-b")), "NODE_TIMEOUT", "vm-b"],
    ["no proof comes back", narrow, "CHANNEL_UNPROVEN", "1500 bytes"],
  ];
  it.each(cases)("when %s", async (_what, disturb, code, word) => {
    const cluster = await openWatched();
    const before = JSON.stringify(cluster.wanted(), bigintText);
    const { id } = await cluster.created(publicA, "vm-b");
    disturb(cluster);
    await cluster.until(() => cluster.remap(id).phase === "aborted", 15);
    expect(cluster.remap(id)).toMatchObject({ outcome: "aborted", error: { code } });
    expect(cluster.remap(id).error?.message).toContain(word);
    cluster.connectAll();
    await cluster.settle();
    expect(JSON.stringify(cluster.wanted(), bigintText)).toBe(before);
  });

  it("when the trackers lag for longer than they are given", async () => {
    const cluster = await openWatched();
    cluster.trackersMs = 60_000;
    cluster.lead();
    cluster.connectAll();
    await cluster.settle();
    const { id } = await cluster.created(publicA, "vm-b");
    lag(cluster);
    await cluster.until(() => cluster.remap(id).phase === "aborted", 70);
    expect(cluster.remap(id)).toMatchObject({ outcome: "aborted", error: { code: "TRACKER_BEHIND" } });
    expect(cluster.remap(id).error?.message).toMatch(/tracker to apply the snapshot in shard \d+/);
    expect(cluster.nowMs).toBeGreaterThan(60_000);
  });

  it("but not because the trackers lag, for which it waits and says in which shards (R12)", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    lag(cluster);
    await cluster.until(() => cluster.remap(id).waitingFor[0]?.node === "tracker", 5);
    for (let second = 0; second < 600; second++) await cluster.tick(1_000);
    await cluster.settle();
    expect(cluster.remap(id)).toMatchObject({
      phase: "preparing",
      waitingFor: [{ node: "tracker", what: expect.stringMatching(/^to apply the snapshot in shard \d+/) }],
    });
    cluster.slowTracker = false;
    await cluster.until(() => cluster.remap(id).phase === "draining");
  });

  it("when a node goes away while the trackers are waited for, after the node's own time", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    lag(cluster);
    await cluster.until(() => cluster.remap(id).waitingFor[0]?.node === "tracker", 5);
    await cluster.tick(600_000);
    cluster.disconnect(cluster.node("gw1"));
    await cluster.tick(9_000);
    expect(cluster.remap(id).phase).toBe("preparing");
    await cluster.tick(2_000);
    await cluster.until(() => cluster.remap(id).phase.startsWith("abort"), 3);
    expect(cluster.remap(id).error).toMatchObject({ code: "NODE_TIMEOUT" });
  });

  it("when a smaller proof is all that comes back", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    cluster.prove = () => {
      for (const proof of cluster.gateways[0]?.gatewayState?.proofs ?? [])
        cluster.gateways[0]?.noteProof(proof.id, "gw1", 1400);
    };
    await cluster.until(() => cluster.remap(id).phase === "aborted", 15);
    expect(cluster.remap(id).error).toMatchObject({ code: "MTU_TOO_SMALL" });
    expect(cluster.remap(id).error?.message).toContain("1400");
  });

  it("when a node can't bring its kernel into the state, with the node's own reason", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    const target = cluster.node("vm-b");
    target.faults = [{ code: "LIMIT_EXCEEDED", message: "the connection table is 95 % full", address: publicA }];
    target.report();
    await cluster.until(() => cluster.remap(id).phase.startsWith("abort"), 3);
    target.faults = [];
    await cluster.until(() => cluster.remap(id).phase === "aborted", 3);
    expect(cluster.remap(id).error).toEqual({
      code: "LIMIT_EXCEEDED",
      message: "vm-b: the connection table is 95 % full",
    });
  });

  it("but not when the fault is another address's", async () => {
    const cluster = await openWatched();
    cluster.node("vm-b").faults = [{ code: "NODE_FAILED", message: "elsewhere", address: publicB }];
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
  });
});

describe("after the flip, a remap never aborts by itself", () => {
  it("but waits for a gateway that is away, says so, and goes on when it is given up", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const { id } = await cluster.created(publicA, "vm-b");
    const gateway = cluster.node("gw2");
    cluster.nodes.forEach((node) => {
      const check = node.onApply;
      node.onApply = () => {
        check?.();
        if (gateway.gatewayState?.accepts.length === 1) cluster.disconnect(gateway);
      };
    });
    await cluster.until(() => cluster.remap(id).phase === "switching" || gateway.session === undefined);
    gateway.onApply = undefined;
    cluster.node("gw1").onApply = undefined;
    const arming = cluster.remap(id).phase !== "switching";
    if (arming) cluster.connect(gateway);
    await cluster.until(() => cluster.remap(id).phase === "switching");
    if (gateway.session !== undefined) cluster.disconnect(gateway);
    await cluster.tick(3_600_000);
    await cluster.settle();
    expect(cluster.remap(id).phase).toBe("switching");
    expect(cluster.remap(id).waitingFor).toMatchObject([
      { node: "gw2", what: expect.stringContaining("not connected") },
    ]);
    for (const node of cluster.nodes) node.onApply = undefined;
    await cluster.inventory.removeGateway("gw2", "test");
    await cluster.until(() => cluster.remap(id).phase === "draining");
  });

  const withheld: readonly [string, string, (state: AgentState) => boolean, string][] = [
    ["its target to open", "vm-b", (state) => state.addresses[0]?.holdOpens === false, "to open connections"],
    [
      "its source to answer by the channel",
      "vm-a",
      (state) => state.addresses[0]?.egress.kind === "channel",
      "by channel",
    ],
    [
      "its source to be past the switch",
      "vm-a",
      (state) => state.marks.some(({ snapshot }) => !snapshot),
      "past the switch",
    ],
    [
      "its target to be settled",
      "vm-b",
      (state) => state.addresses[0]?.follows[0]?.settled === true,
      "to judge unknown",
    ],
  ];
  it.each(withheld)("but waits for %s, and says so", async (_what, name, isHeld, word) => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    const order = cluster.order.bind(cluster);
    let holding = true;
    cluster.order = (node) => {
      const [next] = node.inbox;
      return holding && node.name === name && next?.kind === "agent" && isHeld(next.state) ? false : order(node);
    };
    for (let second = 0; second < 100; second++) {
      await cluster.settle();
      await cluster.tick(1_000);
    }
    expect(cluster.remap(id)).toMatchObject({ phase: "switching" });
    expect(cluster.remap(id).waitingFor).toMatchObject([{ node: name, what: expect.stringContaining(word) }]);
    holding = false;
    await cluster.until(() => cluster.remap(id).phase === "draining");
  });

  it("an abort is a remap back, and the same one when asked again", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    const abort = () => cluster.remaps.command(id, { kind: "abort", by: "me" }, "me");
    const [first, second] = [await abort(), await abort()];
    expect(first).toMatchObject({ ok: true, value: { source: "vm-b", target: "vm-a", targetPrivate: "10.77.0.11" } });
    expect(second.ok && first.ok && second.value.id === first.value.id).toBe(true);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id).flows).toMatchObject({ atSwitch: 5, remaining: 5, closed: 0 });
  });

  it("a source that is given up for good ends the drain as lost", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining" && cluster.remap(id).flows.remaining === 5);
    cluster.disconnect(cluster.node("vm-a"));
    for (const node of cluster.nodes) node.onApply = undefined;
    await cluster.inventory.removeInstance("vm-a", "test");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id)).toMatchObject({ outcome: "source-lost", flows: { lost: 5, remaining: 0 } });
  });
});

describe("a source that is not heard of while it drains (R14)", () => {
  async function draining(): Promise<{ cluster: FakeCluster; id: string; source: FakeNode; now: () => Remap }> {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining" && cluster.remap(id).flows.remaining === 5);
    await cluster.tick(2_000);
    await cluster.settle();
    for (const node of cluster.nodes) node.onApply = undefined;
    return { cluster, id, source: cluster.node("vm-a"), now: () => cluster.remap(id) };
  }

  async function pass(cluster: FakeCluster, ms: number): Promise<void> {
    for (let passedMs = 0; passedMs < ms; passedMs += 1_000) {
      await cluster.tick(1_000);
      await cluster.settle();
    }
  }

  it("is waited for as long as its kernel answers through the channel, and that is said", async () => {
    const { cluster, source, now } = await draining();
    cluster.disconnect(source);
    await pass(cluster, 3 * sourceLostMs);
    expect(now()).toMatchObject({ phase: "draining", flows: { remaining: 5, lost: 0 } });
    expect(now().waitingFor[0]?.what).toContain("its kernel answers");
  });

  it("is lost when neither its agent nor its kernel has answered for the stated time, and not before", async () => {
    const { cluster, source, now } = await draining();
    cluster.disconnect(source);
    source.answers = false;
    await pass(cluster, sourceLostMs - 5_000);
    expect(now().phase).toBe("draining");
    expect(now().waitingFor[0]?.what).toContain("counts as lost");
    await pass(cluster, 10_000);
    expect(now()).toMatchObject({ phase: "completed", outcome: "source-lost", flows: { lost: 5, remaining: 0 } });
    expect(now().remarks?.join()).toContain("vm-a");
    expect(cluster.node("vm-b").agentState).toMatchObject({ links: [] });
  });

  it("is told to let go of what it still has when it comes back, until it has a part again", async () => {
    const { cluster, source, now } = await draining();
    cluster.disconnect(source);
    source.answers = false;
    await pass(cluster, sourceLostMs + 5_000);
    expect(now().outcome).toBe("source-lost");
    cluster.connect(source);
    await cluster.settle();
    expect(source.agentState).toMatchObject({ addresses: [], links: [], discards: ["10.77.0.11"] });
    source.close(publicA);
    const back = await cluster.created(publicA, "vm-a");
    await cluster.until(() => cluster.remap(back.id).phase === "completed");
    expect(source.agentState?.discards ?? []).toEqual([]);
  });

  it.each<[string, (cluster: FakeCluster) => void]>([
    [
      "its kernel has never answered, for a firewall may be all there is to it",
      (cluster) => {
        cluster.node("vm-b").forgetProbes();
      },
    ],
    ["the holder's agent can't be heard either", (cluster) => cluster.disconnect(cluster.node("vm-b"))],
    [
      "the holder's agent sends no probes",
      (cluster) => {
        cluster.node("vm-b").probes = false;
      },
    ],
    [
      "packets of its connections still come back",
      (cluster) => {
        const answer = cluster.tick.bind(cluster);
        cluster.tick = (ms) => {
          cluster.node("vm-b").packets++;
          return answer(ms);
        };
      },
    ],
  ])("is not lost where %s", async (_why, disturb) => {
    const { cluster, source, now } = await draining();
    cluster.disconnect(source);
    source.answers = false;
    disturb(cluster);
    await pass(cluster, 3 * sourceLostMs);
    expect(now()).toMatchObject({ phase: "draining", flows: { lost: 0 } });
  });

  it("has its time anew with a new leader, which knows what it said last", async () => {
    const { cluster, source, now } = await draining();
    source.close(publicA);
    source.open(publicA, 3);
    await cluster.settle();
    expect(now().flows).toMatchObject({ remaining: 3, closed: 2 });
    cluster.disconnect(source);
    source.answers = false;
    await pass(cluster, sourceLostMs - 5_000);
    cluster.lead();
    cluster.connect(cluster.node("vm-b"));
    for (const gateway of cluster.gateways) cluster.connect(gateway);
    await pass(cluster, sourceLostMs - 5_000);
    expect(now().phase).toBe("draining");
    await pass(cluster, 10_000);
    expect(now()).toMatchObject({ outcome: "source-lost", flows: { lost: 3, closed: 2 } });
  });

  it("is lost at once when it comes back with another kernel", async () => {
    const { cluster, source, now } = await draining();
    cluster.disconnect(source);
    source.reboot();
    cluster.connect(source);
    await cluster.until(() => now().phase === "completed");
    expect(now()).toMatchObject({ outcome: "source-lost", flows: { lost: 5, remaining: 0, closed: 0 } });
  });
});

describe("a target that is gone after the flip", () => {
  it.each(["vm-a", "vm-c"])(
    "lets the address go on to %s without its connections; the source keeps its own",
    async (to) => {
      const cluster = await openWatched({ instances: 3 });
      const first = await cluster.created(publicA, "vm-b");
      await cluster.until(() => cluster.remap(first.id).phase === "draining");
      cluster.disconnect(cluster.node("vm-b"));
      expect(await refusalOf(cluster.create(publicA, to))).toBe("INSTANCE_DOWN");
      const { id } = await cluster.created(publicA, to, { follow: false });
      await cluster.until(() => cluster.remap(id).phase === "finalizing");
      expect(cluster.gateways[0]?.gatewayState?.mappings[0]?.private).toBe(to === "vm-a" ? "10.77.0.11" : "10.77.0.13");
      expect(cluster.node("vm-a").flowsOf(publicA)).toBe(5);
      await cluster.inventory.removeInstance("vm-b", "test");
      await cluster.until(() => cluster.remap(id).phase === "completed");
      cluster.node("vm-a").close(publicA);
      await cluster.until(() => cluster.remap(first.id).phase === "completed");
      expect(cluster.remap(first.id)).toMatchObject({ outcome: "completed", flows: { lost: 0 } });
    },
  );
});

describe("the end of a drain", () => {
  it("waits for the follower's word on its channel while the follower's agent is away (R4)", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    cluster.disconnect(cluster.node("vm-b"));
    cluster.node("vm-a").close(publicA);
    for (let second = 0; second < 60; second++) await cluster.tick(1_000);
    await cluster.settle();
    expect(cluster.remap(id)).toMatchObject({
      phase: "draining",
      waitingFor: [{ node: "vm-b", what: "to report what passes the channel to vm-a; it is not connected" }],
    });
    cluster.connectAll();
    await cluster.until(() => cluster.remap(id).phase === "completed");
  });

  async function draining(policy = {}): Promise<{ cluster: FakeCluster; id: string; now: () => Remap }> {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b", policy);
    await cluster.until(() => cluster.remap(id).phase === "draining" && cluster.remap(id).flows.remaining === 5);
    return { cluster, id, now: () => cluster.remap(id) };
  }

  it("needs source, trackers and counters to agree for the linger", async () => {
    const { cluster, now } = await draining();
    cluster.tracked = 2;
    cluster.node("vm-a").close(publicA);
    await cluster.settle();
    for (let second = 0; second < 10; second++) await cluster.tick(1_000).then(() => cluster.settle());
    expect(now()).toMatchObject({ phase: "draining", waitingFor: [{ node: "tracker" }] });
    cluster.tracked = 0;
    for (let second = 0; second < 10; second++) {
      cluster.node("vm-b").packets++;
      cluster.node("vm-b").report();
      await cluster.tick(1_000);
      await cluster.settle();
    }
    expect(now().phase).toBe("draining");
    await cluster.until(() => now().phase === "completed", 5);
  });

  it("cut resets what is left while the channel is up, and counts it", async () => {
    const { cluster, id, now } = await draining();
    void cluster.remaps.command(id, { kind: "cut", by: "me" }, "me");
    await cluster.until(() => now().phase === "completed");
    expect(now()).toMatchObject({ outcome: "cut", flows: { atSwitch: 5, cut: 5, remaining: 0, closed: 0 } });
  });

  it("the deadline cuts, when that is the policy", async () => {
    const { cluster, now } = await draining({ deadlineMs: 20_000, onDeadline: "cut" });
    await cluster.tick(10_000);
    expect(now().phase).toBe("draining");
    await cluster.until(() => now().phase === "completed");
    expect(now().outcome).toBe("cut");
  });

  it("the deadline is waited past and said, when that is the policy", async () => {
    const { cluster, id, now } = await draining({ deadlineMs: 1_000, onDeadline: "wait" });
    await cluster.tick(60_000);
    expect(now().waitingFor[0]?.what).toContain("past the deadline");
    expect(await cluster.remaps.command(id, { kind: "release", by: "me" }, "me")).toMatchObject({
      error: { code: "WRONG_PHASE" },
    });
  });

  it("the channel is kept past the deadline until release, when that is the policy", async () => {
    const { cluster, id, now } = await draining({ deadlineMs: 30_000, onDeadline: "keep" });
    expect(await cluster.remaps.command(id, { kind: "release", by: "me" }, "me")).toMatchObject({
      error: { code: "WRONG_PHASE" },
    });
    await cluster.tick(60_000);
    expect(now().phase).toBe("draining");
    for (const node of cluster.nodes) node.onApply = undefined;
    const discarded: string[] = [];
    const source = cluster.node("vm-a");
    source.onApply = () => void discarded.push(...(source.agentState?.discards ?? []));
    void cluster.remaps.command(id, { kind: "release", by: "me" }, "me");
    await cluster.until(() => now().phase === "completed");
    expect(now()).toMatchObject({ flows: { lost: 5, remaining: 0 } });
    expect(discarded).toEqual(["10.77.0.11"]);
    expect(cluster.node("vm-a").agentState).not.toHaveProperty("discards");
  });

  it("the deadline can be moved, and taken away", async () => {
    const { cluster, id, now } = await draining({ deadlineMs: 10_000, onDeadline: "cut" });
    await cluster.remaps.command(id, { kind: "deadline", deadlineMs: 100_000 }, "me");
    await cluster.tick(60_000);
    expect(now().phase).toBe("draining");
    await cluster.remaps.command(id, { kind: "deadline" }, "me");
    await cluster.tick(600_000);
    expect(now()).toMatchObject({ phase: "draining", policy: { onDeadline: "cut" } });
    expect(now().policy.deadlineMs).toBeUndefined();
    const values = cluster.auditEntries.filter(({ action }) => action === "remap-deadline");
    expect(values).toMatchObject([
      { by: "me", deadlineMs: 100_000 },
      { by: "me", deadlineMs: null },
    ]);
  });
});

describe("connections that the source's kernel can't reset", () => {
  it("don't hold up a cut, count as cut, and are told of", async () => {
    const cluster = await openWatched();
    cluster.node("vm-a").resetsConnections = false;
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    for (const node of cluster.nodes) node.onApply = undefined;
    await cluster.remaps.command(id, { kind: "cut", by: "me" }, "me");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id)).toMatchObject({ outcome: "cut", flows: { cut: 5, remaining: 0, closed: 0 } });
    expect(cluster.remap(id).remarks).toEqual([expect.stringContaining("vm-b resets them at their next packet")]);
  });

  it("are foretold by the preview", async () => {
    const cluster = await openWatched();
    cluster.disconnect(cluster.node("vm-a"));
    cluster.node("vm-a").resetsConnections = false;
    cluster.connectAll();
    await cluster.settle();
    const policy = { deadlineMs: 1_000, onDeadline: "cut" } as const;
    expect(cluster.remaps.plan(cluster.request(publicA, "vm-b", policy)).remarks).toMatchObject([
      /at their next packet/,
    ]);
    expect(cluster.remaps.plan(cluster.request(publicA, "vm-b")).remarks).toEqual([]);
  });
});

describe("what agents count", () => {
  it("outlives their restarts", async () => {
    const cluster = await openWatched();
    const [source, target] = [cluster.node("vm-a"), cluster.node("vm-b")];
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    target.opened = 7;
    target.report();
    source.flows.set(publicA, 2);
    source.report();
    await cluster.settle();
    for (const node of [source, target]) {
      cluster.disconnect(node);
      node.restart();
      node.opened = 0;
    }
    cluster.connectAll();
    await cluster.settle();
    target.opened = 3;
    target.report();
    await cluster.settle();
    expect(cluster.remap(id).flows).toMatchObject({ atSwitch: 5, remaining: 2, closed: 3, newAtTarget: 10 });
  });
});

describe("taking the source offline", () => {
  async function draining(policy: Partial<RemapPolicy> = {}) {
    const cluster = await openWatched({ instances: 3 });
    const source = cluster.node("vm-a");
    cluster.disconnect(source);
    source.offlineHook = true;
    cluster.connectAll();
    await cluster.settle();
    const { id } = await cluster.created(publicA, "vm-b", { offlineSource: true, ...policy });
    await cluster.until(() => cluster.remap(id).phase === "draining");
    return { cluster, source, id };
  }

  it("is the last act, after everything else of the remap is gone", async () => {
    const { cluster, source, id } = await draining();
    const before: boolean[] = [];
    source.onApply = () => {
      const state = source.agentState;
      if (state?.offline !== undefined) before.push(state.addresses.length + state.links.length === 0);
    };
    source.close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(before).toEqual([true]);
    expect(cluster.remap(id)).toMatchObject({ outcome: "completed", offline: { outcome: "done", message: "said" } });
    await cluster.settle();
    expect(source.agentState?.offline).toBeUndefined();
  });

  it("waits for another address of the source, and says so", async () => {
    const { cluster, source, id } = await draining();
    await cluster.addAddress(publicB, "vm-a");
    source.close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "finalizing");
    await cluster.tick(60_000);
    await cluster.settle();
    expect(cluster.remap(id).waitingFor).toMatchObject([
      { node: "vm-a", what: `to hand over ${publicB}, before it is taken offline` },
    ]);
    await cluster.created(publicB, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id).offline?.outcome).toBe("done");
  });

  it("waits for the shards of the tracker beside it, and says which and who could take them (R16)", async () => {
    const { cluster, source, id } = await draining();
    const hosting = { readiness: "ready", shards: [3, 7], vacated: false, takers: 0 } as const;
    source.hosting = hosting;
    expect(source.agentState?.vacate).toBeUndefined();
    source.close(publicA);
    await cluster.until(() => source.agentState?.vacate === true);
    const waits = async (now: Partial<HostingReport>): Promise<string> => {
      source.hosting = { ...hosting, readiness: "draining", ...now };
      source.report();
      await cluster.tick(60_000);
      await cluster.settle();
      expect(cluster.remap(id)).toMatchObject({ phase: "finalizing", waitingFor: [{ node: "vm-a" }] });
      expect(source.agentState?.offline).toBeUndefined();
      return cluster.remap(id).waitingFor[0]?.what ?? "";
    };
    expect(await waits({})).toMatch(/shards 3, 7 away .*no other tracker takes shards: .*before it is taken offline/);
    const many = Array.from({ length: 20 }, (_, shard) => shard);
    expect(await waits({ shards: many, takers: 2 })).toMatch(/shards 0, 1, 2, 3, 4, 5, 6, 7 and 12 more away, before/);
    expect(await waits({ shards: [], takers: 2 })).toMatch(/gets no more shards, before/);

    cluster.lead();
    cluster.connectAll();
    await cluster.settle();
    expect(source.agentState?.vacate).toBe(true);
    expect(await waits({ takers: 2 })).toMatch(/shards 3, 7 away/);

    source.hookOutcome = undefined;
    source.hosting = { ...hosting, readiness: "draining", shards: [], vacated: true };
    source.report();
    await cluster.until(() => source.agentState?.offline !== undefined);
    expect(source.agentState?.vacate).toBe(true);
    source.hookOutcome = "done";
    source.report();
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id).offline?.outcome).toBe("done");
    await cluster.settle();
    expect(source.agentState?.vacate).toBeUndefined();
  });

  it("does not believe a source that has not been told to give its shards away", async () => {
    const { cluster, source, id } = await draining();
    source.hosting = { readiness: "ready", shards: [], vacated: false, takers: 1 };
    source.close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "finalizing");
    await cluster.tick(60_000);
    await cluster.settle();
    expect(source.agentState?.offline).toBeUndefined();
    cluster.disconnect(source);
    await cluster.until(() => cluster.remap(id).phase === "completed", 30);
    expect(cluster.remap(id).offline).toMatchObject({ outcome: "unheard" });
  });

  it("leaves it its shards when the address comes back", async () => {
    const { cluster, source, id } = await draining();
    source.hosting = { readiness: "ready", shards: [3], vacated: false, takers: 1 };
    await cluster.remaps.command(id, { kind: "abort", by: "me" }, "me");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    await cluster.settle();
    expect(source.agentState?.vacate).toBeUndefined();
  });

  it("is reported as unheard when the source goes down before it can tell", async () => {
    const { cluster, source, id } = await draining();
    source.hookOutcome = undefined;
    source.close(publicA);
    await cluster.until(() => source.agentState?.offline !== undefined);
    await cluster.tick(60_000);
    await cluster.settle();
    expect(cluster.remap(id).phase).toBe("finalizing");
    cluster.disconnect(source);
    await cluster.tick(1_000);
    expect(cluster.remap(id).phase).toBe("finalizing");
    await cluster.until(() => cluster.remap(id).phase === "completed", 20);
    expect(cluster.remap(id).offline).toMatchObject({ outcome: "unheard" });
  });

  it("goes on under another leader", async () => {
    const { cluster, source, id } = await draining();
    source.hookOutcome = undefined;
    source.close(publicA);
    await cluster.until(() => source.agentState?.offline !== undefined);
    cluster.lead();
    cluster.connectAll();
    await cluster.settle();
    expect(source.agentState?.offline).toBe(id);
    source.hookOutcome = "failed";
    source.report();
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id)).toMatchObject({ outcome: "completed", offline: { outcome: "failed" } });
  });

  it("is not done when the address has come back", async () => {
    const { cluster, source, id } = await draining();
    await cluster.remaps.command(id, { kind: "abort", by: "me" }, "me");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id).offline).toMatchObject({ outcome: "not-run" });
    expect(source.agentState?.offline).toBeUndefined();
  });

  it("lets no address go to it meanwhile", async () => {
    const { cluster, source } = await draining();
    source.hookOutcome = undefined;
    source.close(publicA);
    await cluster.until(() => source.agentState?.offline !== undefined);
    expect(await refusalOf(cluster.create(publicA, "vm-a"))).toBe("INSTANCE_DOWN");
  });
});

describe("without following", () => {
  it("the address moves at once, without a channel, and the source resets what it had", async () => {
    const cluster = await openWatched();
    for (const node of cluster.nodes) node.onApply = () => expect(node.agentState?.links ?? []).toEqual([]);
    const { id } = await cluster.created(publicA, "vm-b", { follow: false });
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id).channel).toBeUndefined();
    expect(cluster.remap(id)).toMatchObject({ outcome: "cut", flows: { cut: 5 } });
    expect(cluster.node("vm-a").flowsOf(publicA)).toBe(0);
    expect(cluster.node("vm-a").agentState?.addresses).toEqual([]);
    expect(cluster.gateways[0]?.gatewayState?.mappings).toMatchObject([{ private: "10.77.0.12" }]);
  });

  it("the address can leave an instance whose agent is gone", async () => {
    const cluster = await openWatched();
    cluster.disconnect(cluster.node("vm-a"));
    for (const node of cluster.nodes) node.onApply = undefined;
    expect(await refusalOf(cluster.create(publicA, "vm-b"))).toBe("INSTANCE_DOWN");
    const { id } = await cluster.created(publicA, "vm-b", { follow: false });
    await cluster.until(() => cluster.remap(id).phase === "finalizing");
    expect(cluster.gateways[0]?.gatewayState?.mappings).toMatchObject([{ private: "10.77.0.12" }]);
  });
});

describe("more than one remap", () => {
  it("twenty times to and fro with connections of every generation on both sides, none loses its way", async () => {
    const cluster = await openWatched();
    const moves: string[] = [];
    for (let turn = 0; turn < 20; turn++) {
      const target = turn % 2 === 0 ? "vm-b" : "vm-a";
      const { id } = await cluster.created(publicA, target);
      await cluster.until(() => cluster.remap(id).phase === "draining");
      cluster.node(target).open(publicA, 1);
      await cluster.settle();
      moves.push(id);
      const previous = moves.at(-2);
      if (previous !== undefined) await cluster.until(() => cluster.remap(previous).phase === "completed");
    }
    expect(cluster.remaps.list(undefined, true).length).toBe(1);
    expect(cluster.node("vm-a").flowsOf(publicA)).toBe(15);
    expect(cluster.node("vm-b").flowsOf(publicA)).toBe(10);
    expect(cluster.agents.map(({ agentState }) => agentState?.links.length)).toEqual([1, 1]);
    for (const agent of cluster.agents) agent.close(publicA);
    await cluster.until(() => cluster.remaps.list(undefined, true).length === 0);
    expect(cluster.agents.map(({ agentState }) => agentState?.links.length)).toEqual([0, 0]);
  });

  it("a second one from the target to a third moves the first source's channel with it", async () => {
    const cluster = await openWatched({ instances: 3 });
    const first = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(first.id).phase === "draining");
    cluster.node("vm-b").open(publicA, 2);
    const second = await cluster.created(publicA, "vm-c");
    await cluster.until(() => cluster.remap(second.id).phase === "draining");
    expect(cluster.remap(first.id)).toMatchObject({ phase: "draining", target: "vm-b", flows: { remaining: 5 } });
    const third = cluster.node("vm-c").agentState;
    expect(third?.addresses[0]?.follows.map(({ owner }) => owner).sort()).toEqual(["vm-a", "vm-b"]);
    expect(cluster.node("vm-b").agentState?.addresses[0]?.follows).toEqual([]);
    expect(cluster.node("vm-a").agentState?.links).toMatchObject([{ peer: "vm-c" }]);
    cluster.node("vm-b").close(publicA);
    await cluster.until(() => cluster.remap(second.id).phase === "completed");
    expect(cluster.remap(first.id).phase).toBe("draining");
    expect(cluster.ownerships).toEqual([]);
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(first.id).phase === "completed");
    expect(cluster.agents.map(({ agentState }) => agentState?.links.length)).toEqual([0, 0, 0]);
  });

  it("two addresses cross each other between the same instances", async () => {
    const cluster = await openWatched();
    await cluster.addAddress(publicB, "vm-b");
    cluster.node("vm-b").open(publicB, 3);
    const [one, two] = await Promise.all([cluster.created(publicA, "vm-b"), cluster.created(publicB, "vm-a")]);
    await cluster.until(() => [one, two].every(({ id }) => cluster.remap(id).phase === "draining"));
    expect(new Set(cluster.node("vm-a").agentState?.links.map(({ id }) => id)).size).toBe(2);
    expect(cluster.gateways[0]?.gatewayState?.mappings.map((mapping) => mapping.private)).toEqual([
      "10.77.0.112",
      "10.77.0.111",
    ]);
    for (const agent of cluster.agents) for (const address of [publicA, publicB]) agent.close(address);
    await cluster.until(() => cluster.remaps.list(undefined, true).length === 0);
  });
});

describe("a coordinator that takes over", () => {
  it.each(["preparing", "arming", "switching", "draining", "finalizing"] as const)(
    "goes on with a remap that is %s",
    async (phase) => {
      const cluster = await openWatched({ gateways: 2 });
      const { id } = await cluster.created(publicA, "vm-b");
      cluster.slowStore = true;
      for (let i = 0; i < 500 && cluster.remap(id).phase !== phase; i++) {
        if (phase === "finalizing") cluster.node("vm-a").close(publicA);
        cluster.prove();
        for (const node of cluster.nodes) cluster.order(node) || cluster.hear(node);
        cluster.finishWrite();
        await cluster.tick(phase === "finalizing" ? 100 : 1);
      }
      expect(cluster.remap(id).phase).toBe(phase);
      cluster.slowStore = false;
      cluster.lead();
      expect(cluster.remap(id).phase).toBe(phase);
      cluster.connectAll();
      cluster.node("vm-a").close(publicA);
      await cluster.until(() => cluster.remap(id).phase === "completed");
      expect(cluster.nodes.flatMap(({ refused }) => refused)).toEqual([]);
    },
  );

  it("sends the ends nothing that could be older than what they have, until the gateways have answered", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const { id } = await cluster.created(publicA, "vm-b");
    cluster.slowStore = true;
    const source = cluster.node("vm-a");
    for (let i = 0; i < 500 && source.agentState?.addresses[0]?.egress.kind !== "channel"; i++) {
      cluster.prove();
      for (const node of cluster.nodes) cluster.order(node) || cluster.hear(node);
      if (cluster.stored().get(id)?.phase.kind !== "switching") cluster.finishWrite();
      await cluster.tick(1);
    }
    expect(cluster.stored().get(id)?.phase).toEqual({ kind: "switching", stage: "flip" });
    cluster.slowStore = false;
    cluster.lead();
    cluster.connect(source);
    expect(source.inbox).toEqual([]);
    cluster.connectAll();
    await cluster.until(() => cluster.remap(id).phase === "draining");
    expect(source.agentState?.addresses[0]?.egress.kind).toBe("channel");
  });

  it("gives way when a node obeys a newer term, and stores nothing more", async () => {
    const cluster = await openWatched();
    const node = cluster.node("vm-b");
    node.held = { term: 99n, leader: "another", generation: 1n, digest: "00".repeat(32) };
    node.report();
    await cluster.settle();
    expect(cluster.lost).toContain("term 99");
    expect(await refusalOf(cluster.create(publicA, "vm-b"))).toBe("NOT_LEADER");
  });

  it("stops at once when the store does not take a write", async () => {
    const cluster = await openWatched();
    cluster.slowStore = true;
    const creating = cluster.create(publicA, "vm-b");
    await cluster.flush();
    cluster.failWrite();
    expect(await refusalOf(creating)).toBe("STORE_UNAVAILABLE");
    expect(cluster.lost).toContain("the store is away");
  });
});

describe("the inventory", () => {
  it("refuses what would make the edge ambiguous or a remap blind", async () => {
    const cluster = await openWatched();
    const add = (wish: Parameters<typeof cluster.inventory.addAddress>[0]) =>
      cluster.inventory.addAddress(wish, "test");
    expect(await add({ address: publicA, instance: "vm-b" })).toMatchObject({ error: { code: "ADDRESS_EXISTS" } });
    expect(await add({ address: publicB, instance: "vm-a", private: ip("10.77.0.11") })).toMatchObject({
      error: { code: "PRIVATE_IN_USE" },
    });
    expect(await add({ address: publicB, instance: "vm-a", private: ip("10.77.0.99") })).toMatchObject({
      error: { code: "UNKNOWN_PRIVATE" },
    });
    expect(await add({ address: ip("198.51.100.7"), instance: "vm-a" })).toMatchObject({
      error: { code: "INVALID_ARGUMENT" },
    });
    expect(await add({ address: publicB, instance: "nobody" })).toMatchObject({ error: { code: "UNKNOWN_INSTANCE" } });
    const { id } = await cluster.created(publicA, "vm-b");
    expect(await cluster.inventory.removeAddress(publicA, "test")).toMatchObject({ error: { code: "ADDRESS_BUSY" } });
    expect(cluster.inventory.addresses()).toMatchObject([{ address: publicA, remap: id }]);
    expect(await cluster.inventory.removeInstance("vm-a", "test")).toMatchObject({ error: { code: "ADDRESS_BUSY" } });
    expect(await cluster.inventory.removeGateway("gw1", "test")).toMatchObject({ error: { code: "WRONG_PHASE" } });
  });

  it("never lets a generation go down, also when an address is removed and added again", async () => {
    const cluster = await openWatched();
    const { id } = await cluster.created(publicA, "vm-b");
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.inventory.addresses()).toMatchObject([{ instance: "vm-b", generation: 2n }]);
    await cluster.inventory.removeAddress(publicA, "test");
    await cluster.settle();
    expect(cluster.gateways[0]?.gatewayState?.mappings).toEqual([]);
    await cluster.addAddress(publicA, "vm-a");
    expect(cluster.inventory.addresses()).toMatchObject([{ instance: "vm-a", generation: 3n }]);
    expect(cluster.gateways[0]?.gatewayState?.mappings).toMatchObject([{ private: "10.77.0.11", generation: 3n }]);
  });
});
