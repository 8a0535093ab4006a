import { describe, expect, it } from "vitest";
import { compare, spread } from "../../bench/ratio.ts";

describe("a comparison of pairs", () => {
  it("takes the ratio pair by pair, so that a slow moment counts on both sides", () => {
    const pairs = [
      { subject: 9, peer: 10 },
      { subject: 3.8, peer: 4 },
      { subject: 12, peer: 10 },
    ];
    expect(compare(pairs)).toEqual({
      pairs: 3,
      subject: { median: 9, min: 3.8, max: 12 },
      peer: { median: 10, min: 4, max: 10 },
      ratio: { median: 0.95, min: 0.9, max: 1.2 },
    });
  });

  it("takes the mean of the two in the middle when their number is even", () => {
    expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  it("is refused when there is nothing to compare", () => {
    expect(() => compare([])).toThrow("nothing was measured");
  });
});
