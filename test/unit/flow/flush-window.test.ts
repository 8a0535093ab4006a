import { describe, expect, test } from "vitest";
import { defaultFlushLimits, type FlushLimits, FlushWindow } from "../../../src/flow/flush-window.ts";

/** Instances with something to say all the time, on one stream; gives the messages of the last second. */
function cluster(limits: FlushLimits, busy: number, seconds: number): { windows: FlushWindow[]; lastSecond: number } {
  const windows = Array.from({ length: busy }, () => new FlushWindow(limits));
  const dueMs = windows.map((_, index) => (index * 7) % 50);
  let sequence = 0n;
  let lastSecond = 0;
  for (let nowMs = 0; nowMs < seconds * 1_000; nowMs++)
    for (const [index, window] of windows.entries()) {
      if ((dueMs[index] ?? 0) > nowMs) continue;
      sequence += 1n;
      window.stored(sequence, nowMs);
      dueMs[index] = nowMs + window.windowMs;
      if (nowMs >= (seconds - 1) * 1_000) lastSecond++;
    }
  return { windows, lastSecond };
}

describe("the flush window", () => {
  test("stays at its least while the cluster is within its budget", () => {
    const { windows, lastSecond } = cluster({ ...defaultFlushLimits, messagesPerSecond: 1_000 }, 20, 10);
    expect(windows.map((window) => window.windowMs)).toEqual(Array(20).fill(50));
    expect(lastSecond).toBe(400);
  });

  test("widens until the whole cluster is within its budget, and no further than needed (E15)", () => {
    const { lastSecond } = cluster({ ...defaultFlushLimits, messagesPerSecond: 500 }, 100, 30);
    expect(lastSecond).toBeLessThanOrEqual(500);
    expect(lastSecond).toBeGreaterThan(250);
  });

  test("never widens beyond its most (E15)", () => {
    const { windows } = cluster({ ...defaultFlushLimits, messagesPerSecond: 10 }, 50, 30);
    expect(Math.max(...windows.map((window) => window.windowMs))).toBe(1_000);
  });

  test("narrows again when the load has gone", () => {
    const window = new FlushWindow({ ...defaultFlushLimits, messagesPerSecond: 100 });
    for (let second = 0; second < 10; second++) window.stored(BigInt(second * 1_000), second * 1_000);
    expect(window.windowMs).toBe(1_000);
    for (let second = 10; second < 20; second++) window.stored(BigInt(9_000 + second), second * 1_000);
    expect(window.windowMs).toBe(50);
  });

  test("can be nothing, and then is", () => {
    const { windows } = cluster({ windowMinMs: 0, windowMaxMs: 0, messagesPerSecond: 1 }, 3, 3);
    expect(windows.map((window) => window.windowMs)).toEqual([0, 0, 0]);
  });

  test("begins to judge anew when the stream has gone back", () => {
    const window = new FlushWindow({ ...defaultFlushLimits, messagesPerSecond: 100 });
    window.stored(1_000_000n, 0);
    window.stored(1n, 5_000);
    window.stored(2n, 6_000);
    expect([window.windowMs, window.messagesPerSecond]).toEqual([50, 1]);
  });
});
