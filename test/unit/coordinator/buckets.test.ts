/** Changes of buckets at a coordinator: who orders them, what agents are told, and when the layout before is given up. */
import { beforeEach, describe, expect, test } from "vitest";
import { BucketChanges } from "../../../services/coordinator/bucket-changes.ts";
import { haveApplied, settleLayouts } from "../../../services/coordinator/settling.ts";
import { MemoryBus } from "../../../src/bus/memory.ts";
import { toldPositions } from "../../../src/coordinator/moved-flows.ts";
import type { Assignment } from "../../../src/placement/assignment.ts";
import type { Layout } from "../../../src/placement/layout.ts";
import { setBuckets } from "../../../src/placement/operator-buckets.ts";
import { hasPart } from "../../../src/remap/projection.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import type { PeerReplica, PeerReport } from "../../../src/tracker/peers.ts";
import { SharedEpochs } from "../../support/epochs.ts";
import { FakeCluster, ip } from "../../support/fake-cluster.ts";
import { quietLog } from "../../support/tracker.ts";

const signal = AbortSignal.timeout(30_000);
const shards = 8;
/** What an agent tells that knows of buckets: it has published in every shard. */
const everywhere = Array.from({ length: shards }, (_, shard) => ({ shard, sequence: 9n }));
const address = ip("203.0.113.10");
const [t1, t2] = ["t1", "t2"].map((name) => ({ name, endpoint: `${name}:1` })) as [
  { name: string; endpoint: string },
  { name: string; endpoint: string },
];
const first: Assignment = {
  epoch: 1n,
  holders: Array.from({ length: shards }, () => ({ primary: t1, standby: t2 })),
};
const whole: PeerReplica = { phase: "serving", lag: 0, flows: 1, complete: true, applied: 10n };
const reportOf = (name: string, change: Partial<PeerReplica> = {}): PeerReport => ({
  name,
  endpoint: `${name}:1`,
  epoch: 1n,
  replicas: new Map(first.holders.map((_, shard) => [shard, { ...whole, ...change }])),
});

describe("an order of buckets", () => {
  const order = async (buckets: number, options: { leads?: boolean; of?: typeof address } = {}) => {
    const { leads = true, of = address } = options;
    const epochs = new SharedEpochs();
    epochs.create(first);
    const bus = new MemoryBus();
    const told: string[] = [];
    using _listener = bus.listen("baton.cluster.address-buckets", (data) => told.push(Buffer.from(data).toString()));
    const audits: string[] = [];
    const inventory = { addresses: new Map([[address, {}]]) };
    const changes = new BucketChanges({
      epochs: epochs.view(),
      bus,
      leader: () => (leads ? ({ cluster: { inventory } } as never) : undefined),
      notLeader: () => ({ code: "NOT_LEADER", message: "c2 leads" }),
      audit: (action, entry) => void audits.push(`${action} ${JSON.stringify(entry)}`),
    });
    const reply = await changes.order(of, buckets, "me", signal);
    return { reply, audits, told, newest: epochs.created.at(-1) };
  };

  test("creates the next epoch, and tells who has ordered it", async () => {
    const { reply, audits, told, newest } = await order(4);
    const layout = { buckets: 4, generation: 1, before: 1 };
    expect(reply).toEqual({ ok: true, value: { epoch: 2n, layout } });
    expect(newest?.layouts).toEqual(new Map([[address, layout]]));
    expect(audits).toEqual([
      'address-buckets {"address":"203.0.113.10","buckets":"4","generation":"1","epoch":"2","by":"me"}',
    ]);
    expect(JSON.parse(told[0] ?? "")).toMatchObject({ event: "address-buckets", address, buckets: 4, by: "me" });
  });

  test.each([
    ["that is not mapped", 4, { of: ip("203.0.113.99") }, "UNKNOWN_ADDRESS"],
    ["with more buckets than shards", 9, {}, "INVALID_ARGUMENT"],
    ["with as many as it has", 1, {}, "NOTHING_TO_MOVE"],
    ["at a coordinator that does not lead", 4, { leads: false }, "NOT_LEADER"],
  ] as const)("of an address %s is refused, and changes nothing (B1)", async (_what, buckets, options, code) => {
    const { reply, audits, newest } = await order(buckets, options);
    expect(reply).toMatchObject({ ok: false, error: { code } });
    expect(newest?.epoch).toBe(1n);
    expect(audits).toEqual([]);
  });
});

describe("agents", () => {
  const layout: Layout = { buckets: 4, generation: 1, before: 1 };
  const next: Layout = { buckets: 2, generation: 2, before: 4 };
  let cluster = new FakeCluster();
  const relay = (to: Layout) => cluster.conductor.relay(new Map([[address, to]]));
  const stateOf = (name: string) => cluster.node(name).agentState;

  beforeEach(async () => {
    cluster = new FakeCluster();
    for (const agent of cluster.agents) agent.positions = everywhere;
    cluster.connectAll();
    await cluster.addAddress(address, "vm-a");
  });

  test("that know of no buckets, and tell one shard of all flows, hold the layout before (K6)", async () => {
    cluster.node("vm-a").positions = everywhere.slice(0, 1);
    relay(layout);
    await cluster.settle();
    expect(cluster.cluster.nodes.get("vm-a")?.current).toBe(true);
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeUndefined();
  });

  test("are told of a layout by their states, with the order to tell all flows, if they have a part in the address", async () => {
    relay(layout);
    await cluster.settle();
    expect(stateOf("vm-a")?.addresses).toMatchObject([{ address, layout }]);
    expect(stateOf("vm-a")?.marks).toEqual([{ id: "layout.203.0.113.10.1", address, snapshot: true }]);
    expect(stateOf("vm-b")).toMatchObject({ addresses: [], marks: [] });
  });

  test("hold the layout before until all who have a part have told their flows (K6)", async () => {
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeUndefined();
    relay(layout);
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeUndefined();
    await cluster.settle();
    expect(toldPositions(cluster.cluster, address, layout, shards)).toEqual(everywhere);
    await cluster.created(address, "vm-b");
    await cluster.until(() => stateOf("vm-b")?.addresses.some(({ private: own }) => own !== undefined) === true);
    await cluster.settle();
    expect(stateOf("vm-b")?.addresses).toMatchObject([{ address, layout }]);
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeDefined();
    cluster.disconnect(cluster.node("vm-a"));
    relay(next);
    await cluster.settle();
    expect(toldPositions(cluster.cluster, address, next, shards)).toBeUndefined();
  });

  test("that have told and are gone hold the layout before until they are back and have told again (K6)", async () => {
    relay(layout);
    await cluster.settle();
    const node = cluster.node("vm-a");
    cluster.disconnect(node);
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeUndefined();
    cluster.connect(node);
    await cluster.settle();
    expect(toldPositions(cluster.cluster, address, layout, shards)).toEqual(everywhere);
  });

  test("that are to let go of the address hold the layout before until a new leader hears that they have (K6)", async () => {
    const source = cluster.node("vm-a");
    source.offlineHook = true;
    source.hookOutcome = undefined;
    cluster.disconnect(source);
    cluster.connect(source);
    relay(layout);
    await cluster.created(address, "vm-b", { offlineSource: true });
    await cluster.until(() => source.agentState?.offline !== undefined);
    cluster.disconnect(source);
    cluster.lead();
    relay(layout);
    cluster.connect(cluster.node("vm-b"));
    await cluster.settle();
    const chain = cluster.cluster.chain(address);
    expect(chain && cluster.cluster.agentsOf(chain)).toContain("vm-a");
    expect(chain && hasPart("vm-a", chain)).toBe(false);
    expect(toldPositions(cluster.cluster, address, layout, shards)).toBeUndefined();
    cluster.connect(source);
    await cluster.settle();
    expect(toldPositions(cluster.cluster, address, layout, shards)).toEqual(everywhere);
    cluster.disconnect(source);
    await cluster.until(() => cluster.remaps.list(undefined, false)[0]?.phase === "completed");
    cluster.lead();
    relay(layout);
    cluster.connect(cluster.node("vm-b"));
    await cluster.settle();
    expect(toldPositions(cluster.cluster, address, layout, shards)).toEqual(everywhere);
  });

  test("have no order left, and the layout, once nothing moves", async () => {
    relay(layout);
    await cluster.settle();
    relay({ buckets: 4, generation: 1 });
    await cluster.settle();
    expect(stateOf("vm-a")).toMatchObject({ addresses: [{ layout: { buckets: 4, generation: 1 } }], marks: [] });
  });
});

describe("the layout before", () => {
  const positions = [{ shard: 0, sequence: 10n }];
  test.each([
    ["all have applied what was told", [reportOf("t1"), reportOf("t2")], true],
    ["the standby does not answer", [reportOf("t1")], false],
    ["the standby is behind what was told", [reportOf("t1"), reportOf("t2", { applied: 9n })], false],
    ["a copy misses messages", [reportOf("t1", { complete: false }), reportOf("t2")], false],
    ["a copy has not caught up", [reportOf("t1"), reportOf("t2", { phase: "tailing" })], false],
  ] as const)("is given up, or not, when %s (K6)", (_what, reports, wanted) => {
    expect(haveApplied(first, [0, 1], positions, reports)).toBe(wanted);
  });

  test("is given up by the leader, in an epoch of its own, unless an agent goes before it is (K6)", async () => {
    const cluster = new FakeCluster();
    for (const agent of cluster.agents) agent.positions = everywhere;
    cluster.connectAll();
    await cluster.addAddress(address, "vm-a");
    const epochs = new SharedEpochs();
    const relaid = setBuckets(first, address, 4);
    if (!relaid.ok) throw new Error(relaid.reason);
    epochs.create(first);
    epochs.create(relaid.next);
    let leads = false;
    let applied = 0n;
    let asked = 0;
    /** An agent that goes while the trackers are asked. */
    let goes = true;
    const bus = new MemoryBus();
    const told: string[] = [];
    using _listener = bus.listen("baton.cluster.address-settled", (data) => told.push(Buffer.from(data).toString()));
    const stop = new AbortController();
    const settling = settleLayouts(
      {
        name: "c1",
        epochs: epochs.view(),
        bus,
        leader: () => (leads ? { cluster: cluster.cluster } : undefined),
        reports: async () => {
          asked++;
          if (goes) cluster.disconnect(cluster.node("vm-a"));
          return [reportOf("t1", { applied }), reportOf("t2", { applied })];
        },
        log: quietLog,
      },
      stop.signal,
    );
    cluster.conductor.relay(relaid.next.layouts ?? new Map());
    await cluster.settle();
    leads = true;
    applied = 9n;
    await waitFor(() => asked > 0, { signal, timeoutMs: 10_000, what: "the trackers to be asked" });
    await cluster.flush();
    expect(epochs.created).toHaveLength(2);
    goes = false;
    cluster.connectAll();
    await cluster.settle();
    await waitFor(() => told.length > 0, { signal, timeoutMs: 10_000, what: "the layout to settle" });
    stop.abort(new Error("the test ends"));
    await settling;
    expect(epochs.created.at(-1)?.layouts).toEqual(new Map([[address, { buckets: 4, generation: 1 }]]));
    expect(epochs.created).toHaveLength(3);
    expect(JSON.parse(told[0] ?? "")).toMatchObject({ event: "address-settled", address, buckets: 4, by: "c1" });
  });
});
