import { describe, expect, test } from "vitest";
import { assignShards, type Tracker } from "../../../src/placement/assignment.ts";
import { moveShard, trackersOf, unpinShard } from "../../../src/placement/operator-move.ts";

const [t1, t2, t3] = ["t1", "t2", "t3"].map((name) => ({ name, endpoint: `${name}:1` })) as [Tracker, Tracker, Tracker];
const of = (...holders: [Tracker, Tracker?][]) => ({
  epoch: 4n,
  holders: holders.map(([primary, standby]) => (standby === undefined ? { primary } : { primary, standby })),
});

describe("an operator's move of a shard", () => {
  test("makes the member primary, pinned, in the next epoch, and touches no other shard", () => {
    const current = of([t1, t2], [t1, t2]);
    expect(moveShard(current, 1, t3)).toEqual({
      ok: true,
      next: { epoch: 5n, holders: [current.holders[0], { primary: t3, standby: t2, pinned: true }] },
    });
  });

  test("to its standby makes the two change places, so that they are never the same member", () => {
    expect(moveShard(of([t1, t2]), 0, t2)).toMatchObject({ next: { holders: [{ primary: t2, standby: t1 }] } });
  });

  test("keeps a shard with one copy to one", () => {
    expect(moveShard(of([t1]), 0, t2)).toMatchObject({ next: { holders: [{ primary: t2, pinned: true }] } });
  });

  test("is refused where there is nothing to move, with the reason", () => {
    expect(moveShard(of([t1]), 0, t1)).toEqual({ ok: false, reason: "shard 0 is at t1 already" });
    expect(moveShard(of([t1]), 1, t2)).toMatchObject({ ok: false, reason: expect.stringContaining("no shard 1") });
    expect(unpinShard(of([t1]), 0)).toEqual({ ok: false, reason: "shard 0 is not pinned" });
  });

  test("is undone by unpinning: the shard stays, and is free to be moved", () => {
    const moved = moveShard(of([t1]), 0, t2);
    if (!moved.ok) throw new Error(moved.reason);
    expect(unpinShard(moved.next, 0)).toEqual({ ok: true, next: { epoch: 6n, holders: [{ primary: t2 }] } });
  });

  test("may go to every tracker that the epoch names", () => {
    expect([...trackersOf(assignShards(1n, 8, [t1, t2, t3])).keys()].sort()).toEqual(["t1", "t2", "t3"]);
  });
});
