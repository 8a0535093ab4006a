/** An address whose number of buckets changes, asked through the client at every stage of the change. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FlowPublisher } from "../../../src/bus/flow-publisher.ts";
import type { MemoryBus } from "../../../src/bus/memory.ts";
import { flowKeyText } from "../../../src/flow/flow.ts";
import { defaultFlushLimits } from "../../../src/flow/flush-window.ts";
import { TrackerServiceClient } from "../../../src/gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../../../src/node/state.ts";
import { type Assignment, assignShards } from "../../../src/placement/assignment.ts";
import { type Layout, newShardsOf, shardsToAsk } from "../../../src/placement/layout.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { dial, serverStream, unary } from "../../../src/rpc/client.ts";
import { fromServiceError } from "../../../src/rpc/errors.ts";
import { serveGrpc } from "../../../src/rpc/server.ts";
import { TrackerClient } from "../../../src/rpc/tracker-client.ts";
import { TrackerPeers } from "../../../src/rpc/tracker-peers.ts";
import type { WatchEvent } from "../../../src/rpc/tracker-queries.ts";
import { trackerService } from "../../../src/rpc/tracker-server.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FlowStore } from "../../../src/tracker/level.ts";
import { Tracker } from "../../../src/tracker/tracker.ts";
import { flowOf, keyOf, publicAddress } from "../../support/flows.ts";
import { memoryBus, quietLog, temporaryDirectory } from "../../support/tracker.ts";

const shards = 8;
const deadlineMs = 10_000;
const moving: Layout = { buckets: 4, generation: 1, before: 1 };
const settled: Layout = { buckets: 4, generation: 1 };
const ports = Array.from({ length: 200 }, (_, index) => index + 1);
const isMoving = (port: number): boolean => shardsToAsk(keyOf(port), moving, shards).length === 2;
/** Of no flow that is ever told of. */
const [staying = 0, going = 0] = [10_000, 10_001, 10_002, 10_003, 10_004, 10_005, 10_006, 10_007].reduce<number[]>(
  ([stays = 0, goes = 0], port) => (isMoving(port) ? [stays, port] : [port, goes]),
  [],
);

class Instance {
  readonly layouts = new Layouts(shards);
  readonly publisher: FlowPublisher;
  readonly flows;

  constructor(bus: MemoryBus, instance: string, of: readonly number[]) {
    this.flows = of.map((port) => flowOf(port, instance));
    this.publisher = new FlowPublisher({
      bus,
      instance,
      shards,
      layouts: this.layouts,
      boot: randomBytes(16),
      flush: { ...defaultFlushLimits, windowMinMs: 1 },
      onSnapshotNeeded: () => undefined,
      onError: () => undefined,
    });
  }

  async begin(): Promise<readonly ShardPosition[]> {
    for (const flow of this.flows) this.publisher.change(flow);
    return await this.publisher.barrier("begun", publicAddress);
  }
}

describe("an address with buckets", () => {
  const signal = AbortSignal.timeout(60_000);
  let resources: AsyncDisposableStack;
  let tracker: Tracker;
  let endpoint: string;
  let client: TrackerClient;
  let assignment: Assignment;
  let [a, b]: Instance[] = [];
  let bugs: unknown[];

  const lay = (layout: Layout): void => {
    assignment = { ...assignment, epoch: assignment.epoch + 1n, layouts: new Map([[publicAddress, layout]]) };
    tracker.adopt(assignment);
  };
  const reached = async (positions: readonly ShardPosition[]) =>
    expect(await client.barrier(positions)).toEqual({ reached: true });
  const kindsOf = async (...of: readonly number[]): Promise<string[]> =>
    (await client.lookup(of.map((port) => keyOf(port)))).map(({ kind }) => kind);
  const listed = async (): Promise<string[]> => {
    const found: string[] = [];
    for await (const page of client.list({ address: publicAddress }))
      found.push(...page.map(({ key }) => flowKeyText(key)));
    return found.toSorted();
  };
  const all = (): string[] => ports.map((port) => flowKeyText(keyOf(port))).toSorted();
  const counted = async (query: { readonly address?: typeof publicAddress } = { address: publicAddress }) => {
    const { counts, complete } = await client.count(query);
    const flows = new Map<string, number>();
    for (const count of counts) flows.set(count.owner, (flows.get(count.owner) ?? 0) + count.flows);
    return { flows: Object.fromEntries(flows), complete };
  };

  beforeEach(async () => {
    resources = new AsyncDisposableStack();
    bugs = [];
    const directory = resources.use(await temporaryDirectory());
    const bus = resources.use(await memoryBus(signal));
    const peers = resources.use(new TrackerPeers());
    const store = resources.use(await FlowStore.open(join(directory.path, "flows")));
    endpoint = `unix:${join(directory.path, "t1")}`;
    const parts = { bus, store, peers, clock: systemClock, log: quietLog, rebuildSettleMs: 0, onBatch: () => {} };
    tracker = new Tracker({ name: "t1", endpoint, shards, ...parts });
    assignment = assignShards(1n, shards, [{ name: "t1", endpoint }]);
    tracker.adopt(assignment);
    await tracker.load();
    const stop = new AbortController();
    const running = tracker.run(stop.signal);
    resources.defer(async () => {
      stop.abort();
      await running;
    });
    const service = trackerService({ tracker, store, onBug: (error) => bugs.push(error), onLookup: () => {} });
    resources.use(await serveGrpc({ endpoints: [endpoint], services: [service], signal }));
    client = resources.use(new TrackerClient([endpoint]));
    a = new Instance(bus, "vm-a", ports.slice(0, 120));
    b = new Instance(bus, "vm-b", ports.slice(120));
    for (const { publisher } of [a, b]) resources.use(publisher);
    await reached([...(await a.begin()), ...(await b.begin())]);
    expect(await counted()).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: true });
  });
  afterEach(async () => {
    await resources[Symbol.asyncDispose]();
    expect(bugs).toEqual([]);
  });

  /** One owner has told the new shards, and the old one has not let go. */
  async function halfWay(): Promise<void> {
    lay(moving);
    await a?.publisher.adopt(publicAddress, moving);
    const told = newShardsOf(publicAddress, moving, shards).map((shard) => a?.publisher.snapshotShard(shard, a.flows));
    await reached((await Promise.all(told)).flatMap((positions) => positions ?? []));
  }

  test("has every flow once while some are in both places, some in one and some in the other (K2, K8)", async () => {
    await halfWay();
    expect(new Set(await kindsOf(...ports))).toEqual(new Set(["owned"]));
    expect(await listed()).toEqual(all());
    expect(await counted()).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: false });
    expect(await counted({})).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: false });
    await reached((await a?.publisher.snapshot(publicAddress, a.flows)) ?? []);
    expect(await listed()).toEqual(all());
    expect(await counted()).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: false });
  });

  test("has no flow that is absent while it may be on its way, and has when nothing moves (K2, K6)", async () => {
    expect(await kindsOf(staying, going)).toEqual(["absent", "absent"]);
    await halfWay();
    expect(await kindsOf(staying, going)).toEqual(["absent", "unknown"]);
    await b?.publisher.adopt(publicAddress, moving);
    for (const of of [a, b]) await reached((await of?.publisher.snapshot(publicAddress, of.flows)) ?? []);
    expect(await kindsOf(staying, going)).toEqual(["absent", "unknown"]);
    lay(settled);
    await waitFor(async () => (await kindsOf(going))[0] === "absent", { signal, timeoutMs: 10_000, what: "the news" });
    expect(new Set(await kindsOf(...ports))).toEqual(new Set(["owned"]));
    expect(await listed()).toEqual(all());
    expect(await counted()).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: true });
  });

  test("is found by a client that has not heard of the change, which is refused and learns of it (K7)", async () => {
    lay(moving);
    for (const of of [a, b]) {
      await of?.publisher.adopt(publicAddress, moving);
      await reached((await of?.publisher.snapshot(publicAddress, of.flows)) ?? []);
    }
    lay(settled);
    expect(new Set(await kindsOf(...ports))).toEqual(new Set(["owned"]));
  });

  test.each([
    [
      "a look-up",
      (raw: TrackerServiceClient) => {
        const request = { keys: [{ ...keyOf(1), protocol: 6 as const }], atLeast: [], layouts: [], columns: undefined };
        return unary(raw, "lookupFlows", request, { signal, deadlineMs });
      },
    ],
    [
      "a list",
      (raw: TrackerServiceClient) => {
        const request = { address: publicAddress, owner: "", peer: "", limit: 0, atLeast: [], of: undefined };
        return serverStream(raw, "listFlows", request, { signal }).next();
      },
    ],
    [
      "a watch",
      (raw: TrackerServiceClient) => {
        const request = { address: publicAddress, owner: "", after: [], atLeast: [], of: undefined };
        return serverStream(raw, "watchFlows", request, { signal }).next();
      },
    ],
    [
      "a count",
      (raw: TrackerServiceClient) => {
        const request = { address: publicAddress, atLeast: [], shards: [], of: undefined, buckets: 0 };
        return unary(raw, "countFlows", request, { signal, deadlineMs });
      },
    ],
  ] as const)("refuses %s of who goes by an older layout, and names the epoch (K7)", async (what, ask) => {
    if (what !== "a look-up") {
      // As where the instance has heard of the change, and the tracker has not.
      await a?.publisher.adopt(publicAddress, moving);
      await reached((await a?.publisher.snapshot(publicAddress, a.flows)) ?? []);
      const unheard = dial(TrackerServiceClient, endpoint);
      const refused = await ask(unheard).catch((refusal: unknown) => fromServiceError(refusal));
      unheard.close();
      expect(refused).toMatchObject({ code: "LAYOUT_CHANGED", stated: true, details: { epoch: "2" } });
    }
    lay(moving);
    const raw = dial(TrackerServiceClient, endpoint);
    const error = await ask(raw).then(
      () => undefined,
      (refusal: unknown) => fromServiceError(refusal),
    );
    raw.close();
    expect(error).toMatchObject({ code: "LAYOUT_CHANGED", stated: true, details: { epoch: "2" } });
  });

  test("is counted among all others by a client that has not heard of the change, and never said to be complete (K8)", async () => {
    expect(await counted({})).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: true });
    await halfWay();
    expect(await counted({})).toEqual({ flows: { "vm-a": 120, "vm-b": 80 }, complete: false });
    const raw = dial(TrackerServiceClient, endpoint);
    const request = { address: "", atLeast: [], shards: [], of: undefined, buckets: 0 };
    const response = await unary(raw, "countFlows", request, { signal, deadlineMs });
    raw.close();
    expect(response.complete).toBe(false);
  });

  test("refuses a question for a shard that has none of its buckets", async () => {
    lay(moving);
    const raw = dial(TrackerServiceClient, endpoint);
    const shard = (newShardsOf(publicAddress, moving, shards)[0] ?? 0) + 3;
    const of = { shard: shard % shards, layout: { ...moving, before: 1 } };
    const request = { address: publicAddress, atLeast: [], shards: [], of, buckets: 0 };
    const error = await unary(raw, "countFlows", request, { signal, deadlineMs }).catch((refusal: unknown) =>
      fromServiceError(refusal),
    );
    raw.close();
    expect(error).toMatchObject({ code: "INVALID_ARGUMENT", message: expect.stringContaining("of.shard") });
  });

  test("has its watches begin anew at the change and at its end, and tells none that a flow ended which has moved (K4, K7)", async () => {
    const events: WatchEvent[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      for await (const event of client.watch({ address: publicAddress, owner: "vm-a" }, { signal: stop.signal }))
        events.push(event);
    })().catch(() => undefined);
    const completed = () => events.filter((event) => event.kind === "snapshot" && event.complete).length;
    const until = (condition: () => boolean, what: string) =>
      waitFor(condition, { signal, timeoutMs: 10_000, what, intervalMs: 5 });
    await until(() => completed() === 1, "the first snapshot");
    lay(moving);
    await until(() => completed() === 2, "the snapshot of both places");
    for (const of of [a, b]) {
      await of?.publisher.adopt(publicAddress, moving);
      await reached((await of?.publisher.snapshot(publicAddress, of.flows)) ?? []);
    }
    lay(settled);
    await until(() => completed() === 3, "the snapshot of the new place");
    const [last] = a?.flows ?? [];
    if (last === undefined) throw new Error("there are no flows");
    a?.publisher.change({ ...last, state: "closed" });
    const isClosed = (event: WatchEvent) => event.flows.some(({ state }) => state === "closed");
    await until(() => events.some(isClosed), "the end of a flow");
    stop.abort();
    await watching;
    const begins = events.findLastIndex((event) => event.kind === "snapshot" && event.first);
    const snapshot = events.slice(begins).flatMap((event) => (event.kind === "snapshot" ? event.flows : []));
    expect(new Set(snapshot.map(({ key }) => key.peerPort)).size).toBe(120);
    const ended = events.flatMap(({ flows }) => flows.filter(({ state }) => state === "closed"));
    expect(ended.map(({ key }) => key.peerPort)).toEqual([last.key.peerPort]);
  });
});
