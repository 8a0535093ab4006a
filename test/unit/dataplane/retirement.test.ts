import { expect, test } from "vitest";
import {
  dueToGo,
  quietMs,
  type RetirementWatches,
  retirementMaxMs,
  watchRetiring,
} from "../../../src/dataplane/retirement.ts";
import { ip } from "./gateway-states.ts";

const address = ip("10.77.0.11");

/** Looks every 100 ms at a counter that says this many packets at each time; when was the address first due? */
function dueAfter(packetsAt: (ms: number) => number, untilMs: number): number | undefined {
  let watches: RetirementWatches = new Map();
  for (let ms = 0; ms <= untilMs; ms += 100) {
    watches = watchRetiring(watches, new Map([[address, BigInt(packetsAt(ms))]]), 5_000_000 + ms);
    if (dueToGo(watches, 5_000_000 + ms).includes(address)) return ms;
  }
  return undefined;
}

test("a translation that nobody uses goes after a second", () => {
  expect(dueAfter(() => 17, 5_000)).toBe(quietMs);
});

test("one in use goes a second after its last packet", () => {
  expect(dueAfter((ms) => Math.min(ms, 2_500), 9_000)).toBe(2_500 + quietMs);
});

test("one that never falls silent goes after ten seconds", () => {
  expect(dueAfter((ms) => ms, 20_000)).toBe(retirementMaxMs);
});

test("a counter that begins anew is a use", () => {
  expect(dueAfter((ms) => (ms < 900 ? 17 : 0), 5_000)).toBe(900 + quietMs);
});

test("what is no longer counted is no longer watched", () => {
  const watches = watchRetiring(new Map(), new Map([[address, 1n]]), 0);
  expect(watchRetiring(watches, new Map(), 100).size).toBe(0);
});
