import { describe, expect, it } from "vitest";
import type { RemapJson } from "../../../services/lab/demo-baton.ts";
import { acts, faultsOf, type Scene } from "../../../services/lab/demo-scene.ts";
import { coloured, liveLines, plain, progressLine, reportLines } from "../../../services/lab/demo-text.ts";
import type { KindSummary, Visit } from "../../traffic/protocol.ts";

function kind(group: string, server: string, change: Partial<KindSummary> = {}): KindSummary {
  const seen = { count: 40, states: { closed: 40 }, servers: { [server]: 40 }, failures: {} };
  return { group, kind: "push", ...seen, messages: 8_000, bytes: 40_000, longestSilenceMs: 12.4, ...change };
}

function visit(atMs: number, server: string | undefined): Visit {
  return server === undefined ? { atMs, tookMs: 2, failure: "ECONNRESET" } : { atMs, tookMs: 2, server };
}

const remap: RemapJson = {
  id: "r-1",
  address: "203.0.113.10",
  source: "vm-a",
  sourcePrivate: "10.77.0.11",
  target: "vm-b",
  targetPrivate: "10.77.0.112",
  generation: 2,
  phase: "completed",
  outcome: "completed",
  phaseAt: {
    preparing: "2026-01-01T00:00:00.000Z",
    arming: "2026-01-01T00:00:00.250Z",
    switching: "2026-01-01T00:00:00.300Z",
    draining: "2026-01-01T00:00:00.400Z",
    finalizing: "2026-01-01T00:00:09.400Z",
    completed: "2026-01-01T00:00:09.500Z",
  },
  channel: { kind: "direct", mtu: 1500, provenMtu: 1500 },
  flows: { atSwitch: 112, remaining: 0, closed: 112, superseded: 0, cut: 0, lost: 0, newAtTarget: 90 },
  followed: { packets: 120_000, bytes: 90_000_000 },
  switchMs: 9,
  waitingFor: [],
};

const good: Scene = {
  elapsedMs: 12_340,
  kinds: [kind("before", "vm-a"), kind("after", "vm-b")],
  visits: [visit(3, "vm-b"), visit(1, "vm-a"), visit(2, "vm-a")],
  remap,
  card: { privateSource: 0, resets: 0 },
};

describe("the demo's judgement", () => {
  it("has nothing to say when every connection ended in order, at the server that greeted it", () => {
    expect(faultsOf(good)).toEqual([]);
  });

  it.each<[string, Partial<Scene>, string]>([
    [
      "a connection that broke",
      { kinds: [kind("before", "vm-a", { states: { closed: 39, failed: 1 }, failures: { reset: 1 } })] },
      "1 failed: reset",
    ],
    ["a connection that has not ended", { kinds: [kind("before", "vm-a", { states: { open: 40 } })] }, "not all ended"],
    ["an old connection at the new server", { kinds: [kind("before", "vm-b")] }, "not all at vm-a"],
    ["a new connection at the old server", { kinds: [kind("after", "vm-a")] }, "not all at vm-b"],
    ["a short connection that failed", { visits: [...good.visits, visit(9, undefined)] }, "ECONNRESET"],
    ["a remap that new connections never noticed", { visits: [visit(1, "vm-a")] }, "none reached vm-b"],
    ["a new connection that went back", { visits: [...good.visits, visit(9, "vm-a")] }, "1 reached vm-a after"],
    ["a private source at the client", { card: { privateSource: 1, resets: 0 } }, "1 packets with a private source"],
    ["a reset at the client", { card: { privateSource: 0, resets: 2 } }, "2 resets"],
    [
      "a remap that was aborted",
      { remap: { ...remap, phase: "aborted", outcome: "aborted", error: { code: "NODE_TIMEOUT", message: "no ack" } } },
      "the remap is aborted: no ack",
    ],
  ])("names %s", (_what, change, expected) => {
    expect(faultsOf({ ...good, ...change }).join("\n")).toContain(expected);
  });
});

describe("the demo's report", () => {
  const lines = reportLines(good, [], plain);

  it("says for each kind which server it saw, and what baton measured", () => {
    const text = lines.join("\n");
    expect(text).toMatch(/TCP push every 20 ms +before the switch +40 +vm-a +40 +0 +40.0 kB +12 ms/);
    expect(text).toMatch(/TCP push every 20 ms +after the switch +40 +vm-b/);
    expect(text).toMatch(/short HTTP +all along +3 +vm-a 2, vm-b 1 +3 +0/);
    expect(text).toContain("preparing 250 ms, arming 50 ms, switching 100 ms, draining 9.0 s, finalizing 100 ms");
    expect(text).toContain("direct, proven with packets of 1500 bytes");
    expect(text).toContain("KEPT: every connection");
  });

  it("says NOT KEPT, and why, when something broke", () => {
    const text = reportLines(good, ["1 failed: reset"], plain).join("\n");
    expect(text).toContain("NOT KEPT\n  1 failed: reset");
    expect(text).not.toContain("KEPT: every");
  });

  it("fits a terminal of 120 columns", () => {
    for (const line of [...lines, ...liveLines(good, plain)]) expect(line.length).toBeLessThanOrEqual(120);
  });

  it("reads the same with colours as without", () => {
    const esc = String.fromCharCode(27);
    const bare = (line: string) => line.replaceAll(new RegExp(`${esc}\\[\\d+m`, "g"), "");
    expect(reportLines(good, [], coloured).map(bare)).toEqual(lines);
  });

  it("has one line for a moment where nothing can be redrawn", () => {
    expect(progressLine({ ...good, kinds: [kind("before", "vm-a", { states: { open: 38, failed: 2 } })] })).toBe(
      "12.3 s  completed   |  old 38 open at vm-a, 2 broken  |  short HTTP 2 vm-a / 1 vm-b",
    );
  });
});

it("opens every kind of connection that it promises, before the switch and after it", () => {
  expect(acts.map((act) => act.open.kind)).toEqual(["push", "websocket", "download", "upload", "echo"]);
  expect(acts.every((act) => act.before > 0 && act.after > 0)).toBe(true);
});
