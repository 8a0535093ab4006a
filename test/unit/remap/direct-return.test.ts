/** Remaps whose source answers by itself (policy `return: direct`), with nodes that have no kernel (SPEC D16, O3, O4, R4, R6). */
import { describe, expect, it } from "vitest";
import type { Egress, GatewayState } from "../../../src/node/state.ts";
import { bigintText, type FakeCluster, publicA } from "../../support/fake-cluster.ts";
import { openWatched } from "../../support/watched-cluster.ts";

const direct = { returnPath: "direct" } as const;
const sourceAddress = "10.77.0.11";

async function draining(cluster: FakeCluster, target = "vm-b", policy: object = direct): Promise<string> {
  const { id } = await cluster.created(publicA, target, policy);
  await cluster.until(() => cluster.remap(id).phase === "draining");
  return id;
}

const egressOf = (cluster: FakeCluster, name: string): Egress | undefined =>
  cluster.node(name).agentState?.addresses[0]?.egress;

const acceptsOf = (cluster: FakeCluster): GatewayState["accepts"] => cluster.gateways[0]?.gatewayState?.accepts ?? [];

describe("a remap whose source answers by itself", () => {
  it("keeps the source's translation to the end of its drain, and lets go of it before anything else", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const id = await draining(cluster);
    expect(cluster.remap(id).policy.returnPath).toBe("direct");
    expect(egressOf(cluster, "vm-a")).toMatchObject({ kind: "direct" });
    for (const { agentState } of cluster.agents) expect(agentState?.links).toMatchObject([{ returnPath: "direct" }]);
    await cluster.tick(30_000);
    await cluster.settle();
    for (const { gatewayState } of cluster.gateways)
      expect(gatewayState).toMatchObject({
        mappings: [{ private: "10.77.0.12" }],
        accepts: [{ address: publicA, private: sourceAddress, retiring: false }],
      });
    const [gateway] = cluster.gateways;
    const seen: string[] = [];
    cluster.node("vm-a").onApply = () => {
      const held = acceptsOf(cluster).map(({ retiring }) => (retiring ? "retiring" : "kept"));
      if (cluster.node("vm-a").agentState?.addresses.length === 0) seen.push(`source removed with ${held}`);
    };
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(seen[0]).toMatch(/^source removed with (retiring)?$/);
    expect(gateway?.gatewayState?.accepts).toEqual([]);
    expect(cluster.remap(id)).toMatchObject({ outcome: "completed", flows: { atSwitch: 5, closed: 5 } });
  });

  it("waits with the source's part until every gateway has let go, and says for whom", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const id = await draining(cluster);
    cluster.disconnect(cluster.node("gw2"));
    cluster.node("vm-a").close(publicA);
    for (let second = 0; second < 30; second++) {
      await cluster.settle();
      await cluster.tick(1_000);
    }
    expect(cluster.remap(id)).toMatchObject({
      phase: "draining",
      waitingFor: [{ node: "gw2", what: expect.stringContaining(`to let go of ${sourceAddress}`) }],
    });
    expect(egressOf(cluster, "vm-a")).toMatchObject({ kind: "direct" });
    cluster.lead();
    cluster.connectAll();
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(acceptsOf(cluster)).toEqual([]);
  });

  it("is not over while the source still sends, which is counted at its own end (R4)", async () => {
    const cluster = await openWatched();
    const id = await draining(cluster);
    const source = cluster.node("vm-a");
    source.close(publicA);
    for (let second = 0; second < 30; second++) {
      source.packets++;
      source.report();
      await cluster.settle();
      await cluster.tick(1_000);
    }
    expect(cluster.remap(id).phase).toBe("draining");
    await cluster.until(() => cluster.remap(id).phase === "completed", 10);
  });

  it("leaves everything as it was when it is aborted before its flip (R3)", async () => {
    const cluster = await openWatched();
    const before = JSON.stringify(cluster.wanted(), bigintText);
    cluster.prove = () => undefined;
    const { id } = await cluster.created(publicA, "vm-b", direct);
    await cluster.until(() => cluster.remap(id).waitingFor.some(({ what }) => what.includes("proof")));
    expect(cluster.remap(id).waitingFor[0]?.what).toContain("gw1 → vm-b → vm-a → a gateway");
    await cluster.until(() => cluster.remap(id).phase === "aborted");
    await cluster.settle();
    expect(JSON.stringify(cluster.wanted(), bigintText)).toBe(before);
  });

  it("goes back amid its drain: the flows of before are at home, and either way of answering fits", async () => {
    for (const returnPath of ["direct", "channel"] as const) {
      const cluster = await openWatched();
      const there = await draining(cluster);
      cluster.node("vm-b").open(publicA, 3);
      const back = await draining(cluster, "vm-a", { returnPath });
      await cluster.until(() => cluster.remap(there).phase === "completed");
      expect(egressOf(cluster, "vm-a")).toEqual({ kind: "normal" });
      expect(egressOf(cluster, "vm-b")).toMatchObject({ kind: returnPath });
      expect(acceptsOf(cluster).map((accept) => accept.private)).toEqual(returnPath === "direct" ? ["10.77.0.12"] : []);
      cluster.node("vm-b").close(publicA);
      await cluster.until(() => cluster.remap(back).phase === "completed");
      expect(acceptsOf(cluster)).toEqual([]);
      expect(cluster.node("vm-a").flowsOf(publicA)).toBe(5);
    }
  });

  it("goes on to a third: each source answers as its own remap wants it", async () => {
    for (const [first, second] of [
      ["direct", "channel"],
      ["channel", "direct"],
      ["direct", "direct"],
    ] as const) {
      const cluster = await openWatched({ instances: 3 });
      const one = await draining(cluster, "vm-b", { returnPath: first });
      cluster.node("vm-b").open(publicA, 3);
      const two = await draining(cluster, "vm-c", { returnPath: second });
      expect(egressOf(cluster, "vm-a")).toMatchObject({ kind: first });
      expect(egressOf(cluster, "vm-b")).toMatchObject({ kind: second });
      const kept = acceptsOf(cluster).map((accept) => accept.private);
      const wanted = [first === "direct" ? sourceAddress : "", second === "direct" ? "10.77.0.12" : ""];
      expect([...kept].sort()).toEqual(wanted.filter((own) => own !== ""));
      cluster.node("vm-a").close(publicA);
      await cluster.until(() => cluster.remap(one).phase === "completed");
      cluster.node("vm-b").close(publicA);
      await cluster.until(() => cluster.remap(two).phase === "completed");
      expect(acceptsOf(cluster)).toEqual([]);
    }
  });

  it("can be sent back while the gateways let go of the source", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const id = await draining(cluster);
    cluster.disconnect(cluster.node("gw2"));
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => acceptsOf(cluster).some(({ retiring }) => retiring));
    cluster.connect(cluster.node("gw2"));
    const { id: back } = await cluster.created(publicA, "vm-a", direct);
    await cluster.until(() => cluster.remap(back).phase === "draining");
    await cluster.until(() => cluster.remap(id).phase === "completed");
    await cluster.until(() => cluster.remap(back).phase === "completed");
    expect(cluster.gateways[1]?.gatewayState).toMatchObject({ mappings: [{ private: sourceAddress }], accepts: [] });
  });

  it("keeps the translation after all when a connection has come up at the source meanwhile", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const id = await draining(cluster);
    cluster.disconnect(cluster.node("gw2"));
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => acceptsOf(cluster).some(({ retiring }) => retiring));
    cluster.node("vm-a").open(publicA, 1);
    await cluster.until(() => acceptsOf(cluster).some(({ retiring }) => !retiring));
    cluster.connectAll();
    await cluster.tick(30_000);
    await cluster.settle();
    expect(cluster.remap(id)).toMatchObject({ phase: "draining", flows: { remaining: 1 } });
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(acceptsOf(cluster)).toEqual([]);
  });

  it("ends with the source's translation gone, also when the source is lost, cut or let go of", async () => {
    const ends: readonly [string, object, (cluster: FakeCluster, id: string) => Promise<unknown>][] = [
      [
        "source-lost",
        {},
        (cluster) => {
          cluster.disconnect(cluster.node("vm-a"));
          return cluster.inventory.removeInstance("vm-a", "test");
        },
      ],
      ["cut", {}, (cluster, id) => cluster.remaps.command(id, { kind: "cut", by: "test" }, "test")],
      [
        "completed",
        { deadlineMs: 1_000, onDeadline: "keep" },
        async (cluster, id) => {
          await cluster.tick(2_000);
          return cluster.remaps.command(id, { kind: "release", by: "test" }, "test");
        },
      ],
    ];
    for (const [outcome, policy, end] of ends) {
      const cluster = await openWatched();
      const id = await draining(cluster, "vm-b", { ...direct, ...policy });
      for (const node of cluster.nodes) node.onApply = undefined;
      const ending = end(cluster, id);
      await cluster.until(() => cluster.remap(id).phase === "completed");
      await ending;
      expect(cluster.remap(id).outcome, outcome).toBe(outcome);
      expect(acceptsOf(cluster), outcome).toEqual([]);
    }
  });

  it("does not end with connections let go of while a gateway still translates for them", async () => {
    const cluster = await openWatched({ gateways: 2 });
    const id = await draining(cluster, "vm-b", { ...direct, deadlineMs: 1_000, onDeadline: "keep" });
    for (const node of cluster.nodes) node.onApply = undefined;
    await cluster.tick(2_000);
    cluster.disconnect(cluster.node("gw2"));
    void cluster.remaps.command(id, { kind: "release", by: "test" }, "test");
    for (let second = 0; second < 30; second++) {
      await cluster.settle();
      await cluster.tick(1_000);
    }
    expect(cluster.remap(id)).toMatchObject({ phase: "finalizing", waitingFor: [{ node: "gw2" }] });
    cluster.connectAll();
    await cluster.until(() => cluster.remap(id).phase === "completed");
  });

  it("says in its preview what it means for the source", async () => {
    const cluster = await openWatched();
    const request = cluster.request(publicA, "vm-b", { ...direct, unknown: "reset" });
    expect(cluster.remaps.plan(request)).toMatchObject({
      refusals: [],
      remarks: [expect.stringContaining("can't open connections"), expect.stringContaining("is reset")],
    });
  });

  it("means nothing where connections are not followed", async () => {
    const cluster = await openWatched();
    for (const node of cluster.nodes) node.onApply = undefined;
    const { id } = await cluster.created(publicA, "vm-b", { ...direct, follow: false });
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(acceptsOf(cluster)).toEqual([]);
  });
});
