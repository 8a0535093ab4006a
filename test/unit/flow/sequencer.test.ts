import { describe, expect, test } from "vitest";
import type { FlowEvent } from "../../../src/flow/events.ts";
import { FlowSequencer, type SequencerOptions, snapshotsMax } from "../../../src/flow/sequencer.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { keyOf, publicAddress, rowOf } from "../../support/flows.ts";

const shards = 32;
const shard = shardOf(publicAddress, shards);
const place = { address: publicAddress, buckets: 1, generation: 0, bucket: 0 };

function sequencer(more: Partial<SequencerOptions> = {}): FlowSequencer {
  return new FlowSequencer({
    instance: "vm-a",
    boot: "b".repeat(32),
    layouts: new Layouts(shards),
    rowsMax: 3,
    bufferedMax: 10,
    ...more,
  });
}

function takeAll(from: FlowSequencer): { sequence: bigint; body: FlowEvent; ticket: number | undefined }[] {
  const taken = [];
  for (let next = from.take(shard); next !== undefined; next = from.take(shard))
    taken.push({ sequence: next.batch.sequence, body: next.batch.body, ticket: next.ticket });
  return taken;
}

const bodies = (from: FlowSequencer): FlowEvent[] => takeAll(from).map(({ body }) => body);

describe("the sequencer", () => {
  test("sends the changes of a window as one message, numbered from 1", () => {
    const it = sequencer();
    it.change(shard, rowOf(1));
    it.change(shard, rowOf(2));
    expect(it.take(shard)).toBeUndefined();
    it.seal(shard);
    expect(it.take(shard)?.batch).toEqual({
      instance: "vm-a",
      boot: "b".repeat(32),
      shard,
      sequence: 1n,
      body: { kind: "changes", rows: [rowOf(1), rowOf(2)], coalesced: [] },
    });
    expect(it.buffered).toBe(0);
  });

  test("sends only the last state that a flow had in a window", () => {
    const it = sequencer();
    it.change(shard, rowOf(1, "half-open"));
    it.change(shard, rowOf(2));
    it.change(shard, rowOf(1, "open"));
    it.seal(shard);
    expect(bodies(it)).toEqual([{ kind: "changes", rows: [rowOf(1, "open"), rowOf(2)], coalesced: [] }]);
  });

  test("only counts a flow that opens and closes within a window (E8)", () => {
    const it = sequencer();
    it.change(shard, { ...rowOf(1, "half-open"), opens: true });
    it.change(shard, rowOf(1, "open"));
    it.change(shard, rowOf(1, "closed"));
    it.seal(shard);
    expect(bodies(it)).toEqual([{ kind: "changes", rows: [], coalesced: [{ address: publicAddress, flows: 1 }] }]);
    expect(it.buffered).toBe(0);
  });

  test("tells of the end of a flow that was told of in an earlier window", () => {
    const it = sequencer();
    it.change(shard, rowOf(1, "half-open"));
    it.change(shard, rowOf(1, "closed"));
    it.seal(shard);
    expect(bodies(it)).toEqual([{ kind: "changes", rows: [rowOf(1, "closed")], coalesced: [] }]);
  });

  test("keeps the end of one flow apart from the next flow of the same key", () => {
    const it = sequencer();
    const next = rowOf(1, "half-open", { openedAtMs: 1_700_000_000_500 });
    it.change(shard, rowOf(1, "closed"));
    it.change(shard, { ...next, opens: true });
    it.seal(shard);
    expect(bodies(it)).toEqual([{ kind: "changes", rows: [rowOf(1, "closed"), next], coalesced: [] }]);
  });

  test("says when a message is full, and begins another", () => {
    const it = sequencer();
    expect([1, 2, 3, 4].map((port) => it.change(shard, rowOf(port)))).toEqual([
      "buffered",
      "buffered",
      "full",
      "buffered",
    ]);
    expect(bodies(it)).toEqual([{ kind: "changes", rows: [rowOf(1), rowOf(2), rowOf(3)], coalesced: [] }]);
    it.seal(shard);
    expect(takeAll(it).map(({ sequence }) => sequence)).toEqual([2n]);
  });

  test("puts a barrier after every change that came before it (E4)", () => {
    const it = sequencer();
    it.change(shard, rowOf(1));
    const ordered = it.barrier(shard, "mark");
    it.change(shard, rowOf(2));
    it.seal(shard);
    const taken = takeAll(it);
    expect(taken.map(({ body }) => body.kind)).toEqual(["changes", "barrier", "changes"]);
    expect(taken.map(({ ticket }) => ticket)).toEqual([
      undefined,
      ordered.kind === "ordered" && ordered.ticket,
      undefined,
    ]);
  });

  test("sends a snapshot in pages, between the changes before and after it", () => {
    const it = sequencer();
    it.change(shard, rowOf(9));
    it.snapshot(
      shard,
      [publicAddress],
      [1, 2, 3, 4].map((port) => rowOf(port)),
    );
    it.change(shard, rowOf(9, "closed"));
    it.seal(shard);
    const taken = takeAll(it);
    expect(taken.map(({ sequence }) => sequence)).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
    expect(taken.map(({ body }) => body)).toEqual([
      { kind: "changes", rows: [rowOf(9)], coalesced: [] },
      { kind: "snapshot-begin", snapshot: 1n, addresses: [publicAddress], places: [place] },
      { kind: "snapshot-page", snapshot: 1n, rows: [rowOf(1), rowOf(2), rowOf(3)] },
      { kind: "snapshot-page", snapshot: 1n, rows: [rowOf(4)] },
      { kind: "snapshot-end", snapshot: 1n, flows: 4 },
      { kind: "changes", rows: [rowOf(9, "closed")], coalesced: [] },
    ]);
  });

  test("reads a snapshot's pages from a table that goes on changing, and tells of every flow's end (E9)", () => {
    const it = sequencer();
    const table = new Map([1, 2, 3, 4].map((port) => [port, rowOf(port)]));
    it.snapshot(shard, [], table.values());
    expect(it.take(shard)?.batch.body.kind).toBe("snapshot-begin");
    expect(it.take(shard)?.batch.body).toMatchObject({ rows: [rowOf(1), rowOf(2), rowOf(3)] });
    table.set(5, rowOf(5));
    it.change(shard, { ...rowOf(5), opens: true });
    table.delete(4);
    it.change(shard, rowOf(4, "closed"));
    expect(it.take(shard)?.batch.body).toMatchObject({ kind: "snapshot-page", rows: [rowOf(5)] });
    it.change(shard, rowOf(5, "closed"));
    it.seal(shard);
    expect(bodies(it)).toEqual([
      { kind: "snapshot-end", snapshot: 1n, flows: 4 },
      { kind: "changes", rows: [rowOf(5, "closed"), rowOf(4, "closed")], coalesced: [] },
    ]);
  });

  test("tells of every step of every flow when it is not to coalesce (E8)", () => {
    const it = sequencer({ coalesce: false });
    const steps = [rowOf(1, "half-open"), rowOf(1), rowOf(1, "closed")];
    for (const step of steps) it.change(shard, { ...step, opens: step.state === "half-open" });
    expect(bodies(it)).toEqual([{ kind: "changes", rows: steps, coalesced: [] }]);
  });

  test("puts a digest after the changes that it counts, and leaves it out while a snapshot is on its way (E10)", () => {
    const it = sequencer();
    it.change(shard, rowOf(1));
    it.digest(shard, { flows: 1, keyXor: 7n });
    it.change(shard, rowOf(2));
    it.snapshot(shard, [], [rowOf(1), rowOf(2)]);
    it.digest(shard, { flows: 2, keyXor: 8n });
    const kinds = ["changes", "digest", "changes", "snapshot-begin", "snapshot-page", "snapshot-end"];
    expect(bodies(it).map(({ kind }) => kind)).toEqual(kinds);
  });

  test("ticks only where there is nothing else to say", () => {
    const it = sequencer();
    it.tick(shard);
    it.tick(shard);
    it.change(shard, rowOf(1));
    it.tick(shard);
    it.seal(shard);
    expect(bodies(it).map(({ kind }) => kind)).toEqual(["tick", "changes"]);
  });

  test("says nothing but a snapshot after changes were dropped", () => {
    const it = sequencer({ bufferedMax: 1 });
    for (const port of [1, 2]) it.change(shard, rowOf(port));
    it.tick(shard);
    it.digest(shard, { flows: 0, keyXor: 0n });
    it.forwards(shard, [{ address: publicAddress, owner: "vm-b" }]);
    expect(takeAll(it)).toEqual([]);
  });

  test("sends an empty snapshot as begin and end", () => {
    const it = sequencer();
    it.snapshot(shard, [], []);
    expect(bodies(it).map(({ kind }) => kind)).toEqual(["snapshot-begin", "snapshot-end"]);
  });

  test("beyond its buffer drops the shard's changes and leaves a hole in the numbers", () => {
    const it = sequencer({ bufferedMax: 2 });
    it.change(shard, rowOf(1));
    it.seal(shard);
    expect(it.take(shard)?.batch.sequence).toBe(1n);
    it.change(shard, rowOf(2));
    it.change(shard, rowOf(3));
    expect(it.change(shard, rowOf(4))).toBe("overflow");
    expect(it.buffered).toBe(0);
    expect(it.lostShards()).toEqual([shard]);
    expect(it.change(shard, rowOf(5))).toBe("overflow");
    it.snapshot(shard, [], [rowOf(5)]);
    expect(it.lostShards()).toEqual([]);
    expect(takeAll(it).map(({ sequence }) => sequence)).toEqual([3n, 4n, 5n]);
  });

  test("takes no barrier and no snapshot of an address after changes were dropped", () => {
    const it = sequencer({ bufferedMax: 1 });
    const ordered = it.barrier(shard, "before");
    it.change(shard, rowOf(1));
    it.change(shard, rowOf(2));
    expect(it.takeDropped()).toEqual([ordered.kind === "ordered" && ordered.ticket]);
    expect(it.barrier(shard, "after")).toEqual({ kind: "snapshot-needed" });
    expect(it.snapshot(shard, [publicAddress], [])).toEqual({ kind: "snapshot-needed" });
    expect(takeAll(it)).toEqual([]);
  });

  test("holds on to a bounded number of snapshots", () => {
    const it = sequencer();
    const outcomes = Array.from({ length: snapshotsMax + 1 }, () => it.snapshot(shard, [publicAddress], []).kind);
    expect(outcomes).toEqual([...Array<string>(snapshotsMax).fill("ordered"), "too-many"]);
    takeAll(it);
    expect(it.snapshot(shard, [publicAddress], []).kind).toBe("ordered");
  });

  test("numbers each shard for itself (E1)", () => {
    const it = sequencer();
    const address = ["203.0.113.11", "203.0.113.12"]
      .map((text) => keyOf(1, text as never))
      .find((key) => shardOf(key.address, shards) !== shard);
    if (address === undefined) throw new Error("no address of another shard");
    const other = shardOf(address.address, shards);
    it.change(shard, rowOf(1));
    it.change(other, rowOf(1, "open", { key: address }));
    expect(it.busyShards().sort()).toEqual([shard, other].sort());
    it.seal(shard);
    it.seal(other);
    expect(it.take(shard)?.batch.sequence).toBe(1n);
    expect(it.take(other)?.batch.sequence).toBe(1n);
  });
});
