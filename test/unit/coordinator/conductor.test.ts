/** Where events of the conductor meet: a leadership that ends, a removal, a write that fails. */
import { beforeEach, describe, expect, it } from "vitest";
import { FakeCluster, publicA } from "../../support/fake-cluster.ts";

describe("a conductor", () => {
  let cluster: FakeCluster;
  beforeEach(async () => {
    cluster = new FakeCluster({ instances: 3, gateways: 2 });
    cluster.connectAll();
    await cluster.settle();
    await cluster.addAddress(publicA, "vm-a");
    cluster.node("vm-a").open(publicA, 5);
    await cluster.settle();
  });

  describe("whose store was emptied (F7)", () => {
    beforeEach(async () => {
      const { id } = await cluster.created(publicA, "vm-b");
      await cluster.until(() => cluster.remap(id).phase === "draining");
      cluster.lead();
      cluster.connectAll();
      await cluster.settle();
      cluster.emptyStore();
      cluster.lead();
    });

    it("gives up its term for one above those that the nodes obey (F8)", () => {
      cluster.connectAll();
      expect(cluster.lost).toContain("obeys term 2");
      cluster.lead();
      expect(cluster.cluster.term).toBe(3n);
    });

    it("orders nodes nothing, and says what to do, until an operator begins anew", async () => {
      const before = cluster.wanted();
      cluster.connectAll();
      cluster.lead();
      cluster.connectAll();
      await cluster.settle();
      expect(cluster.wanted()).toEqual(before);
      expect(cluster.inventory.gateways()).toMatchObject([{ heldBack: expect.stringContaining("term 2") }, {}]);
      expect(cluster.inventory.instances()).toHaveLength(3);
      const refused = {
        error: { code: "NODE_HELD_BACK", message: expect.stringContaining("baton cluster begin-anew") },
      };
      expect(await cluster.create(publicA, "vm-b")).toMatchObject(refused);
      await cluster.addAddress(publicA, "vm-b");
      expect(await cluster.create(publicA, "vm-a")).toMatchObject(refused);
      expect(cluster.wanted()).toEqual(before);
      const begun = await cluster.inventory.beginAnew("test");
      expect(begun).toEqual({ ok: true, value: expect.arrayContaining(["gw1", "gw2", "vm-a", "vm-b", "vm-c"]) });
      await cluster.settle();
      expect(cluster.gateways.map(({ gatewayState }) => gatewayState?.mappings)).toMatchObject(
        Array(2).fill([{ address: publicA, private: "10.77.0.12" }]),
      );
      expect(cluster.nodes.flatMap(({ refused: reasons }) => reasons)).toEqual([]);
      expect(cluster.audits).toContain("begin-anew");
      expect(await cluster.inventory.beginAnew("test")).toMatchObject({ error: { code: "WRONG_PHASE" } });
    });

    it("keeps what an operator has accepted for leaders and nodes that come later", async () => {
      const late = cluster.node("gw2");
      const others = cluster.nodes.filter((node) => node !== late);
      for (const node of others) cluster.connect(node);
      cluster.lead();
      for (const node of others) cluster.connect(node);
      await cluster.inventory.beginAnew("test");
      cluster.lead();
      cluster.connectAll();
      await cluster.settle();
      expect(cluster.inventory.gateways().map(({ heldBack }) => heldBack)).toEqual([undefined, undefined]);
      expect(late.gatewayState?.mappings).toEqual([]);
    });
  });

  it("holds back one node alone, and refuses only remaps that need it (F7)", async () => {
    const stray = cluster.node("vm-c");
    cluster.disconnect(stray);
    stray.held = { term: 1n, leader: "elsewhere", generation: 7n, digest: "ab".repeat(32) };
    cluster.lead();
    cluster.connectAll();
    await cluster.settle();
    expect(await cluster.create(publicA, "vm-c")).toMatchObject({ error: { code: "NODE_HELD_BACK" } });
    expect(cluster.inventory.instances().map(({ heldBack }) => heldBack !== undefined)).toEqual([false, false, true]);
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    expect(stray.held.generation).toBe(7n);
  });

  it("sends a node elsewhere that comes when the lease has run out (F3)", () => {
    const node = cluster.node("vm-b");
    cluster.disconnect(node);
    cluster.lost = "the lease has run out";
    cluster.connect(node);
    expect(node.session).toBeUndefined();
  });

  it("makes a node come again that has connected while its removal was stored", async () => {
    const node = cluster.node("gw2");
    cluster.disconnect(node);
    cluster.slowStore = true;
    const removing = cluster.inventory.removeGateway("gw2", "test");
    await cluster.flush();
    cluster.connect(node);
    cluster.finishWrite();
    expect(await removing).toMatchObject({ ok: true });
    expect(node.session).toBeUndefined();
    cluster.connect(node);
    await cluster.settle();
    expect(cluster.inventory.gateways()).toMatchObject([
      { name: "gw1" },
      { name: "gw2", connected: true, current: true },
    ]);
  });

  it("answers requests that wait for a write when the write fails", async () => {
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    cluster.slowStore = true;
    const cut = cluster.remaps.command(id, { kind: "cut", by: "test" }, "test");
    const deadline = cluster.remaps.command(id, { kind: "deadline", deadlineMs: 60_000 }, "test");
    await cluster.flush();
    cluster.failWrite();
    expect(await cut).toMatchObject({ error: { code: "STORE_UNAVAILABLE" } });
    expect(await deadline).toMatchObject({ error: { code: "NOT_LEADER" } });
  });

  it("refuses a request for a remap whose address is no longer mapped, and says so (B1)", async () => {
    const { id } = await cluster.created(publicA, "vm-b");
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(await cluster.inventory.removeAddress(publicA, "test")).toMatchObject({ ok: true });
    const abort = await cluster.remaps.command(id, { kind: "abort", by: "test" }, "test");
    expect(abort).toMatchObject({ error: { code: "UNKNOWN_ADDRESS" } });
  });

  it.each([[["vm-b"]], [["vm-b", "vm-c"]], [["vm-b", "vm-a"]]])(
    "gives up a remap whose record came so late that the address has gone to %s since (R13)",
    async (ways) => {
      const first = await cluster.created(publicA, "vm-b");
      const late = cluster.stored().get(first.id);
      if (late === undefined) throw new Error("no record");
      await cluster.remaps.command(first.id, { kind: "abort", by: "test" }, "test");
      await cluster.until(() => cluster.remap(first.id).phase === "aborted");
      for (const target of ways) {
        const { id } = await cluster.created(publicA, target);
        await cluster.until(() => cluster.remap(id).phase === "draining");
        for (const agent of cluster.agents) agent.close(publicA);
        await cluster.until(() => cluster.remap(id).phase === "completed");
      }
      cluster.land({ ...late, id: "late", owners: late.owners.map((owner) => ({ ...owner, remap: "late" })) });
      cluster.lead();
      cluster.connectAll();
      await cluster.until(() => cluster.remap("late").phase === "aborted");
      expect(cluster.remap("late").error?.message).toContain("has moved to");
      expect(cluster.inventory.addresses()).toMatchObject([{ instance: ways.at(-1) }]);
    },
  );
});
