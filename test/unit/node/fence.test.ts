import { describe, expect, test } from "vitest";
import { type Fence, judgeFence } from "../../../src/node/fence.ts";

const held: Fence = { term: 5n, leader: "coordinator1", lease: "cc", generation: 40n, digest: "aa" };

describe("a node's fence (F1)", () => {
  test("lets anything through where nothing is held", () => {
    expect(judgeFence(undefined, held)).toEqual({ kind: "apply" });
  });

  test.each<[string, Partial<Fence>]>([
    ["a higher generation", { generation: 41n, digest: "bb" }],
    ["a higher generation of a higher term, by another leader", { term: 6n, leader: "coordinator2", generation: 41n }],
  ])("lets %s through", (_what, change) => {
    expect(judgeFence(held, { ...held, ...change })).toEqual({ kind: "apply" });
  });

  test.each<[string, Partial<Fence>]>([
    ["the same again", {}],
    ["the same content under a newer term", { term: 6n, leader: "coordinator2" }],
  ])("takes %s for a repetition", (_what, change) => {
    expect(judgeFence(held, { ...held, ...change })).toEqual({ kind: "repeat" });
  });

  test.each<[string, Partial<Fence>, RegExp]>([
    ["a lower term, however high its generation", { term: 4n, generation: 99n }, /term 4 is below 5/],
    ["another leader in the same term", { leader: "coordinator2", generation: 41n }, /belongs to coordinator1/],
    [
      "another lease of the same term and leader",
      { lease: "dd", generation: 41n },
      /another one than this node has seen/,
    ],
    ["a lower generation", { generation: 39n }, /generation 39 is below 40/],
    ["a lower generation of a higher term", { term: 6n, generation: 39n }, /generation 39 is below 40/],
    ["an equal generation with other content", { digest: "bb" }, /was applied before, with other content/],
  ])("refuses %s, and says why", (_what, change, reason) => {
    expect(judgeFence(held, { ...held, ...change })).toEqual({ kind: "refuse", reason: expect.stringMatching(reason) });
  });
});
