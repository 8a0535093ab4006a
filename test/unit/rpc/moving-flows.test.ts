/** What clients remember of flows that two shards tell of. */
import { describe, expect, test } from "vitest";
import { shardUnder } from "../../../src/placement/layout.ts";
import { ListedFlows, WatchedFlows } from "../../../src/rpc/moving-flows.ts";
import { flowOf } from "../../support/flows.ts";

const shards = 8;
const layout = { buckets: 4, before: 1 };
const flows = Array.from({ length: 64 }, (_, index) => flowOf(index + 1, "vm-a"));
const nowOf = (flow: (typeof flows)[number]) => shardUnder(flow.key, layout.buckets, shards);
const beforeOf = (flow: (typeof flows)[number]) => shardUnder(flow.key, layout.before, shards);
const going = flows.filter((flow) => nowOf(flow) !== beforeOf(flow));
const [goes] = going;
if (goes === undefined) throw new Error("no flow goes");

describe("flows that move", () => {
  test("are listed once, and remembered only where they were before (K8)", () => {
    const listed = new ListedFlows(layout, shards);
    expect(flows.every((flow) => listed.isNew(flow, beforeOf(flow)))).toBe(true);
    expect(listed.size).toBe(going.length);
    expect(listed.size).toBeLessThan(flows.length);
    expect(going.some((flow) => listed.isNew(flow, nowOf(flow)))).toBe(false);
    const others = new ListedFlows(layout, shards);
    expect(going.every((flow) => others.isNew(flow, nowOf(flow)))).toBe(true);
    expect(others.size).toBe(0);
  });

  test("are not watched to end by what their old shard tells late of the connection before (K8)", () => {
    const watched = new WatchedFlows(layout, shards);
    const later = { ...goes, openedAtMs: goes.openedAtMs + 1 };
    const ended = { ...goes, state: "closed" } as const;
    expect(watched.isCurrent(ended, beforeOf(goes))).toBe(true);
    expect(watched.isCurrent(later, nowOf(goes))).toBe(true);
    expect(watched.isCurrent(ended, beforeOf(goes))).toBe(false);
    expect(watched.isCurrent({ ...later, state: "closed" }, beforeOf(goes))).toBe(true);
    expect(watched.isCurrent({ ...later, state: "closed" }, nowOf(goes))).toBe(true);
    expect(watched.size).toBe(0);
    expect(watched.isCurrent(ended, beforeOf(goes))).toBe(true);
  });
});
