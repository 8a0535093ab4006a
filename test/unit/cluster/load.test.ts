import { describe, expect, it } from "vitest";
import { LoadMeter, loadOf, loadSources, smoothed } from "../../../src/cluster/load.ts";
import { sleep } from "../../../src/runtime/retry.ts";

const idle = { loop: 0, host: 0, delayMs: 0 };
const signal = AbortSignal.timeout(20_000);

describe("a load", () => {
  it("is the share in use of what will be run out of first, from 0 to 1", () => {
    expect(loadOf(idle, loadSources)).toBe(0);
    expect(loadOf({ ...idle, loop: 0.7, host: 0.2 }, loadSources)).toBe(0.7);
    expect(loadOf({ ...idle, loop: 0.1, host: 0.9 }, loadSources)).toBe(0.9);
    expect(loadOf({ ...idle, delayMs: 125 }, loadSources)).toBe(0.5);
    expect(loadOf({ loop: 1, host: 1, delayMs: 4_000 }, loadSources)).toBe(1);
    expect(loadOf({ ...idle, delayMs: -1 }, loadSources)).toBe(0);
    expect(loadOf({ ...idle, loop: 0.1, host: 0.9 }, ["loop", "delay"])).toBe(0.1);
  });

  it("follows what is measured, with a weight that halves in five seconds", () => {
    expect(smoothed(0, 1, 5_000)).toBe(0.5);
    expect(smoothed(1, 0, 10_000)).toBe(0.25);
    const inSteps = smoothed(smoothed(0, 1, 1_000), 1, 4_000);
    expect(inSteps).toBeCloseTo(smoothed(0, 1, 5_000), 10);
  });

  it("is measured: a loop that works without end is full, one that waits is not", async () => {
    using meter = new LoadMeter();
    await sleep(300, signal);
    const resting = meter.sample();
    const endMs = performance.now() + 600;
    while (performance.now() < endMs) await new Promise(setImmediate);
    const working = meter.sample();
    expect(resting.loop).toBeLessThan(0.7);
    expect(working.loop).toBeGreaterThan(0.8);
    expect(working.host).toBeGreaterThan(0);
    for (const { loop, host } of [resting, working]) expect(Math.max(loop, host)).toBeLessThanOrEqual(1);
  });

  it("shows a loop that is held up by its delay", async () => {
    using meter = new LoadMeter();
    // The histogram takes no turn into account that began before its first whole one.
    await sleep(100, signal);
    const endMs = performance.now() + 600;
    while (performance.now() < endMs);
    await sleep(30, signal);
    expect(meter.sample().delayMs).toBeGreaterThan(100);
  });
});
