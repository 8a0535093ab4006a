import { describe, expect, test } from "vitest";
import type { FlowEvent, FlowEventBatch } from "../../../src/flow/events.ts";
import { KeyDigest } from "../../../src/flow/key-digest.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { tombstoneMessages } from "../../../src/tracker/tombstones.ts";
import { flowOf, ip, keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import { packed } from "../../support/packed.ts";

const other = ip("203.0.113.11");
const changes = (...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({ kind: "changes", rows, coalesced: [] });
const begin = (snapshot: bigint, ...addresses: (typeof other)[]): FlowEvent => ({
  kind: "snapshot-begin",
  snapshot,
  addresses,
  places: [],
});
const page = (snapshot: bigint, ...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({
  kind: "snapshot-page",
  snapshot,
  rows,
});
const end = (snapshot: bigint, flows: number): FlowEvent => ({ kind: "snapshot-end", snapshot, flows });
const tick: FlowEvent = { kind: "tick" };

class Stream {
  readonly table = new ShardTable();
  #position = 0n;
  readonly #sent = new Map<string, bigint>();

  /** The next message of a boot, or the one with this number. */
  say(instance: string, body: FlowEvent, { boot = "b1", sequence }: { boot?: string; sequence?: bigint } = {}) {
    const next = sequence ?? (this.#sent.get(`${instance} ${boot}`) ?? 0n) + 1n;
    this.#sent.set(`${instance} ${boot}`, next);
    return this.#apply({ instance, boot: boot.repeat(16), shard: 0, sequence: next, body });
  }

  lose(instance: string, boot = "b1"): void {
    this.#sent.set(`${instance} ${boot}`, (this.#sent.get(`${instance} ${boot}`) ?? 0n) + 1n);
  }

  order(body: FlowEvent) {
    return this.#apply({ instance: "", boot: "", shard: 0, sequence: 0n, body });
  }

  #apply(batch: FlowEventBatch) {
    const applied = this.table.apply(++this.#position, packed(batch));
    return applied.kind === "dropped" ? applied : { ...applied, changes: [...applied.changes] };
  }

  skip(messages: bigint): void {
    this.#position += messages;
  }
}

describe("a shard's table", () => {
  test("knows who owns a flow from its first message to its last", () => {
    const { table } = using(new Stream(), (it) => it.say("vm-a", changes(rowOf(1, "half-open"), rowOf(2))));
    expect(table.find(keyOf(1))).toEqual({ kind: "owned", flow: flowOf(1, "vm-a", "half-open") });
    expect(table.find(keyOf(3))).toEqual({ kind: "absent" });
    expect(table.counts()).toEqual([{ address: publicAddress, owner: "vm-a", flows: 2, halfOpen: 1 }]);
  });

  test("says of a flow that has ended that it has, and whose it was", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1)));
    expect(it.say("vm-a", changes(rowOf(1, "closed")))).toEqual({
      kind: "applied",
      changes: [{ ...flowOf(1, "vm-a"), state: "closed" }],
    });
    expect(it.table.find(keyOf(1))).toEqual({ kind: "closed", owner: "vm-a" });
    expect(it.table.counts()).toEqual([]);
    expect(it.table.size).toBe(0);
  });

  test("forgets that a flow has ended after so many messages of the stream", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1, "closed")));
    it.skip(tombstoneMessages - 1n);
    it.say("vm-a", tick);
    expect(it.table.find(keyOf(1)).kind).toBe("closed");
    it.say("vm-a", tick);
    expect(it.table.find(keyOf(1)).kind).toBe("absent");
  });

  test("lets a key live again", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1, "closed"), rowOf(1, "half-open")));
    expect(it.table.find(keyOf(1)).kind).toBe("owned");
    it.say("vm-a", changes(rowOf(1, "closed")));
    expect(it.table.find(keyOf(1)).kind).toBe("closed");
  });

  test("drops what the sender repeats (E1)", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1)));
    it.say("vm-a", changes(rowOf(1, "closed")));
    expect(it.say("vm-a", changes(rowOf(1)), { sequence: 1n })).toEqual({ kind: "dropped" });
    expect(it.say("vm-a", changes(rowOf(1)), { sequence: 2n })).toEqual({ kind: "dropped" });
    expect(it.table.find(keyOf(1)).kind).toBe("closed");
    expect(it.table.brokenSenders()).toEqual([]);
  });

  test("drops what the stream repeats", () => {
    const table = new ShardTable();
    const batch = { instance: "vm-a", boot: "b", shard: 0, sequence: 1n, body: changes(rowOf(1)) };
    expect(table.apply(7n, packed(batch)).kind).toBe("applied");
    expect(table.apply(7n, packed(batch)).kind).toBe("dropped");
    expect(table.apply(6n, packed({ ...batch, sequence: 2n })).kind).toBe("dropped");
    expect(table.sequence).toBe(7n);
  });

  test("notices a gap, applies what follows, and is whole after a snapshot of everything (E1)", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2)));
    it.lose("vm-a");
    expect(it.say("vm-a", changes(rowOf(3)))).toMatchObject({ resync: expect.stringContaining("missing") });
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
    expect(it.table.find(keyOf(3)).kind).toBe("owned");
    it.say("vm-a", begin(1n));
    it.say("vm-a", page(1n, rowOf(2), rowOf(3)));
    expect(it.table.find(keyOf(1)).kind).toBe("owned");
    it.say("vm-a", end(1n, 2));
    expect(it.table.find(keyOf(1))).toEqual({ kind: "closed", owner: "vm-a" });
    expect(it.table.brokenSenders()).toEqual([]);
  });

  test("notices that the first message of a boot is missing", () => {
    const it = new Stream();
    it.lose("vm-a");
    expect(it.say("vm-a", tick)).toMatchObject({ resync: expect.any(String) });
  });

  test("is not whole after the snapshot of one address", () => {
    const it = new Stream();
    it.lose("vm-a");
    it.say("vm-a", begin(1n, publicAddress));
    it.say("vm-a", end(1n, 0));
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
  });

  test("sweeps only the sender's flows, of the snapshot's addresses, that nothing has named since it began", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2), rowOf(3), rowOf(4, "open", { key: keyOf(4, other) })));
    it.say("vm-b", changes(rowOf(5)));
    it.say("vm-a", begin(1n, publicAddress));
    it.say("vm-a", page(1n, rowOf(1)));
    it.say("vm-a", changes(rowOf(2, "closing"), rowOf(6)));
    const applied = it.say("vm-a", end(1n, 1));
    expect(applied).toEqual({ kind: "applied", changes: [{ ...flowOf(3, "vm-a"), state: "closed" }] });
    expect([1, 2, 5, 6].map((port) => it.table.find(keyOf(port)).kind)).toEqual(Array(4).fill("owned"));
    expect(it.table.find(keyOf(4, other)).kind).toBe("owned");
  });

  test("sweeps nothing when a page of the snapshot is missing", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2)));
    it.say("vm-a", begin(1n));
    it.lose("vm-a");
    it.say("vm-a", end(1n, 2));
    expect(it.table.find(keyOf(1)).kind).toBe("owned");
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
  });

  test("is not whole after a snapshot in which a change was lost", () => {
    const it = new Stream();
    it.say("vm-a", begin(1n));
    it.lose("vm-a");
    it.say("vm-a", page(1n, rowOf(1)));
    it.say("vm-a", end(1n, 1));
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
  });

  test("sweeps nothing when the snapshot's count is another", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1)));
    it.say("vm-a", begin(1n));
    expect(it.say("vm-a", end(1n, 1))).toMatchObject({ resync: expect.stringContaining("0 flows instead of 1") });
    expect(it.table.find(keyOf(1)).kind).toBe("owned");
  });

  test("tells watchers nothing of a snapshot that says what was known", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1)));
    it.say("vm-a", begin(1n));
    expect(it.say("vm-a", page(1n, rowOf(1), rowOf(2)))).toEqual({ kind: "applied", changes: [flowOf(2, "vm-a")] });
  });

  test("retires earlier boots at the first snapshot of a new one", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2)));
    it.say("vm-a", begin(1n), { boot: "b2" });
    expect(it.say("vm-a", changes(rowOf(3)))).toEqual({ kind: "dropped" });
    it.say("vm-a", page(1n, rowOf(2)), { boot: "b2" });
    it.say("vm-a", end(1n, 1), { boot: "b2" });
    expect([1, 2, 3].map((port) => it.table.find(keyOf(port)).kind)).toEqual(["closed", "owned", "absent"]);
    expect(it.table.brokenSenders()).toEqual([]);
  });

  test("asks for everything when a new boot's first snapshot leaves out an address that has flows", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2, "open", { key: keyOf(2, other) })));
    expect(it.say("vm-a", begin(1n, publicAddress), { boot: "b2" })).toMatchObject({ resync: expect.any(String) });
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
  });

  test("answers with the younger generation when two instances claim a key", () => {
    const it = new Stream();
    it.say("vm-b", changes(rowOf(1, "open", { generation: 2n })));
    it.say("vm-a", changes(rowOf(1, "open", { generation: 1n })));
    expect(it.table.find(keyOf(1))).toMatchObject({ flow: { owner: "vm-b" } });
    it.say("vm-b", changes(rowOf(1, "closed", { generation: 2n })));
    expect(it.table.find(keyOf(1))).toMatchObject({ kind: "owned", flow: { owner: "vm-a" } });
  });

  test("gives an address to one instance alone, but for flows of a later generation", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1), rowOf(2, "open", { key: keyOf(2, other) })));
    it.say("vm-b", changes(rowOf(3, "open", { generation: 2n })));
    it.say("vm-c", changes(rowOf(4, "open", { generation: 3n })));
    const applied = it.order({ kind: "address-owned", address: publicAddress, instance: "vm-b", generation: 2n });
    expect(applied).toEqual({ kind: "applied", changes: [{ ...flowOf(1, "vm-a"), state: "closed" }] });
    expect(it.table.counts().map(({ owner, flows }) => [owner, flows])).toEqual([
      ["vm-b", 1],
      ["vm-c", 1],
      ["vm-a", 1],
    ]);
  });

  test("ends all flows of an instance that is gone, awaits nothing of it, and drops what its boots still say", () => {
    const it = new Stream();
    it.say("vm-a", changes(rowOf(1)));
    it.lose("vm-a");
    it.say("vm-a", tick);
    it.order({ kind: "instance-gone", instance: "vm-a" });
    expect(it.table.find(keyOf(1))).toEqual({ kind: "closed", owner: "vm-a" });
    expect(it.table.brokenSenders()).toEqual([]);
    expect(it.say("vm-a", changes(rowOf(2)))).toEqual({ kind: "dropped" });
  });

  test("asks for a snapshot when a sender's digest differs from what is here, and only then (E10)", () => {
    const it = new Stream();
    const digestOf = (...ports: number[]): FlowEvent => {
      const digest = new KeyDigest();
      for (const port of ports) digest.add(keyOf(port));
      return { kind: "digest", flows: digest.flows, keyXor: digest.keyXor };
    };
    it.say("vm-b", changes(rowOf(9)));
    it.say("vm-a", changes(rowOf(1), rowOf(2), rowOf(3), rowOf(3, "closed")));
    expect(it.say("vm-a", digestOf(1, 2))).toEqual({ kind: "applied", changes: [] });
    expect(it.say("vm-a", digestOf(1, 3))).toMatchObject({ resync: expect.stringContaining("2 flows") });
    expect(it.table.brokenSenders()).toEqual(["vm-a"]);
    expect(it.say("vm-a", digestOf(1, 4))).toEqual({ kind: "applied", changes: [] });
  });

  test("tells who forwards a flow, by the forwarder's last word (E13)", () => {
    const it = new Stream();
    const viaOf = (port: number) =>
      [...it.table.flowsOf({ address: publicAddress })].find((flow) => flow?.key.peerPort === port)?.via;
    const forward = (...owners: string[]): FlowEvent => ({
      kind: "forwarding",
      forwards: owners.map((owner) => ({ address: publicAddress, owner })),
    });
    it.say("vm-a", changes(rowOf(1)));
    it.say("vm-b", changes(rowOf(2)));
    it.say("vm-b", forward("vm-a"));
    expect([viaOf(1), viaOf(2)]).toEqual(["vm-b", undefined]);
    expect(it.table.find(keyOf(1))).toMatchObject({ flow: { owner: "vm-a", via: "vm-b" } });
    expect(it.say("vm-a", changes(rowOf(1, "closing")))).toMatchObject({ changes: [{ via: "vm-b" }] });
    it.say("vm-c", forward("vm-a", "vm-b"));
    it.say("vm-b", forward());
    expect([viaOf(1), viaOf(2)]).toEqual(["vm-c", "vm-c"]);
    it.say("vm-c", begin(1n), { boot: "b2" });
    expect([viaOf(1), viaOf(2)]).toEqual([undefined, undefined]);
  });

  test("lists the flows of an address, of an owner, of a peer", () => {
    const it = new Stream();
    const peer = ip("198.51.100.9");
    it.say("vm-a", changes(rowOf(1), rowOf(2, "open", { key: { ...keyOf(2), peer } })));
    it.say("vm-b", changes(rowOf(3)));
    const ports = (query: object) =>
      [...it.table.flowsOf({ address: publicAddress, ...query })].flatMap((flow) => flow?.key.peerPort ?? []);
    expect(ports({})).toEqual([1, 2, 3]);
    expect(ports({ owner: "vm-a" })).toEqual([1, 2]);
    expect(ports({ peer })).toEqual([2]);
    expect(ports({ address: other })).toEqual([]);
  });
});

function using(stream: Stream, act: (stream: Stream) => void): Stream {
  act(stream);
  return stream;
}
