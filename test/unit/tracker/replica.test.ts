import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { MemoryBus } from "../../../src/bus/memory.ts";
import { decodeResyncRequest } from "../../../src/bus/resync-request.ts";
import {
  type FlowEvent,
  flowStreamName,
  flowSubject,
  resyncAllSubject,
  resyncSubject,
} from "../../../src/flow/events.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import type { FlowStore } from "../../../src/tracker/level.ts";
import { ShardReplica } from "../../../src/tracker/replica.ts";
import { flowOf, keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import {
  flowStream,
  memoryBus,
  openStore,
  quietLog,
  Speaker,
  type TestDirectory,
  temporaryDirectory,
} from "../../support/tracker.ts";

const changes = (...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({ kind: "changes", rows, coalesced: [] });

describe("a copy of a shard", () => {
  const signal = AbortSignal.timeout(60_000);
  let nowMs = 0;
  let bus: MemoryBus;
  let directory: TestDirectory;
  let store: FlowStore;
  let speaker: Speaker;
  let stop: AbortController;
  let running: Promise<void>;

  beforeEach(async () => {
    nowMs = 0;
    bus = await memoryBus(signal, () => nowMs);
    directory = await temporaryDirectory();
    store = await openStore(directory);
    speaker = new Speaker(bus, signal);
  });
  afterEach(async () => {
    await end();
    await store[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
    await bus[Symbol.asyncDispose]();
  });

  const start = (rebuildSettleMs = 0): ShardReplica => {
    stop = new AbortController();
    const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
    const replica = new ShardReplica({
      shard: 0,
      bus,
      store,
      clock,
      log: quietLog,
      rebuildSettleMs,
      onBatch: () => {},
    });
    const { signal: stopped } = stop;
    running = replica.load().then(() => replica.run(stopped));
    return replica;
  };
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  const until = (condition: () => boolean, what: string): Promise<true> =>
    waitFor(condition, { signal, timeoutMs: 10_000, what });

  test("answers with what was published before it came to be, and after", async () => {
    await speaker.say(changes(rowOf(1)));
    const replica = start();
    const position = await speaker.say(changes(rowOf(2)));
    expect(await replica.reached(position, signal)).toBe(true);
    expect([1, 2].map((port) => replica.table.find(keyOf(port)).kind)).toEqual(["owned", "owned"]);
    expect(replica.status()).toEqual({ shard: 0, applied: 2n, committed: 2n, lag: 0, flows: 2, complete: true });
  });

  test("goes on where its store stands, with the same flows, ends and senders (E2)", async () => {
    const first = start();
    await speaker.say(changes(rowOf(1), rowOf(2, "half-open"), rowOf(3)));
    await first.reached(await speaker.say(changes(rowOf(3, "closed"))), signal);
    await end();
    const position = await speaker.say(changes(rowOf(4)));
    const second = start();
    expect(await second.reached(position, signal)).toBe(true);
    expect([...second.table.flowsOf({ address: publicAddress })]).toEqual([
      flowOf(1, "vm-a"),
      flowOf(2, "vm-a", "half-open"),
      flowOf(4, "vm-a"),
    ]);
    expect(second.table.find(keyOf(3))).toEqual({ kind: "closed", owner: "vm-a" });
    expect(second.complete).toBe(true);
  });

  test("remembers a snapshot that was under way", async () => {
    const here = { address: publicAddress, buckets: 1, generation: 0, bucket: 0 };
    const first = start();
    await speaker.say(changes(rowOf(1), rowOf(2)));
    await speaker.say({ kind: "snapshot-begin", snapshot: 1n, addresses: [publicAddress], places: [here] });
    await first.reached(await speaker.say({ kind: "snapshot-page", snapshot: 1n, rows: [rowOf(2)] }), signal);
    await end();
    const second = start();
    await second.reached(await speaker.say({ kind: "snapshot-end", snapshot: 1n, flows: 1 }), signal);
    expect([1, 2].map((port) => second.table.find(keyOf(port)).kind)).toEqual(["closed", "owned"]);
  });

  test("remembers which flows of an address belong to it (K3)", async () => {
    const place = { address: publicAddress, buckets: 3, generation: 2 };
    const first = start();
    await speaker.say(changes(rowOf(1)));
    await first.reached(await speaker.say({ kind: "places", places: [place], released: false }), signal);
    await end();
    const second = start();
    await second.reached(await speaker.say({ kind: "tick" }), signal);
    expect(second.table.placeOf(publicAddress)).toEqual({ buckets: 3, generation: 2 });
    expect([1, 2].map((port) => second.table.find(keyOf(port)).kind)).toEqual(["owned", "elsewhere"]);
  });

  test("waits for a position until the caller gives up", async () => {
    const replica = start();
    expect(await replica.reached(1n, AbortSignal.timeout(20))).toBe(false);
    const reached = replica.reached(1n, signal);
    await speaker.say({ kind: "tick" });
    expect(await reached).toBe(true);
  });

  test("goes on after the bus was away, and knows no lag meanwhile (E16)", async () => {
    const replica = start();
    await replica.reached(await speaker.say(changes(rowOf(1))), signal);
    bus.setConnected(false);
    await until(() => replica.status().lag === undefined, "the replica to notice");
    bus.setConnected(true);
    await replica.reached(await speaker.say(changes(rowOf(2))), signal);
    expect(replica.status().flows).toBe(2);
  });

  test("asks the instance whose messages are missing, and is complete after its snapshot", async () => {
    const asked: unknown[] = [];
    using _listening = bus.listen(resyncSubject("vm-a"), (data) => void asked.push(decodeResyncRequest(data, 32)));
    const replica = start();
    speaker.lose();
    await replica.reached(await speaker.say(changes(rowOf(1))), signal);
    expect(replica.complete).toBe(false);
    await until(() => asked.length > 0, "a request");
    expect(asked[0]).toEqual({ ok: true, value: { shard: 0, reason: "messages are missing" } });
    await speaker.say({ kind: "snapshot-begin", snapshot: 1n, addresses: [], places: [] });
    await replica.reached(await speaker.say({ kind: "snapshot-end", snapshot: 1n, flows: 0 }), signal);
    expect(replica.complete).toBe(true);
    expect(replica.table.find(keyOf(1)).kind).toBe("closed");
  });

  test("steps over a message that is none, and notices that its sender's is missing", async () => {
    const replica = start();
    await speaker.say(changes(rowOf(1)));
    await bus.publish(flowSubject(0), Buffer.from("what?"), { messageId: "odd", signal });
    await replica.reached(await speaker.say(changes(rowOf(2))), signal);
    expect(replica.status()).toMatchObject({ flows: 2, applied: 3n, complete: true });
  });

  test("builds the shard anew when messages have expired that it never saw (E14)", async () => {
    await start().reached(await speaker.say(changes(rowOf(1))), signal);
    await end();
    await speaker.say(changes(rowOf(2)));
    nowMs += flowStream.maxAgeMs;
    const asked: unknown[] = [];
    using _listening = bus.listen(resyncAllSubject, (data) => void asked.push(data));
    await speaker.say(changes(rowOf(3)));
    const replica = start(1);
    await until(() => replica.status().lag === 0 && replica.status().applied === 3n, "the replica to follow");
    expect(replica.complete).toBe(false);
    expect([1, 2, 3].map((port) => replica.table.find(keyOf(port)).kind)).toEqual(["absent", "absent", "owned"]);
    await until(() => asked.length > 0, "a request to all");
    nowMs += 1;
    await speaker.say({ kind: "snapshot-begin", snapshot: 1n, addresses: [], places: [] });
    await speaker.say({ kind: "snapshot-page", snapshot: 1n, rows: [rowOf(2), rowOf(3)] });
    await speaker.say({ kind: "snapshot-end", snapshot: 1n, flows: 2 });
    await until(() => replica.complete, "the shard to be complete");
    expect(replica.status().flows).toBe(2);
  });

  test("builds the shard anew when the stream is another one, though it has as many messages", async () => {
    await start().reached(await speaker.say(changes(rowOf(1))), signal);
    await end();
    bus.deleteStream(flowStreamName);
    await bus.ensureStream(flowStream, signal);
    await new Speaker(bus, signal, { instance: "vm-b" }).say(changes(rowOf(2)));
    const replica = start();
    await until(() => replica.status().applied === 1n && replica.status().lag === 0, "the replica to follow");
    expect(replica.table.find(keyOf(1)).kind).toBe("absent");
    expect(replica.table.find(keyOf(2))).toMatchObject({ flow: { owner: "vm-b" } });
    expect(replica.table.brokenSenders()).toEqual(["vm-a"]);
  });

  test("builds the shard anew while it runs, when the stream went back, and tells watchers", async () => {
    const replica = start();
    await replica.reached(await speaker.say(changes(rowOf(1))), signal);
    let resets = 0;
    using _feed = replica.subscribe({
      changed: () => {},
      reset: () => void resets++,
      moved: () => {},
      relaid: () => {},
    });
    bus.setConnected(false);
    bus.deleteStream(flowStreamName);
    bus.setConnected(true);
    await bus.ensureStream(flowStream, signal);
    await until(() => resets === 1, "the reset");
    expect(replica.status()).toMatchObject({ applied: 0n, flows: 0, complete: false });
  });

  test("does not build anew at every connection after that", async () => {
    await speaker.say(changes(rowOf(1)));
    nowMs += flowStream.maxAgeMs;
    await new Speaker(bus, signal, { shard: 1 }).say({ kind: "tick" });
    const replica = start();
    let resets = 0;
    await until(() => replica.status().lag === 0, "the replica to follow");
    using _feed = replica.subscribe({
      changed: () => {},
      reset: () => void resets++,
      moved: () => {},
      relaid: () => {},
    });
    bus.setConnected(false);
    await until(() => replica.status().lag === undefined, "the replica to notice");
    bus.setConnected(true);
    await until(() => replica.status().lag === 0, "the replica to follow again");
    expect(resets).toBe(0);
  });

  test("throws a database away that it can't read", async () => {
    await start().reached(await speaker.say(changes(rowOf(1))), signal);
    await end();
    await store[Symbol.asyncDispose]();
    const { Level } = await import("level");
    const level = new Level<Buffer, Buffer>(`${directory.path}/flows`, {
      keyEncoding: "buffer",
      valueEncoding: "buffer",
    });
    await level.put(Buffer.from([0, 0, 2, 1, 2, 3]), Buffer.from([9]));
    await level.close();
    store = await openStore(directory);
    const replica = start();
    await until(() => replica.status().lag === 0 && replica.status().applied === 1n, "the replica to follow");
    expect(replica.table.find(keyOf(1)).kind).toBe("owned");
    expect(replica.complete).toBe(true);
  });

  test("tells those who watch of every change in order (L2)", async () => {
    const replica = start();
    const seen: (readonly Flow[])[] = [];
    using _feed = replica.subscribe({
      changed: (flows) => void seen.push([...flows]),
      reset: () => {},
      moved: () => {},
      relaid: () => {},
    });
    await speaker.say(changes(rowOf(1)));
    await speaker.say({ kind: "tick" });
    await replica.reached(await speaker.say(changes(rowOf(1, "closed"))), signal);
    expect(seen).toEqual([[flowOf(1, "vm-a")], [{ ...flowOf(1, "vm-a"), state: "closed" }]]);
  });
});
