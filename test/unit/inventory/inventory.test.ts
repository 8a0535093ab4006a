import { describe, expect, it } from "vitest";
import {
  applyEntry,
  choosePrivate,
  emptyInventory,
  type InventoryEntry,
  type NodeRecord,
  planAddress,
  subjectOf,
} from "../../../src/inventory/inventory.ts";
import { ip, prefix, publicA, publicB } from "../../support/fake-cluster.ts";

const instance: NodeRecord = {
  name: "vm-a",
  kind: "agent",
  privateAddresses: [ip("fd77::11"), ip("10.77.0.11"), ip("10.77.0.111")],
  version: "0.1.0",
  firstSeenMs: 0,
};
const taken = (address: typeof publicA, own: string) => ({ address, instance: "vm-a", private: ip(own) });

describe("the private address for a public one", () => {
  it("is the first free one of the same family", () => {
    expect(choosePrivate(instance, publicA, [])).toEqual({ ok: true, value: "10.77.0.11" });
    expect(choosePrivate(instance, publicA, [taken(publicB, "10.77.0.11")])).toEqual({
      ok: true,
      value: "10.77.0.111",
    });
    expect(choosePrivate(instance, ip("2001:db8::1"), [])).toEqual({ ok: true, value: "fd77::11" });
  });

  it("is the one that it had there, because old flows may live on it", () => {
    expect(choosePrivate(instance, publicA, [taken(publicA, "10.77.0.111")])).toEqual({
      ok: true,
      value: "10.77.0.111",
    });
  });

  it("is nobody's but its own, also when it is asked for by name", () => {
    const others = [taken(publicB, "10.77.0.11"), taken(ip("203.0.113.12"), "10.77.0.111")];
    expect(choosePrivate(instance, publicA, others)).toMatchObject({ refusal: { code: "NO_FREE_PRIVATE" } });
    expect(choosePrivate(instance, publicA, others, ip("10.77.0.11"))).toMatchObject({
      refusal: { code: "PRIVATE_IN_USE" },
    });
    expect(choosePrivate(instance, publicA, [], ip("10.9.9.9"))).toMatchObject({
      refusal: { code: "UNKNOWN_PRIVATE" },
    });
  });
});

describe("the inventory", () => {
  const entries: InventoryEntry[] = [
    { kind: "node-set", record: instance },
    { kind: "address-set", record: { address: publicA, instance: "vm-a", private: ip("10.77.0.11"), generation: 1n } },
    { kind: "address-removed", address: publicA, generation: 7n },
  ];

  it("is the fold of its entries, and remembers the generation of what was removed", () => {
    const folded = entries.reduce(applyEntry, emptyInventory);
    expect(folded.addresses.size).toBe(0);
    const plan = planAddress(folded, { address: publicA, instance: "vm-a" }, [], [prefix("203.0.113.0/24")]);
    expect(plan).toMatchObject({ ok: true, value: { generation: 8n } });
    expect(applyEntry(folded, { kind: "node-removed", name: "vm-a" }).nodes.size).toBe(0);
  });

  it("knows which entries speak of the same thing", () => {
    expect(entries.map(subjectOf)).toEqual(["node vm-a", `address ${publicA}`, `address ${publicA}`]);
    expect(subjectOf({ kind: "node-removed", name: "vm-a" })).toBe("node vm-a");
  });
});
