/** A cluster of nodes without kernels whose every applied state is held against what packets would meet. */
import { expect } from "vitest";
import { FakeCluster, type FakeClusterOptions, publicA } from "./fake-cluster.ts";
import { brokenInvariants } from "./packet-invariants.ts";

/** All nodes are connected, and vm-a has the address and five connections. */
export async function openWatched(options: FakeClusterOptions = {}): Promise<FakeCluster> {
  const cluster = new FakeCluster(options);
  for (const node of cluster.nodes)
    node.onApply = () => expect(brokenInvariants(cluster.agents, cluster.gateways)).toEqual([]);
  cluster.connectAll();
  await cluster.settle();
  await cluster.addAddress(publicA, "vm-a");
  cluster.node("vm-a").open(publicA, 5);
  await cluster.settle();
  return cluster;
}
