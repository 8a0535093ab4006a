import { describe, expect, it } from "vitest";
import { EmptiedSets } from "../../../services/agent/emptied-sets.ts";
import type { AgentState } from "../../../src/node/state.ts";
import { agentState, follow, ip, plain } from "../dataplane/agent-states.ts";

function following(...loadIds: string[]): AgentState {
  const follows = loadIds.map((loadId) => ({ ...follow, loadId, unknown: "reset" as const, settled: true }));
  return agentState([{ ...plain, private: ip("10.77.0.12"), follows }], []);
}

function settled(state: AgentState): boolean[] {
  return state.addresses.flatMap(({ follows }) => follows.map((entry) => entry.settled));
}

describe("sets that a reboot has emptied", () => {
  it("hold back the policy on unknown packets, each until it is filled (O6)", () => {
    const emptied = new EmptiedSets(following("one", "two"));
    expect(settled(emptied.spare(following("one", "two")))).toEqual([false, false]);
    expect(emptied.filled(["two", "other"])).toBe(true);
    expect(settled(emptied.spare(following("one", "two")))).toEqual([false, true]);
    expect(emptied.filled(["one", "two"])).toBe(true);
    expect(settled(emptied.spare(following("one", "two")))).toEqual([true, true]);
    expect(emptied.filled(["one", "two"])).toBe(false);
  });

  it("say nothing about flows that are followed since", () => {
    expect(settled(new EmptiedSets(following("one")).spare(following("new")))).toEqual([true]);
  });

  it("are none after a mere restart", () => {
    const state = following("one");
    expect(new EmptiedSets().spare(state)).toBe(state);
  });
});
