/** Two trackers in this process, asked through their client as an agent or coordinator asks them. */
import { rm } from "node:fs/promises";
import { createServer, connect as openSocket, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MemoryBus } from "../../../src/bus/memory.ts";
import type { FlowAnswer } from "../../../src/flow/answer.ts";
import type { FlowEvent } from "../../../src/flow/events.ts";
import type { FlowState } from "../../../src/flow/flow.ts";
import { TrackerServiceClient, type WatchFlowsRequest } from "../../../src/gen/baton/v1/tracker.ts";
import { type Assignment, assignShards, type Tracker as TrackerName } from "../../../src/placement/assignment.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { dial, serverStream, unary } from "../../../src/rpc/client.ts";
import { fromServiceError } from "../../../src/rpc/errors.ts";
import { type GrpcServer, serveGrpc } from "../../../src/rpc/server.ts";
import { TrackerClient } from "../../../src/rpc/tracker-client.ts";
import { flowsPerPage } from "../../../src/rpc/tracker-limits.ts";
import { TrackerPeers } from "../../../src/rpc/tracker-peers.ts";
import type { WatchEvent } from "../../../src/rpc/tracker-queries.ts";
import { trackerService } from "../../../src/rpc/tracker-server.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { loggedChangesMax } from "../../../src/tracker/change-log.ts";
import { FlowStore } from "../../../src/tracker/level.ts";
import { Tracker } from "../../../src/tracker/tracker.ts";
import { flowOf, ip, keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import { memoryBus, quietLog, Speaker, type TestDirectory, temporaryDirectory } from "../../support/tracker.ts";

const shards = 4;
const shard = shardOf(publicAddress, shards);
const names = ["tracker1", "tracker2"] as const;
const deadlineMaxMs = 10_000;
const changes = (...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({ kind: "changes", rows, coalesced: [] });

class RunningTracker implements AsyncDisposable {
  readonly endpoint: string;
  readonly #stop = new AbortController();
  readonly #peers = new TrackerPeers();
  #tracker: Tracker | undefined;
  #store: FlowStore | undefined;
  #server: GrpcServer | undefined;
  #running = Promise.resolve();

  constructor(endpoint: string) {
    this.endpoint = endpoint;
  }

  async start(name: string, assignment: Assignment, bus: MemoryBus, directory: string): Promise<void> {
    const store = await FlowStore.open(directory);
    const parts = { bus, store, clock: systemClock, log: quietLog, rebuildSettleMs: 0, onBatch: () => {} };
    const tracker = new Tracker({ name, endpoint: this.endpoint, shards, peers: this.#peers, ...parts });
    tracker.adopt(assignment);
    this.#tracker = tracker;
    const service = trackerService({ tracker, store, onBug: (error) => bugs.push(error), onLookup: () => {} });
    this.#store = store;
    this.#server = await serveGrpc({ endpoints: [this.endpoint], services: [service], signal: this.#stop.signal });
    await tracker.load();
    this.#running = tracker.run(this.#stop.signal);
  }

  /** Until then it refers for its shards to another tracker that has them. */
  isServing(): boolean {
    return this.#tracker?.status().every(({ phase }) => phase === "serving") ?? false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#server?.[Symbol.asyncDispose]();
    await this.#store?.[Symbol.asyncDispose]();
    this.#peers[Symbol.dispose]();
  }
}

/** A tracker's endpoint as its clients know it, where connections can be broken without the tracker ending. */
class Wire implements Disposable {
  readonly #server;
  readonly #ends = new Set<Socket>();

  constructor(path: string, to: string) {
    this.#server = createServer((from) => {
      const on = openSocket(to);
      for (const end of [from, on]) {
        this.#ends.add(end);
        end.on("error", () => this.drop());
      }
      from.pipe(on).pipe(from);
    }).listen(path);
  }

  drop(): void {
    for (const end of this.#ends) end.destroy();
    this.#ends.clear();
  }

  [Symbol.dispose](): void {
    this.#server.close();
    this.drop();
  }
}

let bugs: unknown[] = [];

describe("trackers asked through their client", () => {
  const signal = AbortSignal.timeout(60_000);
  let bus: MemoryBus;
  let directory: TestDirectory;
  let running: Map<string, RunningTracker>;
  let assignment: Assignment;
  let client: TrackerClient;
  let speaker: Speaker;

  const startTracker = async (name: string): Promise<void> => {
    const it = new RunningTracker(`unix:${join(directory.path, name)}`);
    await it.start(name, assignment, bus, join(directory.path, `${name}.db`));
    running.set(name, it);
  };
  const stopTracker = async (name: string): Promise<void> => {
    await running.get(name)?.[Symbol.asyncDispose]();
    running.delete(name);
  };
  const untilServing = (): Promise<boolean> =>
    waitFor(() => running.values().every((tracker) => tracker.isServing()), {
      signal,
      timeoutMs: 20_000,
      what: "all copies to serve",
    });
  const primary = (): string => assignment.holders[shard]?.primary.name ?? "";

  const assignmentEndpoints = () =>
    names.map((name) => ({ name, endpoint: `unix:${join(directory.path, name)}` })) as [TrackerName, TrackerName];
  const holdersFor = (primary: TrackerName) => Array.from({ length: shards }, () => ({ primary }));
  /** All trackers, with another assignment. */
  const startAgain = async (next: Assignment): Promise<void> => {
    for (const name of names) await stopTracker(name);
    assignment = next;
    for (const name of names) await startTracker(name);
  };
  /** More changes of another instance's flows than this many. */
  const speakForOthers = async (count: number): Promise<bigint> => {
    const other = new Speaker(bus, signal, { shard, instance: "vm-b" });
    const page = (state: FlowState) => changes(...Array.from({ length: 1_000 }, (_, port) => rowOf(port, state)));
    let last = 0n;
    for (let told = 0; told <= count; told += 2_000) {
      await other.say(page("open"));
      last = await other.say(page("closed"));
    }
    return last;
  };

  beforeEach(async () => {
    bugs = [];
    bus = await memoryBus(signal);
    directory = await temporaryDirectory();
    running = new Map();
    const trackers = assignmentEndpoints();
    assignment = assignShards(1n, shards, trackers);
    for (const name of names) await startTracker(name);
    await untilServing();
    client = new TrackerClient(trackers.map(({ endpoint }) => endpoint));
    speaker = new Speaker(bus, signal, { shard });
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    for (const name of [...running.keys()]) await stopTracker(name);
    await directory[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    expect(bugs).toEqual([]);
  });

  test("answer whose a flow is, that it has ended, and that there is none", async () => {
    const sequence = await speaker.say(changes(rowOf(1), rowOf(2, "closed")));
    const answers = await client.lookup([keyOf(1), keyOf(2), keyOf(3)], [{ shard, sequence }]);
    expect(answers).toEqual([
      { kind: "owned", flow: flowOf(1, "vm-a") },
      { kind: "closed", owner: "vm-a", appliedSequence: sequence },
      { kind: "absent", appliedSequence: sequence },
    ]);
  });

  test("answer for addresses of all shards at once, in the order asked", async () => {
    const addresses = Array.from({ length: 20 }, (_, n) => ip(`203.0.113.${n}`));
    const positions = await Promise.all(
      addresses.map(async (address, n) => {
        const of = shardOf(address, shards);
        const one = new Speaker(bus, signal, { shard: of, instance: `vm-${n}` });
        return { shard: of, sequence: await one.say(changes(rowOf(n, "open", { key: keyOf(n, address) }))) };
      }),
    );
    const answers = await client.lookup(
      addresses.map((address, n) => keyOf(n, address)),
      positions,
    );
    expect(answers.map((answer) => answer.kind === "owned" && answer.flow.owner)).toEqual(
      addresses.map((_, n) => `vm-${n}`),
    );
  });

  test("don't know before they have come to the position asked for, and wait for it", async () => {
    await speaker.say(changes(rowOf(1)));
    // A busy machine may take longer for the answer's way back than the tracker has left for it.
    const inTime = async (deadlineMs: number): Promise<FlowAnswer[]> => {
      const answers = await client.lookup([keyOf(1)], [{ shard, sequence: 2n }], { deadlineMs });
      const isLate = answers.every((it) => it.kind === "unknown" && it.reason.startsWith("no tracker answered"));
      return isLate && deadlineMs < deadlineMaxMs ? await inTime(2 * deadlineMs) : answers;
    };
    expect(await inTime(300)).toEqual([{ kind: "unknown", reason: expect.stringContaining("not reached") }]);
    const answer = client.lookup([keyOf(1)], [{ shard, sequence: 2n }]);
    await speaker.say(changes(rowOf(1, "closed")));
    expect((await answer)[0]?.kind).toBe("closed");
  });

  test("don't call a flow absent while messages are missing (L5)", async () => {
    speaker.lose();
    const sequence = await speaker.say(changes(rowOf(1)));
    const answers = await client.lookup([keyOf(1), keyOf(2)], [{ shard, sequence }]);
    expect(answers.map(({ kind }) => kind)).toEqual(["owned", "unknown"]);
  });

  test("are answered for by the standby while the primary is dead", async () => {
    await stopTracker(primary());
    const sequence = await speaker.say(changes(rowOf(1)));
    const answers = await client.lookup([keyOf(1)], [{ shard, sequence }]);
    expect(answers[0]?.kind).toBe("owned");
    expect(await client.count({ address: publicAddress, atLeast: [{ shard, sequence }] })).toMatchObject({
      complete: true,
    });
    expect(await client.barrier([{ shard, sequence }], { deadlineMs: 2_000 })).toEqual({ reached: true });
  });

  test("make keys unknown when none of them answers, with the reason", async () => {
    for (const name of names) await stopTracker(name);
    expect(await client.lookup([keyOf(1)], [], { deadlineMs: 300 })).toEqual([
      { kind: "unknown", reason: expect.stringContaining("no tracker answered") },
    ]);
  });

  test("list all flows in pages, or those of an owner, of a peer, up to a limit", async () => {
    const rows = Array.from({ length: 10 * flowsPerPage }, (_, port) => rowOf(port));
    const sequence = await speaker.say(changes(...rows));
    const atLeast = [{ shard, sequence }];
    const list = async (query: object): Promise<number[]> => {
      const sizes: number[] = [];
      for await (const page of client.list({ address: publicAddress, atLeast, ...query })) sizes.push(page.length);
      return sizes;
    };
    expect(await list({})).toEqual(Array(10).fill(flowsPerPage));
    expect(await list({ owner: "vm-a", limit: flowsPerPage + 200 })).toEqual([flowsPerPage, 200]);
    expect(await list({ owner: "vm-b" })).toEqual([]);
    expect(await list({ peer: ip("192.0.2.1") })).toEqual([]);
  });

  test("count flows by address and owner, once for each however many copies there are", async () => {
    const other = ip("203.0.113.99");
    const of = shardOf(other, shards);
    const atLeast = [
      { shard, sequence: await speaker.say(changes(rowOf(1, "half-open"), rowOf(2))) },
      {
        shard: of,
        sequence: await new Speaker(bus, signal, { shard: of, instance: "vm-b" }).say(
          changes(rowOf(3, "open", { key: keyOf(3, other) })),
        ),
      },
    ];
    const mine = { address: publicAddress, owner: "vm-a", flows: 2, halfOpen: 1 };
    expect((await client.count({ address: publicAddress, atLeast })).counts).toEqual([mine]);
    const all = await client.count({ atLeast });
    expect(all.counts.toSorted((a, b) => a.owner.localeCompare(b.owner))).toEqual([
      mine,
      { address: other, owner: "vm-b", flows: 1, halfOpen: 0 },
    ]);
    expect(all.complete).toBe(true);
    expect(all.positions.map((position) => position.shard).toSorted()).toEqual([0, 1, 2, 3]);
  });

  test("reach a barrier when its positions are applied, and else name the shards that are behind", async () => {
    const sequence = await speaker.say({ kind: "barrier", id: "mark" });
    expect(await client.barrier([{ shard, sequence }])).toEqual({ reached: true });
    const startMs = performance.now();
    const outcome = await client.barrier([{ shard, sequence: sequence + 1n }], { deadlineMs: 400 });
    expect(outcome).toEqual({ reached: false, behind: [shard] });
    expect(performance.now() - startMs).toBeLessThan(4_000);
    const later = client.barrier([{ shard, sequence: sequence + 1n }], { deadlineMs: 5_000 });
    await speaker.say({ kind: "tick" });
    expect(await later).toEqual({ reached: true });
  });

  const watching = (query: object = {}) => {
    const stop = new AbortController();
    const events: WatchEvent[] = [];
    const done = (async () => {
      for await (const event of client.watch({ address: publicAddress, ...query }, { signal: stop.signal }))
        events.push(event);
    })().catch(() => undefined);
    const until = (condition: () => boolean, what: string) => waitFor(condition, { signal, timeoutMs: 10_000, what });
    const end = (): Promise<void> => {
      stop.abort();
      return done;
    };
    return { events, until, [Symbol.asyncDispose]: end };
  };

  test("let watch: a snapshot, then every change, of the owner asked for", async () => {
    await speaker.say(changes(rowOf(1)));
    await new Speaker(bus, signal, { shard, instance: "vm-b" }).say(changes(rowOf(9)));
    await using watch = watching({ owner: "vm-a", atLeast: [{ shard, sequence: 2n }] });
    await watch.until(() => watch.events.length >= 1, "the snapshot");
    await speaker.say(changes(rowOf(2)));
    await speaker.say(changes(rowOf(1, "closed")));
    await watch.until(() => watch.events.flatMap(({ flows }) => flows).length >= 3, "the changes");
    expect(watch.events[0]).toMatchObject({
      kind: "snapshot",
      flows: [flowOf(1, "vm-a")],
      first: true,
      complete: true,
    });
    expect(watch.events.slice(1).flatMap(({ flows }) => flows)).toEqual([
      flowOf(2, "vm-a"),
      { ...flowOf(1, "vm-a"), state: "closed" },
    ]);
  });

  test("give a large snapshot in parts, of which the first and last are marked", async () => {
    const rows = Array.from({ length: 2 * flowsPerPage + 100 }, (_, port) => rowOf(port));
    const sequence = await speaker.say(changes(...rows));
    await using watch = watching({ atLeast: [{ shard, sequence }] });
    await watch.until(() => watch.events.length >= 3, "the snapshot");
    const parts = watch.events.map((it) => it.kind === "snapshot" && [it.flows.length, it.first, it.complete]);
    expect(parts).toEqual([
      [flowsPerPage, true, false],
      [flowsPerPage, false, false],
      [100, false, true],
    ]);
  });

  test("let a watch go on at the standby when the primary dies, with a new snapshot", async () => {
    await speaker.say(changes(rowOf(1)));
    await using watch = watching({ atLeast: [{ shard, sequence: 1n }] });
    await watch.until(() => watch.events.length >= 1, "the snapshot");
    await stopTracker(primary());
    await speaker.say(changes(rowOf(1, "closed")));
    await speaker.say(changes(rowOf(2)));
    const snapshots = () => watch.events.filter((event) => event.kind === "snapshot" && event.first);
    await watch.until(() => snapshots().length >= 2, "the second snapshot");
    await watch.until(() => watch.events.at(-1)?.flows.at(-1)?.key.peerPort === 2, "the new flow");
  });

  test("let a watch go on after its tracker has been away and all copies with it", async () => {
    await speaker.say(changes(rowOf(1)));
    await using watch = watching({ atLeast: [{ shard, sequence: 1n }] });
    await watch.until(() => watch.events.length >= 1, "the snapshot");
    for (const name of names) await stopTracker(name);
    for (const name of names) await startTracker(name);
    await watch.until(() => watch.events.length >= 2, "the second snapshot");
    expect(watch.events[1]).toMatchObject({
      kind: "snapshot",
      flows: [flowOf(1, "vm-a")],
      first: true,
      complete: true,
    });
  });

  const closing = (n: number) => ({ ...flowOf(n, "vm-a"), state: "closed" });
  /** What a watcher hears who asks for what came after these positions. */
  const rewatch = async (after: WatchFlowsRequest["after"]) => {
    const raw = dial(TrackerServiceClient, `unix:${join(directory.path, primary())}`);
    const stop = new AbortController();
    const request = { address: publicAddress, owner: "", after, atLeast: [], of: undefined };
    const pages = serverStream(raw, "watchFlows", request, { signal: stop.signal });
    const first = await pages.next();
    stop.abort();
    await pages.return().catch(() => undefined);
    raw.close();
    const content = first.done ? undefined : first.value.content;
    return {
      kind: content?.$case,
      ports: content?.value.flows.map(({ key }) => key?.peerPort),
      positions: content?.value.positions ?? [],
    };
  };

  test("tell a watcher who was away what has changed since its positions, and no more (L1)", async () => {
    await speaker.say(changes(rowOf(1), rowOf(2)));
    const before = await rewatch([{ shard, sequence: 1n }]);
    expect(before).toMatchObject({ kind: "snapshot", ports: [1, 2] });
    await speaker.say(changes(rowOf(1, "closed")));
    await speaker.say(changes(rowOf(3)));
    const atLeast = { shard, sequence: 3n };
    expect(await client.barrier([atLeast])).toEqual({ reached: true });
    const resumed = await rewatch(before.positions);
    expect(resumed).toMatchObject({ kind: "changes", ports: [1, 3], positions: [{ shard, sequence: 3n }] });
    expect(await rewatch(resumed.positions)).toMatchObject({ kind: "changes", ports: [] });
  });

  test("give a fresh snapshot for positions that are too old, of another history, or of none", async () => {
    await speaker.say(changes(rowOf(1)));
    const { positions } = await rewatch([{ shard, sequence: 1n }]);
    const [position] = positions;
    await speakForOthers(loggedChangesMax);
    const last = { shard, sequence: await speaker.say(changes(rowOf(7))) };
    expect(await client.barrier([last])).toEqual({ reached: true });
    expect((await rewatch(positions)).kind).toBe("snapshot");
    expect((await rewatch([last])).kind).toBe("snapshot");
    expect((await rewatch([{ ...last, history: (position?.history ?? 0n) + 2n }])).kind).toBe("snapshot");
    expect((await rewatch([{ ...last, history: position?.history }])).kind).toBe("changes");
  });

  test("keep a quiet watcher's position within the log while others' flows change, for it to go on from (L1)", async () => {
    const wired = join(directory.path, "wired");
    using wire = new Wire(wired, join(directory.path, "tracker1"));
    await startAgain({ epoch: 2n, holders: holdersFor({ name: "tracker1", endpoint: `unix:${wired}` }) });
    await speaker.say(changes(rowOf(1)));
    await using watch = watching({ owner: "vm-a", atLeast: [{ shard, sequence: 1n }] });
    await watch.until(() => watch.events.length === 1, "the snapshot");
    const others = { shard, sequence: await speakForOthers(loggedChangesMax) };
    expect(await client.barrier([others])).toEqual({ reached: true });
    wire.drop();
    await speaker.say(changes(rowOf(1, "closed")));
    await watch.until(() => watch.events.length >= 2, "what changed meanwhile");
    expect(watch.events[1]).toMatchObject({ kind: "changes", flows: [closing(1)] });
  });

  test.each<[string, (raw: TrackerServiceClient) => Promise<unknown>]>([
    [
      "look-up",
      (raw) =>
        unary(
          raw,
          "lookupFlows",
          { keys: [{ ...keyOf(1), protocol: 6 }], atLeast: [], layouts: [], columns: undefined },
          bounds,
        ),
    ],
    [
      "count",
      (raw) =>
        unary(
          raw,
          "countFlows",
          { address: publicAddress, atLeast: [], shards: [], of: undefined, buckets: 0 },
          bounds,
        ),
    ],
    ["barrier", (raw) => unary(raw, "barrier", { positions: [{ shard, sequence: 1n }] }, bounds)],
    [
      "list",
      (raw) =>
        serverStream(
          raw,
          "listFlows",
          { address: publicAddress, owner: "", peer: "", limit: 0, atLeast: [], of: undefined },
          bounds,
        ).next(),
    ],
    [
      "watch",
      (raw) =>
        serverStream(
          raw,
          "watchFlows",
          { address: publicAddress, owner: "", after: [], atLeast: [], of: undefined },
          bounds,
        ).next(),
    ],
  ])("refuse a %s in a shard that another tracker holds, with the epoch that says so (L3)", async (_, ask) => {
    await stopTracker("tracker1");
    await rm(join(directory.path, "tracker1.db"), { recursive: true });
    await startAgain({ epoch: 7n, holders: holdersFor({ name: "tracker2", endpoint: "10.77.0.32:7400" }) });
    const raw = dial(TrackerServiceClient, `unix:${join(directory.path, "tracker1")}`);
    const error = await ask(raw).then(
      () => undefined,
      (refusal: unknown) => fromServiceError(refusal),
    );
    raw.close();
    expect(error).toMatchObject({
      code: "SHARD_MOVED",
      stated: true,
      details: { epoch: "7", leader: "10.77.0.32:7400" },
    });
  });

  test("send a client that knows an older epoch to the shard's new holder", async () => {
    const [first, second] = assignmentEndpoints();
    await startAgain({ epoch: 2n, holders: holdersFor(first) });
    const sequence = await speaker.say(changes(rowOf(1)));
    const atLeast = [{ shard, sequence }];
    expect((await client.lookup([keyOf(1)], atLeast))[0]?.kind).toBe("owned");
    await startAgain({ epoch: 3n, holders: holdersFor(second) });
    expect((await client.lookup([keyOf(1)], atLeast))[0]?.kind).toBe("owned");
    expect(await client.barrier(atLeast)).toEqual({ reached: true });
    expect((await client.count({ address: publicAddress, atLeast })).counts).toHaveLength(1);
  });

  test("answer all keys of a client that does not know yet that some of their shards have moved on (L4)", async () => {
    const [first, second] = assignmentEndpoints();
    const addresses = Array.from({ length: 20 }, (_, n) => ip(`203.0.113.${n}`));
    const keys = addresses.map((address, n) => keyOf(n, address));
    await startAgain({ epoch: 2n, holders: holdersFor(first) });
    const atLeast = await Promise.all(
      addresses.map(async (address, n) => {
        const of = shardOf(address, shards);
        const one = new Speaker(bus, signal, { shard: of, instance: `vm-${n}` });
        return { shard: of, sequence: await one.say(changes(rowOf(n, "open", { key: keyOf(n, address) }))) };
      }),
    );
    const owners = async () => (await client.lookup(keys, atLeast)).map((it) => it.kind === "owned" && it.flow.owner);
    const expected = addresses.map((_, n) => `vm-${n}`);
    expect(await owners()).toEqual(expected);
    for (const moved of [...Array(shards).keys()]) {
      const holders = holdersFor(first).map((of, shard) => (shard <= moved ? { primary: second } : of));
      await startAgain({ epoch: BigInt(3 + moved), holders });
      expect(await owners()).toEqual(expected);
    }
  });

  test.each<[string, (raw: TrackerServiceClient) => Promise<unknown>, string]>([
    [
      "an address that is none",
      (raw) => unary(raw, "countFlows", { address: "x", atLeast: [], shards: [], of: undefined, buckets: 0 }, bounds),
      "INVALID_ARGUMENT",
    ],
    [
      "a key without a protocol",
      (raw) =>
        unary(
          raw,
          "lookupFlows",
          { keys: [{ ...keyOf(1), protocol: 0 }], atLeast: [], layouts: [], columns: undefined },
          bounds,
        ),
      "INVALID_ARGUMENT",
    ],
    [
      "a barrier in a shard that there is not",
      (raw) => unary(raw, "barrier", { positions: [{ shard: 99, sequence: 1n }] }, bounds),
      "INVALID_ARGUMENT",
    ],
    [
      "too many keys",
      (raw) =>
        unary(
          raw,
          "lookupFlows",
          { keys: Array(10_001).fill({ ...keyOf(1), protocol: 6 }), atLeast: [], layouts: [], columns: undefined },
          bounds,
        ),
      "INVALID_ARGUMENT",
    ],
  ])("refuse %s", async (_, ask, code) => {
    const raw = dial(TrackerServiceClient, `unix:${join(directory.path, "tracker1")}`);
    const error = await ask(raw).then(
      () => undefined,
      (refusal: unknown) => fromServiceError(refusal),
    );
    raw.close();
    expect(error).toMatchObject({ code, stated: true });
  });
});

const bounds = { signal: AbortSignal.timeout(60_000), deadlineMs: 2_000 };
