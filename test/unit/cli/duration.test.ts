import { describe, expect, it } from "vitest";
import { formatDuration, parseDuration } from "../../../services/cli/duration.ts";

describe("a duration", () => {
  it.each([
    ["250ms", 250],
    ["10s", 10_000],
    ["30m", 1_800_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["2d", 172_800_000],
    ["0s", 0],
    ["1m30s500ms", 90_500],
    ["366d", 366 * 86_400_000],
  ])("is read from %s", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "10", "s", "10 s", "-5s", "1w", "1h 30m", "1e3s", "367d", "∞"])("is not read from %j", (text) => {
    expect(parseDuration(text)).toBeUndefined();
  });

  it.each([
    [0, "0 ms"],
    [0.42, "0.4 ms"],
    [23, "23 ms"],
    [999.6, "1000 ms"],
    [1_000, "1.0 s"],
    [12_345, "12.3 s"],
    [59_960, "1m"],
    [250_000, "4m10s"],
    [5_400_000, "1h30m"],
    [187_200_000, "2d4h"],
  ])("of %d ms reads as %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });
});
