import { describe, expect, test } from "vitest";
import { assignShards, holdersOf, shardsOf } from "../../../src/placement/assignment.ts";
import { fnv1a32, shardOf } from "../../../src/placement/shard.ts";
import { ip } from "../../support/flows.ts";

const trackers = ["tracker1", "tracker2", "tracker3"].map((name, n) => ({ name, endpoint: `10.77.0.${31 + n}:7410` }));

describe("the assignment of shards", () => {
  test("gives every shard a primary and another tracker as standby", () => {
    const { holders } = assignShards(1n, 32, trackers);
    expect(holders).toHaveLength(32);
    for (const { primary, standby } of holders) {
      expect(trackers).toContainEqual(primary);
      expect(trackers).toContainEqual(standby);
      expect(primary).not.toEqual(standby);
    }
  });

  test("gives every tracker a part", () => {
    const assignment = assignShards(1n, 32, trackers);
    const primaries = new Set(assignment.holders.map(({ primary }) => primary.name));
    expect(primaries.size).toBe(3);
    const copies = trackers.map(({ name }) => shardsOf(assignment, name).length);
    expect(copies.reduce((a, b) => a + b)).toBe(64);
  });

  test("does not depend on the order of the list", () => {
    expect(assignShards(1n, 32, [...trackers].reverse())).toEqual(assignShards(1n, 32, trackers));
  });

  test("gives the one tracker of a cluster everything, without standby", () => {
    const assignment = assignShards(1n, 4, trackers.slice(0, 1));
    expect(assignment.holders.every((holder) => !("standby" in holder))).toBe(true);
    expect(shardsOf(assignment, "tracker1")).toEqual([0, 1, 2, 3]);
    expect(holdersOf(assignment, 4)).toEqual([]);
  });

  test("takes shards away only from those who lose them to a new tracker", () => {
    const before = assignShards(1n, 256, trackers.slice(0, 2));
    const after = assignShards(2n, 256, trackers);
    for (const [shard, { primary }] of after.holders.entries())
      if (primary.name !== "tracker3") expect(primary).toEqual(before.holders[shard]?.primary);
  });
});

describe("the shard of an address", () => {
  test("is FNV-1a of its text", () => {
    expect(fnv1a32("")).toBe(0x811c9dc5);
    expect(fnv1a32("a")).toBe(0xe40c292c);
    expect(fnv1a32("foobar")).toBe(0xbf9cf968);
  });

  test("stays what it is, for trackers' data are laid out by it", () => {
    expect(
      ["203.0.113.10", "203.0.113.11", "2001:db8:f::10"].map((text) => shardOf(ip(text), 32)),
    ).toMatchInlineSnapshot(`
      [
        6,
        25,
        13,
      ]
    `);
  });
});
