import { describe, expect, it } from "vitest";
import { transitions } from "../../../src/remap/machine.ts";
import { remapPhases } from "../../../src/remap/remap.ts";

const kinds = ["observed", "committed", "barrier", "counted", "owned", "abort", "cut", "release", "deadline"];

describe("the table of transitions", () => {
  it("has an entry for every phase and event", () => {
    expect(Object.keys(transitions).sort()).toEqual([...remapPhases].sort());
    for (const phase of remapPhases) expect(Object.keys(transitions[phase]).sort()).toEqual([...kinds].sort());
  });
});
