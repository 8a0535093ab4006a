import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FlowPublisher, type FlowPublisherOptions } from "../../../src/bus/flow-publisher.ts";
import type { MemoryBus } from "../../../src/bus/memory.ts";
import { encodeResyncRequest } from "../../../src/bus/resync-request.ts";
import {
  type FlowEventBatch,
  flowStreamName,
  flowSubject,
  resyncAllSubject,
  resyncSubject,
} from "../../../src/flow/events.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import { defaultFlushLimits } from "../../../src/flow/flush-window.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { decodeFlowEventBatch } from "../../../src/rpc/flow-event-codec.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { flowOf, ip, keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import { packed, unpacked } from "../../support/packed.ts";
import { flowStream, memoryBus } from "../../support/tracker.ts";

const shards = 32;
const shard = shardOf(publicAddress, shards);
const place = { address: publicAddress, buckets: 1, generation: 0, bucket: 0 };
const slow = { ...defaultFlushLimits, windowMinMs: 60_000, windowMaxMs: 60_000 };
const bootBytes = Buffer.alloc(16, 0xab);

describe("the publisher of flow events", () => {
  const signal = AbortSignal.timeout(30_000);
  let bus: MemoryBus;
  let publisher: FlowPublisher;
  let needed: { shard: number; reason: string }[];
  let errors: unknown[];

  const start = (more: Partial<FlowPublisherOptions> = {}): FlowPublisher => {
    publisher = new FlowPublisher({
      bus,
      instance: "vm-a",
      shards,
      boot: bootBytes,
      flush: { ...defaultFlushLimits, windowMinMs: 5 },
      onSnapshotNeeded: (index, reason) => void needed.push({ shard: index, reason }),
      onError: (error) => void errors.push(error),
      ...more,
    });
    return publisher;
  };
  const read = async (count: number): Promise<FlowEventBatch[]> => {
    const found: FlowEventBatch[] = [];
    const wanted = { stream: flowStreamName, subject: flowSubject(shard), from: 1n, signal, batchMax: 10 };
    for await (const messages of bus.consume(wanted)) {
      for (const { data } of messages) {
        const batch = decodeFlowEventBatch(data);
        if (!batch.ok) throw new Error(batch.message);
        found.push(unpacked(batch.value));
      }
      if (found.length >= count) break;
    }
    return found;
  };
  /** Of all shards, in the order in which they were stored. */
  const allTold = async (): Promise<FlowEventBatch[]> => {
    const told: FlowEventBatch[] = [];
    for (let sequence = 1n; ; sequence++) {
      const message = await bus.messageAt(flowStreamName, sequence, signal);
      if (message === undefined) return told;
      const batch = decodeFlowEventBatch(message.data);
      if (batch.ok) told.push(unpacked(batch.value));
    }
  };

  beforeEach(async () => {
    bus = await memoryBus(signal);
    needed = [];
    errors = [];
  });
  afterEach(async () => {
    await publisher.close();
    await bus[Symbol.asyncDispose]();
  });

  test("publishes changes in batches, by itself", async () => {
    start();
    publisher.change(rowOf(1));
    publisher.change(rowOf(2));
    expect(await read(1)).toEqual([
      {
        instance: "vm-a",
        boot: "ab".repeat(16),
        shard,
        sequence: 1n,
        body: { kind: "changes", rows: [rowOf(1), rowOf(2)], coalesced: [] },
      },
    ]);
  });

  test("gives the position of a barrier after all that came before (E4)", async () => {
    start({ flush: slow });
    publisher.change(rowOf(1));
    expect(await publisher.barrier("mark", publicAddress)).toEqual([{ shard, sequence: 2n }]);
    expect((await read(2)).map(({ body }) => body.kind)).toEqual(["changes", "barrier"]);
  });

  test("publishes a snapshot of the address alone and gives the position of its end", async () => {
    start();
    const elsewhere = flowOf(2, "vm-a", "open", { key: keyOf(2, ip("192.0.2.77")) });
    const positions = await publisher.snapshot(publicAddress, [flowOf(1, "vm-a"), elsewhere]);
    expect(positions).toEqual([{ shard, sequence: 3n }]);
    expect((await read(3)).map(({ body }) => body)).toEqual([
      { kind: "snapshot-begin", snapshot: 1n, addresses: [publicAddress], places: [place] },
      { kind: "snapshot-page", snapshot: 1n, rows: [rowOf(1)] },
      { kind: "snapshot-end", snapshot: 1n, flows: 1 },
    ]);
  });

  test("tells the shards that have flows of it before any other (K3)", async () => {
    const layouts = new Layouts(shards);
    start({ layouts });
    const layout = { buckets: 4, generation: 1, before: 1 };
    const flows = Array.from({ length: 40 }, (_, port) => flowOf(port, "vm-a"));
    publisher.change(flows[0] as Flow);
    const adopting = publisher.adopt(publicAddress, layout);
    publisher.change(flows[1] as Flow);
    await adopting;
    for (const flow of flows) publisher.change(flow);
    await publisher.snapshot(publicAddress, flows);
    const told = await allTold();
    const first = told.findIndex((batch) => batch.shard !== shard);
    expect(told.slice(0, first).map(({ body }) => body.kind)).toContain("places");
    const pages = told.flatMap(({ shard: of, body }) =>
      body.kind === "snapshot-page" ? body.rows.map(({ key }) => [key.peerPort, of, layouts.shardOf(key)]) : [],
    );
    expect(pages.map(([port]) => port).sort((a = 0, b = 0) => a - b)).toEqual(flows.map(({ key }) => key.peerPort));
    for (const [, of, wanted] of pages) expect(of).toBe(wanted);
    expect((await publisher.barrier("all", publicAddress)).length).toBe(4);
  });

  test.each([
    [1, 4],
    [4, 1],
    [2, 3],
    [3, 2],
  ])(
    "releases shards from what has moved only when all have been told, from %i to %i (K4)",
    async (before, buckets) => {
      const layouts = new Layouts(shards);
      start({ layouts });
      layouts.take(publicAddress, { buckets: before, generation: 1 });
      const layout = { buckets, generation: 2, before };
      const flows = Array.from({ length: 40 }, (_, port) => flowOf(port, "vm-a"));
      await publisher.adopt(publicAddress, layout);
      await publisher.snapshotShard(shard, flows);
      const positions = await publisher.snapshot(publicAddress, flows);
      const told = await allTold();
      const released = told.flatMap(({ body }, index) => (body.kind === "places" && body.released ? [index] : []));
      expect(released.map((index) => told[index]?.shard).sort()).toEqual(
        Array.from({ length: before }, (_, bucket) => (shard + bucket) % shards).sort(),
      );
      expect(told.findLastIndex(({ body }) => body.kind === "snapshot-end")).toBeLessThan(released[0] ?? 0);
      // Only who has applied the releases has applied all: the positions are those of the last messages of all shards.
      const ends = new Map(told.map((batch, index) => [batch.shard, BigInt(index + 1)]));
      expect(new Map(positions.map((it) => [it.shard, it.sequence]))).toEqual(ends);
      // What is lost may have been a release: a snapshot of the whole shard repeats it.
      await publisher.snapshotShard(shard, flows);
      expect((await allTold()).at(-1)?.body).toMatchObject({ kind: "places", released: true });
    },
  );

  test("never waits while the bus is away, and publishes everything in order once it is back (E6)", async () => {
    bus.setConnected(false);
    start();
    for (let port = 1; port <= 5_000; port++) expect(publisher.change(rowOf(port))).not.toBe("overflow");
    const barrier = publisher.barrier("mark", publicAddress);
    bus.setConnected(true);
    const [position] = await barrier;
    const batches = await read(Number(position?.sequence));
    expect(batches.map(({ sequence }) => sequence)).toEqual(batches.map((_, index) => BigInt(index + 1)));
    const ports = batches.flatMap(({ body }) =>
      body.kind === "changes" ? body.rows.map(({ key }) => key.peerPort) : [],
    );
    expect(ports).toEqual(Array.from({ length: 5_000 }, (_, index) => index + 1));
  });

  test("drops what is too much while the bus is away, fails what depends on it, and asks for a snapshot afterwards (E6)", async () => {
    bus.setConnected(false);
    start({ bufferedMax: 10 });
    publisher.change(rowOf(0));
    const first = publisher.barrier("first", publicAddress);
    const second = expect(publisher.barrier("second", publicAddress)).rejects.toThrow("dropped");
    for (let port = 1; port <= 10; port++) publisher.change(rowOf(port));
    expect(publisher.change(rowOf(11))).toBe("overflow");
    await second;
    await expect(publisher.barrier("third", publicAddress)).rejects.toThrow("snapshot");
    await expect(first).rejects.toThrow("dropped");
    expect(needed).toEqual([]);
    bus.setConnected(true);
    expect(needed).toEqual([{ shard, reason: expect.stringContaining("lost") }]);
    const [position] = await publisher.snapshotShard(shard, [flowOf(11, "vm-a")]);
    const batches = await read(Number(position?.sequence));
    expect(batches.map(({ sequence }) => sequence)).toEqual([1n, 3n, 4n, 5n]);
    expect(publisher.change(rowOf(12))).toBe("buffered");
  });

  test("tells its owner when a tracker asks for a shard, and not more than once in a while", async () => {
    start();
    const request = encodeResyncRequest({ shard: 7, reason: "a gap" });
    bus.announce(resyncSubject("vm-a"), request);
    bus.announce(resyncSubject("vm-a"), request);
    bus.announce(resyncSubject("vm-b"), encodeResyncRequest({ shard: 8, reason: "not mine" }));
    bus.announce(resyncAllSubject, encodeResyncRequest({ shard: 9, reason: "lost" }));
    await waitFor(() => needed.length >= 2, { signal, timeoutMs: 5_000, what: "two requests" });
    expect(needed).toEqual([
      { shard: 7, reason: "a tracker asks: a gap" },
      { shard: 9, reason: "a tracker asks: lost" },
    ]);
    await waitFor(() => needed.length >= 3, { signal, timeoutMs: 5_000, what: "the repetition" });
    expect(needed.at(-1)?.shard).toBe(7);
  });

  test.each(["", "[]", '{"shard":32,"reason":""}', '{"shard":1.5,"reason":""}', '{"shard":1}', "null"])(
    "takes %j for no request",
    async (text) => {
      start();
      bus.announce(resyncAllSubject, Buffer.from(text));
      await waitFor(() => errors.length > 0, { signal, timeoutMs: 5_000, what: "the complaint" });
      expect(needed).toEqual([]);
    },
  );

  test("goes on trying while the stream is not there", async () => {
    bus.deleteStream(flowStreamName);
    start();
    const barrier = publisher.barrier("mark", publicAddress);
    await waitFor(() => errors.length > 0, { signal, timeoutMs: 5_000, what: "a refusal" });
    await bus.ensureStream(flowStream, signal);
    expect(await barrier).toEqual([{ shard, sequence: 1n }]);
  });

  test("ticks in the shards that it speaks for, and has their content compared now and then (E10, E14)", async () => {
    start({ tickMs: 5, digestOf: () => ({ flows: 3, keyXor: 0x1234n }) });
    publisher.speakFor(new Set([shard]));
    const batches = await read(6);
    expect(batches.map(({ body }) => body.kind)).toContain("tick");
    expect(batches.map(({ body }) => body)).toContainEqual({ kind: "digest", flows: 3, keyXor: 0x1234n });
    expect(batches.map(({ sequence }) => sequence)).toEqual(batches.map((_, index) => BigInt(index + 1)));
  });

  test("says nothing in a shard that it does not speak for", async () => {
    start({ tickMs: 2, digestOf: () => ({ flows: 0, keyXor: 0n }) });
    publisher.speakFor(new Set([shard + 1]));
    await waitFor(() => publisher.messages >= 3, { signal, timeoutMs: 5_000, what: "ticks elsewhere" });
    expect(await bus.lastSequence(flowStreamName, flowSubject(shard), signal)).toBe(0n);
  });

  test("without a window sends every step of every flow at once", async () => {
    start({ flush: { windowMinMs: 0, windowMaxMs: 0, messagesPerSecond: 1 } });
    for (const state of ["half-open", "open", "closed"] as const)
      publisher.change({ ...rowOf(1, state), opens: state === "half-open" });
    const rows = (await read(1)).flatMap(({ body }) => (body.kind === "changes" ? body.rows : []));
    expect(rows.map(({ state }) => state)).toEqual(["half-open", "open", "closed"]);
  });

  test("gathers changes for as long as the message before them takes", async () => {
    bus.setConnected(false);
    start({ flush: { windowMinMs: 1, windowMaxMs: 1, messagesPerSecond: 1_000 } });
    for (let port = 0; port < 20; port++) {
      publisher.change(rowOf(port));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    bus.setConnected(true);
    await publisher.barrier("mark", publicAddress);
    expect(publisher.messages).toBeLessThanOrEqual(3);
    expect(publisher.buffered).toBe(0);
  });

  test("sends a snapshot of a table that changes meanwhile, page by page", async () => {
    start();
    const table = new Map(Array.from({ length: 5_000 }, (_, port) => [port, flowOf(port, "vm-a")]));
    const stored = publisher.snapshot(publicAddress, table.values());
    for (let port = 3_000; port < 4_000; port++) {
      table.delete(port);
      publisher.change(rowOf(port, "closed"));
    }
    const [position] = await stored;
    await publisher.barrier("mark", publicAddress);
    const shardTable = new ShardTable();
    for (const [index, batch] of (await read(Number(position?.sequence))).entries())
      shardTable.apply(BigInt(index + 1), packed(batch));
    expect(shardTable.size).toBe(4_000);
  });

  test("sends what is buffered before it closes", async () => {
    start({ flush: slow });
    publisher.change(rowOf(1));
    await publisher.close();
    expect(await read(1)).toHaveLength(1);
  });

  test("closes in bounded time while the bus is away, and fails who waits", async () => {
    bus.setConnected(false);
    start();
    const barrier = expect(publisher.barrier("mark", publicAddress)).rejects.toThrow("closed");
    await publisher.close();
    await barrier;
  });

  test("stops waiting for a barrier when the signal aborts", async () => {
    bus.setConnected(false);
    start();
    const stop = new AbortController();
    const barrier = expect(publisher.barrier("mark", publicAddress, stop.signal)).rejects.toThrow("enough");
    stop.abort(new Error("enough"));
    await barrier;
  });
});
