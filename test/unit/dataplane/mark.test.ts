import { describe, expect, test } from "vitest";
import { arrivedMark, connectionMark, defaultMarkMask, markLayout, packetMark } from "../../../src/dataplane/mark.ts";

const layout = markLayout(defaultMarkMask) ?? { mask: 0, shift: 0 };

describe("marks", () => {
  test("stay within the mask, whichever link and role", () => {
    for (const role of ["followed", "returned", "egress"] as const)
      for (const link of [1, 512, 1023]) {
        const mark = packetMark(layout, role, link);
        expect((mark & ~layout.mask) >>> 0).toBe(0);
        expect(mark).toBeGreaterThan(0);
      }
  });

  test("tell every role and link apart", () => {
    const marks = [1, 2, 1023].flatMap((link) =>
      (["followed", "returned", "egress"] as const).map((role) => packetMark(layout, role, link)),
    );
    expect(new Set([...marks, arrivedMark(layout)]).size).toBe(marks.length + 1);
  });

  test("of a connection carry the generation, so that an earlier remap's is not believed", () => {
    expect(connectionMark(layout, "old", 7n)).not.toBe(connectionMark(layout, "old", 8n));
    expect(connectionMark(layout, "old", 7n)).not.toBe(connectionMark(layout, "new", 7n));
  });

  test("work at the top of the word too", () => {
    expect(markLayout(0xfff00000)).toEqual({ mask: 0xfff00000, shift: 20 });
    expect(packetMark({ mask: 0xfff00000, shift: 20 }, "egress", 1023)).toBe(0xfff00000);
  });

  test.each([0, 0xff, 0x1fff0000, 0x0f0f0f00])("refuse the mask %i, which is not twelve bits in a row", (mask) => {
    expect(markLayout(mask)).toBeUndefined();
  });
});
