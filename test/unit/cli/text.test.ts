import { describe, expect, it } from "vitest";
import { table } from "../../../services/cli/render/table.ts";
import { paint, renderLine, renderLines } from "../../../services/cli/render/text.ts";
import { counted, formatBytes, formatCount } from "../../../services/cli/render/units.ts";

const plainText = { colours: false, width: 0 };
describe("a line", () => {
  it("has its colours only where they are wanted", () => {
    const line = ["a ", paint("b", "red")];
    expect(renderLine(line, { colours: true, width: 0 })).toBe("a \u001b[31mb\u001b[39m");
    expect(renderLine(line, plainText)).toBe("a b");
  });

  it("is cut to the width, of which colours take nothing", () => {
    const line = [paint("abc", "green"), paint("def", "dim"), "ghi"];
    expect(renderLine(line, { colours: false, width: 5 })).toBe("abcd…");
    expect(renderLine(line, { colours: true, width: 5 })).toBe("\u001b[32mabc\u001b[39m\u001b[2md…\u001b[22m");
    expect(renderLine(line, { colours: false, width: 9 })).toBe("abcdefghi");
    expect(renderLine(line, { colours: false, width: 3 })).toBe("abc");
  });
});

describe("a table", () => {
  it("has columns as wide as their widest cell, and numbers at the right", () => {
    const lines = table(
      ["NAME", "FLOWS", "X"],
      [
        ["vm-a", "7", "y"],
        ["a", paint("12,345", "red")],
      ],
      ["FLOWS"],
    );
    expect(renderLines(lines, plainText)).toEqual(["NAME   FLOWS  X", "vm-a       7  y", "a     12,345"]);
  });
});

describe("numbers for people", () => {
  it("are grouped, scaled and counted", () => {
    expect([0, 999, 1_000, 1_234_567].map(formatCount)).toEqual(["0", "999", "1,000", "1,234,567"]);
    expect([0, 999, 1_000, 1_234_567, 9.87e15].map(formatBytes)).toEqual([
      "0 B",
      "999 B",
      "1.00 kB",
      "1.23 MB",
      "9.87 PB",
    ]);
    expect([counted(1, "packet"), counted(2n, "packet"), counted(0, "packet")]).toEqual([
      "1 packet",
      "2 packets",
      "0 packets",
    ]);
  });
});
