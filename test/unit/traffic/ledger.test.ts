import { describe, expect, it } from "vitest";
import { Ledger } from "../../traffic/ledger.ts";
import { summarize } from "../../traffic/summary.ts";

const start = { id: 1, group: "old", kind: "push", rhythmMs: 20 } as const;

describe("what a connection saw", () => {
  it("counts as silence only what exceeds its rhythm", () => {
    const ledger = new Ledger(start, 0);
    ledger.greeted("vm-a");
    ledger.await(100);
    ledger.heard(120, 2, true);
    expect(ledger.record(140).longestSilenceMs).toBe(0);
    ledger.heard(175, 2, true);
    expect(ledger.record(180)).toMatchObject({ longestSilenceMs: 35, silentFromMs: 120, messages: 2, bytes: 4 });
  });

  it("counts a silence that has not ended", () => {
    const ledger = new Ledger(start, 0);
    ledger.await(100);
    expect(ledger.record(420).longestSilenceMs).toBe(300);
  });

  it("knows no silence while nothing is awaited", () => {
    const ledger = new Ledger(start, 0);
    ledger.await(100);
    ledger.heard(110, 2, false);
    expect(ledger.record(9_000).longestSilenceMs).toBe(0);
  });

  it("forgets earlier silences at a mark", () => {
    const ledger = new Ledger(start, 0);
    ledger.await(0);
    ledger.heard(500, 2, true);
    ledger.mark();
    ledger.heard(525, 2, true);
    expect(ledger.record(526).longestSilenceMs).toBe(5);
  });

  it("takes no other server for the one that greeted it", () => {
    const ledger = new Ledger(start, 0);
    ledger.greeted("vm-a");
    expect(() => ledger.greeted("vm-b")).toThrow("vm-b after vm-a");
  });

  it("keeps the first reason of its end", () => {
    const ledger = new Ledger(start, 0);
    ledger.end(5, "reset");
    ledger.end(6, undefined);
    expect(ledger.record(7)).toMatchObject({ state: "failed", failure: "reset", endedAtMs: 5 });
  });
});

describe("a summary", () => {
  it("has one line for each group and kind", () => {
    const records = [1, 2, 3].map((id) => {
      const ledger = new Ledger({ ...start, id, group: id === 3 ? "new" : "old" }, 0);
      ledger.greeted(id === 3 ? "vm-b" : "vm-a");
      ledger.await(0);
      ledger.heard(20 + id, 10, true);
      if (id === 2) ledger.end(30, "reset");
      return ledger.record(30);
    });
    expect(summarize(records)).toEqual([
      {
        group: "old",
        kind: "push",
        count: 2,
        states: { open: 1, failed: 1 },
        servers: { "vm-a": 2 },
        failures: { reset: 1 },
        messages: 2,
        bytes: 20,
        longestSilenceMs: 2,
      },
      {
        group: "new",
        kind: "push",
        count: 1,
        states: { open: 1 },
        servers: { "vm-b": 1 },
        failures: {},
        messages: 1,
        bytes: 10,
        longestSilenceMs: 3,
      },
    ]);
  });
});
