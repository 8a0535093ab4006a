/** Trackers of one process on a bus in memory and databases of their own: how shards come and go (SPEC H1 to H6). */
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MemoryBus } from "../../../src/bus/memory.ts";
import { decodeResyncRequest } from "../../../src/bus/resync-request.ts";
import { type FlowEvent, resyncAllSubject } from "../../../src/flow/events.ts";
import type { Tracker as TrackerName } from "../../../src/placement/assignment.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FlowStore } from "../../../src/tracker/level.ts";
import type { PeerReport, Peers, ShardRow } from "../../../src/tracker/peers.ts";
import { handoffsMax, Tracker } from "../../../src/tracker/tracker.ts";
import { keyOf, rowOf } from "../../support/flows.ts";
import {
  flowStream,
  memoryBus,
  quietLog,
  Speaker,
  type TestDirectory,
  temporaryDirectory,
} from "../../support/tracker.ts";

const shards = 4;
const changes = (...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({ kind: "changes", rows, coalesced: [] });
const partBytes = 64;

/** One tracker with its database; the others ask it without a network. */
class Node implements AsyncDisposable {
  readonly name: string;
  readonly tracker: Tracker;
  readonly store: FlowStore;
  #stop = new AbortController();
  #running = Promise.resolve();

  constructor(name: string, tracker: Tracker, store: FlowStore) {
    this.name = name;
    this.tracker = tracker;
    this.store = store;
  }

  async start(): Promise<this> {
    await this.store.reopen();
    await this.tracker.load();
    this.#stop = new AbortController();
    this.#running = this.tracker.run(this.#stop.signal);
    return this;
  }

  phase(shard: number): string | undefined {
    return this.tracker.status().find((status) => status.shard === shard)?.phase;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.store[Symbol.asyncDispose]();
  }
}

class DirectPeers implements Peers {
  readonly nodes = new Map<string, Node>();
  copies = 0;
  copiesAtOnce = 0;
  #underWay = 0;
  /** Called before each part of a copy. */
  onPart: () => Promise<void> = async () => {};

  async report(endpoint: string): Promise<PeerReport | undefined> {
    const node = this.nodes.get(endpoint);
    if (node === undefined) return undefined;
    const { tracker } = node;
    const replicas = new Map(
      tracker.status().map(({ shard, committed, ...of }) => [shard, { ...of, applied: committed }]),
    );
    return { name: node.name, endpoint, epoch: tracker.assignment?.epoch ?? 0n, replicas };
  }

  async *rows(endpoint: string, shard: number): AsyncGenerator<readonly ShardRow[]> {
    const node = this.nodes.get(endpoint);
    if (node === undefined) throw new Error(`nobody at ${endpoint}`);
    this.copies++;
    this.copiesAtOnce = Math.max(this.copiesAtOnce, ++this.#underWay);
    try {
      for await (const part of node.store.rows(shard, partBytes)) {
        await this.onPart();
        yield part;
      }
    } finally {
      this.#underWay--;
    }
  }
}

describe("a tracker", { timeout: 30_000 }, () => {
  const signal = AbortSignal.timeout(60_000);
  let nowMs = 0;
  let bus: MemoryBus;
  let directory: TestDirectory;
  let peers: DirectPeers;
  let speaker: Speaker;

  beforeEach(async () => {
    nowMs = 0;
    bus = await memoryBus(signal, () => nowMs);
    directory = await temporaryDirectory();
    peers = new DirectPeers();
    speaker = new Speaker(bus, signal);
  });
  afterEach(async () => {
    for (const node of peers.nodes.values()) await node[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const until = (condition: () => boolean, what: string): Promise<true> =>
    waitFor(condition, { signal, timeoutMs: 20_000, what });
  const named = (name: string): TrackerName => ({ name, endpoint: name });
  const epochOf = (epoch: bigint, primary: string, standby?: string) => ({
    epoch,
    holders: Array.from({ length: shards }, () => ({
      primary: named(primary),
      ...(standby !== undefined && { standby: named(standby) }),
    })),
  });
  const node = (name: string): Node => {
    const store = new FlowStore(join(directory.path, name));
    const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
    const parts = { bus, store, peers, clock, log: quietLog, rebuildSettleMs: 0, onBatch: () => {} };
    const tracker = new Tracker({ name, endpoint: name, shards, ...parts });
    return new Node(name, tracker, store);
  };
  const start = async (name: string, ...epochs: ReturnType<typeof epochOf>[]): Promise<Node> => {
    const it = node(name);
    const [first, ...earlier] = epochs;
    if (first !== undefined) it.tracker.adopt(first, earlier);
    peers.nodes.set(name, await it.start());
    return it;
  };
  /** From now on the stream has nothing of what was said before. */
  const forgetStream = async (): Promise<void> => {
    nowMs += flowStream.maxAgeMs;
    await new Speaker(bus, signal, { shard: shards - 1, instance: "vm-z" }).say({ kind: "tick" });
  };
  const kinds = (of: Node, ...ports: number[]) =>
    ports.map((port) => of.tracker.replica(0)?.table.find(keyOf(port)).kind);

  test("begins with what the stream has where there was nobody before, and serves when it has caught up", async () => {
    await speaker.say(changes(rowOf(1)));
    const t1 = await start("t1", epochOf(1n, "t1"));
    await until(() => t1.phase(0) === "serving", "t1 to serve");
    expect(kinds(t1, 1, 2)).toEqual(["owned", "absent"]);
  });

  test("copies a shard of which the stream has lost the past, and refers to its giver until it has caught up (H2, H3)", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await speaker.say(changes(rowOf(1), rowOf(2)));
    await t1.tracker.replica(0)?.reached(await speaker.say(changes(rowOf(2, "closed"))), signal);
    await forgetStream();
    const held = Promise.withResolvers<void>();
    peers.onPart = () => held.promise;
    const second = epochOf(2n, "t2");
    const t2 = await start("t2", second, first);
    t1.tracker.adopt(second, [first]);
    await until(() => peers.copies > 0, "the copy to begin");
    expect(t2.tracker.replica(0)).toBeUndefined();
    expect(t2.tracker.elsewhere(0)).toEqual({ epoch: 2n, tracker: named("t1") });
    expect(kinds(t1, 1)).toEqual(["owned"]);
    held.resolve();
    await until(() => t2.phase(0) === "serving", "t2 to serve");
    expect(kinds(t2, 1, 2, 3)).toEqual(["owned", "closed", "absent"]);
    await until(() => t1.tracker.status().length === 0, "t1 to be rid of all");
    expect(t1.tracker.elsewhere(0)).toEqual({ epoch: 2n, tracker: named("t2") });
    expect(await t1.store.shards()).toEqual([]);
  });

  test("answers for what it gives up until everyone who is named serves (H1)", async () => {
    const first = epochOf(1n, "t1");
    const second = epochOf(2n, "t2", "t3");
    const t1 = await start("t1", first);
    const t2 = await start("t2", second, first);
    t1.tracker.adopt(second, [first]);
    await until(() => t2.phase(0) === "serving", "t2 to serve");
    await speaker.say(changes(rowOf(1)));
    await until(() => kinds(t1, 1)[0] === "owned", "t1 to follow on");
    expect(t1.phase(0)).toBe("leaving");
    await start("t3", second, first);
    await until(() => t1.phase(0) === undefined, "t1 to be relieved");
  });

  test("keeps a shard that comes back to it before it was relieved", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await until(() => t1.phase(0) === "serving", "t1 to serve");
    t1.tracker.adopt(epochOf(2n, "t2"), [first]);
    expect(t1.phase(0)).toBe("leaving");
    t1.tracker.adopt(epochOf(3n, "t1"), [first]);
    await until(() => t1.phase(0) === "serving", "t1 to serve again");
    expect(peers.copies).toBe(0);
  });

  test("pays no heed to an epoch that is older than its own (L4)", async () => {
    const t1 = await start("t1", epochOf(5n, "t1"));
    t1.tracker.adopt(epochOf(4n, "t2"));
    expect(t1.tracker.assignment?.epoch).toBe(5n);
    expect(t1.phase(0)).not.toBe("leaving");
  });

  test("ends who waits and who watches when the shard has gone, so that they go where it is (H4)", async () => {
    const first = epochOf(1n, "t1");
    const second = epochOf(2n, "t2");
    const t1 = await start("t1", first);
    await until(() => t1.phase(0) === "serving", "t1 to serve");
    let moved = 0;
    const replica = t1.tracker.replica(0);
    replica?.subscribe({ changed: () => {}, reset: () => {}, moved: () => void moved++, relaid: () => undefined });
    const reached = replica?.reached(1_000n, signal);
    await start("t2", second, first);
    t1.tracker.adopt(second, [first]);
    expect(await reached).toBe(false);
    expect(moved).toBe(1);
  });

  test("takes over no more than its limit of shards at a time (H9)", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await t1.tracker.replica(0)?.reached(await speaker.say(changes(rowOf(1))), signal);
    await until(() => t1.tracker.status().every(({ phase }) => phase === "serving"), "t1 to serve");
    await forgetStream();
    const t2 = await start("t2", epochOf(2n, "t2"), first);
    await until(() => t2.tracker.status().every(({ phase }) => phase === "serving"), "t2 to serve");
    expect(peers.copies).toBe(shards);
    expect(peers.copiesAtOnce).toBeLessThanOrEqual(handoffsMax);
  });

  test("begins a copy anew that broke off, and never answers from a part of it (H2)", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await t1.tracker
      .replica(0)
      ?.reached(await speaker.say(changes(...[1, 2, 3, 4].map((port) => rowOf(port)))), signal);
    await forgetStream();
    let parts = 0;
    peers.onPart = async () => {
      if (++parts === 3) throw new Error("the line is cut");
    };
    const t2 = await start("t2", epochOf(2n, "t2"), first);
    await until(() => t2.phase(0) === "serving", "t2 to serve");
    expect(kinds(t2, 1, 2, 3, 4)).toEqual(Array(4).fill("owned"));
    expect(parts).toBeGreaterThan(3);
  });

  test("throws away what a copy has left that a crash broke off (H6)", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await t1.tracker.replica(0)?.reached(await speaker.say(changes(rowOf(1), rowOf(2))), signal);
    const stored = await t1.store.rows(0, 1_000_000).next();
    const rows = (stored.value ?? []) as ShardRow[];
    const t2 = node("t2");
    await t2.store.reopen();
    const cut = (async function* () {
      yield rows.slice(1);
      throw new Error("the power failed");
    })();
    await expect(t2.store.takeOver(0, cut)).rejects.toThrow("the power failed");
    expect(await t2.store.shards()).toEqual([0]);
    t2.tracker.adopt(epochOf(1n, "t1"));
    peers.nodes.set("t2", await t2.start());
    await until(() => t2.phase(0) === undefined, "nothing to be left");
    expect(await t2.store.shards()).toEqual([]);
  });

  test("keeps what it has of a shard that is not its own while those who should have it don't serve it (H6)", async () => {
    const first = epochOf(1n, "t1");
    const t1 = await start("t1", first);
    await t1.tracker.replica(0)?.reached(await speaker.say(changes(rowOf(1))), signal);
    await t1[Symbol.asyncDispose]();
    const again = await start("t1", epochOf(2n, "t2"), first);
    await until(() => kinds(again, 1)[0] === "owned", "the old copy to answer");
    expect(again.phase(0)).toBe("leaving");
  });

  test("builds a shard from the stream when nobody who had it gives it, and asks the instances for what is missing", async () => {
    const requests: number[] = [];
    using _listener = bus.listen(resyncAllSubject, (data) => {
      const request = decodeResyncRequest(data, shards);
      if (request.ok) requests.push(request.value.shard);
    });
    await speaker.say(changes(rowOf(1)));
    await forgetStream();
    const t2 = await start("t2", epochOf(2n, "t2"), epochOf(1n, "t1"));
    await until(() => t2.tracker.elsewhere(0).tracker?.name === "t1", "t1 to be waited for");
    expect(t2.phase(0)).toBe("joining");
    nowMs += 5_000;
    await until(() => t2.phase(0) === "tailing", "t2 to do without it");
    await until(() => requests.includes(0), "the instances to be asked");
    expect(kinds(t2, 1)).toEqual(["absent"]);
  });

  test("whose store the stream has left behind takes the other copy instead of asking every instance", async () => {
    const epoch = epochOf(1n, "t1", "t2");
    const t1 = await start("t1", epoch);
    const t2 = await start("t2", epoch);
    const position = await speaker.say(changes(rowOf(1)));
    for (const it of [t1, t2]) await until(() => kinds(it, 1)[0] === "owned", "both to have it");
    await t2[Symbol.asyncDispose]();
    await t1.tracker.replica(0)?.reached(await speaker.say(changes(rowOf(2))), signal);
    await forgetStream();
    const asked: unknown[] = [];
    using _listener = bus.listen(resyncAllSubject, (data) => asked.push(data));
    const again = await start("t2", epoch);
    await until(() => again.phase(0) === "serving", "t2 to serve again");
    expect(kinds(again, 1, 2)).toEqual(["owned", "owned"]);
    expect(again.tracker.replica(0)?.table.sequence).toBeGreaterThan(position);
    expect(asked).toEqual([]);
  });
});
