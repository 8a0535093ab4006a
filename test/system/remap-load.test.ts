/** The numbers that must hold with 1,000 connections, half of them busy, from captures at both ends. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LabFixture } from "./lab-fixture.ts";
import { faultsOf, longestSilenceMs, type MeasuredRemap, measureRemap } from "./measured-remap.ts";

const counts = { busy: 500, idle: 500 };
const longestSwitchMs = 50;

describe("a remap with 1,000 connections, half of them busy", () => {
  let fixture: LabFixture;
  let measured: MeasuredRemap;

  beforeAll(async () => {
    fixture = await LabFixture.start("load");
    measured = await measureRemap(fixture, fixture.client(), counts);
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("switches within 50 ms", () => {
    expect(measured.remap.switchMs).toBeLessThan(longestSwitchMs);
  });

  it("silences no flow for 100 ms beyond its own rhythm", () => {
    expect(measured.delays.length).toBeGreaterThanOrEqual(counts.busy);
    expect(Math.max(...measured.delays.map((flow) => flow.longestDelayMs))).toBeLessThan(longestSilenceMs);
  });

  it("loses no packet, breaks no connection and leaks nothing", () => {
    expect(faultsOf(measured)).toEqual([]);
    for (const kind of measured.kinds) {
      expect(kind).toMatchObject({ states: { open: kind.count }, servers: { "vm-a": kind.count } });
    }
  });
});
