import { describe, expect, test } from "vitest";
import type { Assignment } from "../../../src/placement/assignment.ts";
import { layoutsMax } from "../../../src/placement/layout.ts";
import { nextAssignment } from "../../../src/placement/next-assignment.ts";
import { movingLayouts, setBuckets, settleBuckets } from "../../../src/placement/operator-buckets.ts";
import { moveShard } from "../../../src/placement/operator-move.ts";
import { ip, publicAddress } from "../../support/flows.ts";
import { candidates, situation } from "../../support/placement.ts";

const t1 = { name: "t1", endpoint: "t1:1" };
const t2 = { name: "t2", endpoint: "t2:1" };
const current: Assignment = { epoch: 4n, holders: Array.from({ length: 8 }, () => ({ primary: t1 })) };

function relaid(from: Assignment, buckets: number): Assignment {
  const found = setBuckets(from, publicAddress, buckets);
  if (!found.ok) throw new Error(found.reason);
  return found.next;
}

describe("an operator who gives an address more buckets", () => {
  test("creates the next epoch, in which flows may still be where they were (K2)", () => {
    const next = relaid(current, 4);
    expect(next).toEqual({
      ...current,
      epoch: 5n,
      layouts: new Map([[publicAddress, { buckets: 4, generation: 1, before: 1 }]]),
    });
    expect(movingLayouts(next)).toHaveLength(1);
  });

  test("is refused while flows move, and goes on from there afterwards, also back to one", () => {
    const moving = relaid(current, 4);
    expect(setBuckets(moving, publicAddress, 2)).toMatchObject({
      why: "nothing",
      reason: expect.stringContaining("still on their way from 1 to 4"),
    });
    const settled = settleBuckets(moving, publicAddress, { buckets: 4, generation: 1, before: 1 });
    expect(settled?.layouts?.get(publicAddress)).toEqual({ buckets: 4, generation: 1 });
    expect(settled?.epoch).toBe(6n);
    const back = relaid(settled as Assignment, 1);
    expect(back.layouts?.get(publicAddress)).toEqual({ buckets: 1, generation: 2, before: 4 });
  });

  test.each([
    [0, "bounds", /1 to 8, found 0/],
    [9, "bounds", /1 to 8, found 9/],
    [1.5, "bounds", /whole number/],
    [1, "nothing", /has one bucket already/],
  ] as const)("is refused %d buckets: %s", (buckets, why, says) => {
    expect(setBuckets(current, publicAddress, buckets)).toMatchObject({ why, reason: expect.stringMatching(says) });
  });

  test("is refused one address more than an epoch's record has room for", () => {
    const layouts = new Map(
      Array.from({ length: layoutsMax }, (_, n) => [ip(`10.1.${n >> 8}.${n & 255}`), { buckets: 2, generation: 1 }]),
    );
    expect(setBuckets({ ...current, layouts }, publicAddress, 2)).toMatchObject({ why: "limit" });
  });

  test("is not undone by whoever moves shards, nor by who places them", () => {
    const { layouts } = relaid(current, 4);
    const moved = moveShard({ ...current, layouts: layouts ?? new Map() }, 0, t2);
    expect(moved).toMatchObject({ next: { layouts } });
    const placed = nextAssignment(
      situation(candidates(2), { shards: 8, previous: { ...current, layouts: layouts ?? new Map() } }),
    );
    expect(placed).toMatchObject({ kind: "changed", next: { layouts } });
  });

  test("does not settle what another change has replaced", () => {
    expect(settleBuckets(relaid(current, 4), publicAddress, { buckets: 2, generation: 7, before: 1 })).toBeUndefined();
    expect(settleBuckets(current, publicAddress, { buckets: 2, generation: 1, before: 1 })).toBeUndefined();
  });
});
