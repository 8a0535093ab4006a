import { describe, expect, it } from "vitest";
import {
  acceptedKey,
  auditsOf,
  encodeEntry,
  inventoryKey,
  leaseKey,
  obsoleteKeys,
  recover,
  remapKey,
  StoredValueError,
} from "../../../src/coordinator/stored.ts";
import type { ReturnPath } from "../../../src/node/state.ts";
import type { RemapRecord } from "../../../src/remap/record.ts";
import { FakeCluster, ip, publicA, publicB } from "../../support/fake-cluster.ts";

async function everyRecord(returnPath: ReturnPath) {
  const cluster = new FakeCluster();
  cluster.connectAll();
  await cluster.settle();
  await cluster.addAddress(publicA, "vm-a");
  cluster.node("vm-a").open(publicA, 2);
  const { id } = await cluster.created(publicA, "vm-b", { deadlineMs: 90_000, returnPath });
  const records: RemapRecord[] = [];
  for (let step = 0; step < 200; step++) {
    const record = cluster.stored().get(id);
    if (record !== undefined && record !== records.at(-1)) records.push(record);
    cluster.prove();
    for (const node of cluster.nodes) cluster.order(node) || cluster.hear(node);
    if (cluster.remap(id).phase === "draining") cluster.node("vm-a").close(publicA);
    await cluster.tick(50);
  }
  return records;
}

const lease = (beat: number) => encodeEntry({ leader: "c", endpoint: "e", process: "p", beat, released: false }, "w");
const address = (at: typeof publicA, generation: bigint) =>
  encodeEntry(
    { kind: "address-set", record: { address: at, instance: "vm-a", private: ip("10.77.0.11"), generation } },
    "w",
  );

describe("what is stored", () => {
  it("comes back as it was, for every record of a remap's life", async () => {
    const [records, answering] = [await everyRecord("channel"), await everyRecord("direct")];
    expect(records.length).toBeGreaterThan(8);
    expect(answering.some(({ phase }) => phase.kind === "draining" && phase.retiring === true)).toBe(true);
    for (const record of [...records, ...answering]) {
      const values = new Map([[remapKey(record.id, record.step), encodeEntry(record, "writer")]]);
      expect(recover(values).remaps).toEqual([record]);
    }
    const all = new Map(records.map((record) => [remapKey(record.id, record.step), encodeEntry(record, "w")]));
    expect(recover(all).remaps).toEqual([records.at(-1)]);
  });

  it("is folded in the order of its numbers, whatever the order of reading", () => {
    const values = new Map([
      [inventoryKey(10), address(publicA, 3n)],
      [inventoryKey(9), address(publicA, 2n)],
      [leaseKey(9n), lease(1)],
      [leaseKey(10n), lease(1)],
      [acceptedKey(8n), encodeEntry({}, "w")],
      [acceptedKey(7n), encodeEntry({}, "w")],
    ]);
    const { inventory, lastEntry, terms, acceptedTerm } = recover(values);
    expect(inventory.addresses.get(publicA)?.generation).toBe(3n);
    expect([lastEntry, [...terms.keys()], acceptedTerm]).toEqual([10, [9n, 10n], 8n]);
  });

  it.each([
    ["not JSON", new TextEncoder().encode("{")],
    ["not an entry", encodeEntry({ kind: "address-set", record: {} }, "w")],
    ["of a newer version", encodeEntry({ kind: "teleport" }, "w")],
  ])("is refused by name when it is %s", (_what, data) => {
    expect(() => recover(new Map([[inventoryKey(4), data]]))).toThrow(StoredValueError);
    expect(() => recover(new Map([[inventoryKey(4), data]]))).toThrow(/inventory\.4/);
  });

  it("keeps the actions that led to it, oldest first (E17)", () => {
    const action = (n: number) => ({ action: "address-add", entry: { by: "me", n, deadlineMs: null }, atMs: n });
    const values = new Map([
      [inventoryKey(2), encodeEntry({ kind: "node-removed", name: "b" }, "w", action(2))],
      [inventoryKey(1), encodeEntry({ kind: "node-removed", name: "a" }, "w", action(1))],
      [inventoryKey(3), encodeEntry({ kind: "node-removed", name: "c" }, "w")],
    ]);
    expect(auditsOf(values)).toEqual([
      { ...action(1), key: "inventory.1" },
      { ...action(2), key: "inventory.2" },
    ]);
    expect(recover(values).lastEntry).toBe(3);
  });

  it("loses only keys that nobody can need again, and none that says which names were used (F4)", () => {
    const values = new Map<string, Uint8Array>();
    for (let term = 1n; term <= 1_004n; term++) values.set(leaseKey(term), lease(1));
    values.set(leaseKey(900_000n), lease(1));
    for (const term of [3n, 900_000n]) values.set(acceptedKey(term), encodeEntry({}, "w"));
    values.set(inventoryKey(1), address(publicA, 1n));
    values.set(inventoryKey(2), address(publicB, 1n));
    for (let n = 3; n <= 1_100; n++) values.set(inventoryKey(n), address(publicA, BigInt(n)));
    const gone = obsoleteKeys(values, new Set());
    expect(gone.filter((key) => key.startsWith("lease."))).toEqual([
      "lease.1",
      "lease.2",
      "lease.3",
      "lease.4",
      "lease.5",
    ]);
    expect(gone.filter((key) => key.startsWith("accepted."))).toEqual(["accepted.3"]);
    expect(gone).toContain("inventory.1");
    expect(gone).not.toContain("inventory.2");
    expect(gone).not.toContain("inventory.100");
    const left = new Map([...values].filter(([key]) => !gone.includes(key)));
    expect(recover(left).inventory).toEqual(recover(values).inventory);
    // The next names are numbered on from these.
    expect(recover(left).lastEntry).toBe(1_100);
    expect(left.has(leaseKey(900_000n))).toBe(true);
  });
});
