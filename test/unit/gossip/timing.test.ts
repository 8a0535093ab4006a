import { describe, expect, it } from "vitest";
import {
  confirmationsWanted,
  pushPullIntervalMs,
  remainingSuspicionMs,
  retransmitLimit,
  suspicionTimeoutMs,
} from "../../../src/gossip/timing.ts";

describe("a suspicion's timer, of 2 to 30 seconds and 3 confirmations wanted (timer vectors)", () => {
  it.each([
    [0, 0, 30_000],
    [1, 2_000, 14_000],
    [2, 3_000, 4_810],
    [3, 4_000, -2_000],
    [4, 5_000, -3_000],
    [5, 10_000, -8_000],
  ])("with %i accusers after %i ms has %i ms left", (confirmations, elapsedMs, leftMs) => {
    expect(remainingSuspicionMs(confirmations, 3, elapsedMs, 2_000, 30_000)).toBe(leftMs);
  });

  it("lasts its minimum when no confirmation is wanted", () => {
    expect(remainingSuspicionMs(0, 0, 0, 2_000, 30_000)).toBe(2_000);
  });
});

describe("formulas by the cluster's size", () => {
  it("let a suspicion last for four probes, and longer from ten members on", () => {
    expect([1, 5, 10, 50, 100, 1_000].map((members) => Math.floor(suspicionTimeoutMs(4, members, 1_000)))).toEqual([
      4_000, 4_000, 4_000, 6_795, 8_000, 12_000,
    ]);
  });

  it("send a rumour four times for each digit", () => {
    expect([1, 9, 10, 99, 999, 4_999].map((members) => retransmitLimit(4, members))).toEqual([4, 4, 8, 8, 12, 16]);
  });

  it("make push/pull rarer by every doubling above 32", () => {
    expect([1, 32, 33, 64, 65, 128, 1_000].map((members) => pushPullIntervalMs(30_000, members) / 1_000)).toEqual([
      30, 30, 60, 60, 90, 90, 180,
    ]);
  });

  it("want no confirmation where too few members could give it", () => {
    expect([2, 3, 4, 100].map((members) => confirmationsWanted(4, members))).toEqual([0, 0, 2, 2]);
  });
});
