import { describe, expect, it } from "vitest";
import { FakeCluster, publicA } from "../../support/fake-cluster.ts";

async function twoInstances(): Promise<FakeCluster> {
  const cluster = new FakeCluster();
  cluster.connectAll();
  await cluster.settle();
  await cluster.addAddress(publicA, "vm-a");
  cluster.node("vm-a").open(publicA, 5);
  await cluster.settle();
  return cluster;
}

describe("a remap", () => {
  it("goes through all phases and ends when the last old connection has ended", async () => {
    const cluster = await twoInstances();
    const { id } = await cluster.created(publicA, "vm-b");
    await cluster.until(() => cluster.remap(id).phase === "draining");
    await cluster.tick(30_000);
    expect(cluster.remap(id)).toMatchObject({ phase: "draining", flows: { atSwitch: 5, remaining: 5 } });
    cluster.node("vm-a").close(publicA);
    await cluster.until(() => cluster.remap(id).phase === "completed");
    expect(cluster.remap(id)).toMatchObject({ outcome: "completed", flows: { atSwitch: 5, remaining: 0, closed: 5 } });
    expect(cluster.node("vm-a").agentState).toMatchObject({ addresses: [], links: [], marks: [] });
    expect(cluster.ownerships).toEqual([`${publicA} vm-b`]);
  });
});
