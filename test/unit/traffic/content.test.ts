import { describe, expect, it } from "vitest";
import { contentAt, firstDifference } from "../../traffic/content.ts";

describe("the content by which streams are checked", () => {
  it("is the same however it is cut", () => {
    const whole = contentAt(0, 200_000);
    expect(Buffer.concat([contentAt(0, 70_001), contentAt(70_001, 129_999)]).equals(whole)).toBe(true);
    expect(firstDifference(whole, 0)).toBeUndefined();
    expect(firstDifference(whole.subarray(65_530, 65_550), 65_530)).toBeUndefined();
  });

  it("tells where the first wrong byte is", () => {
    const piece = Buffer.from(contentAt(1_000, 150_000));
    piece[140_000] = (piece[140_000] ?? 0) ^ 1;
    expect(firstDifference(piece, 1_000)).toBe(141_000);
  });

  it("shows a piece from another place, even one from the same place of another block", () => {
    expect(firstDifference(contentAt(1_448, 1_448), 0)).toBeDefined();
    expect(firstDifference(contentAt(65_536, 65_536), 0)).toBeDefined();
    expect(firstDifference(contentAt(65_536 * 300, 65_536), 65_536 * 44)).toBeDefined();
  });
});
