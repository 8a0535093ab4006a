import { describe, expect, it } from "vitest";
import { areNeighbours, cutBetween, cutRuleset, withCut, withoutCut } from "../../../services/lab/cut.ts";
import { defaultOptions } from "../../../services/lab/options.ts";
import { type Host, hostNamed, planLab } from "../../../services/lab/plan.ts";

const plan = planLab({ ...defaultOptions, gateways: 2 });
const find = (name: string): Host | undefined => hostNamed(plan, name);

function neighbours(a: string, b: string): boolean {
  const [one, other] = [find(a), find(b)];
  return one !== undefined && other !== undefined && areNeighbours(one, other);
}

describe("cutting hosts apart", () => {
  it("is the same whichever host is named first, and twice is once", () => {
    const once = withCut([], cutBetween("vm-b", "vm-a"));
    expect(withCut(once, cutBetween("vm-a", "vm-b"))).toEqual([["vm-a", "vm-b"]]);
    expect(withoutCut(once, cutBetween("vm-a", "vm-b"))).toEqual([]);
  });

  it("is possible between neighbours only", () => {
    expect(neighbours("vm-a", "tracker1")).toBe(true);
    expect(neighbours("client1", "gw1")).toBe(true);
    expect(neighbours("client1", "vm-a")).toBe(false);
    expect(neighbours("vm-a", "vm-a")).toBe(false);
  });

  it("drops both directions, on every network that the two share", () => {
    const rules = cutRuleset([cutBetween("gw1", "gw2")], find)
      .split("\n")
      .filter((line) => line.includes("drop"))
      .map((line) => line.trim());
    expect(rules).toEqual([
      'iifname "c-gw1" oifname "c-gw2" counter drop',
      'iifname "c-gw2" oifname "c-gw1" counter drop',
      'iifname "f-gw1" oifname "f-gw2" counter drop',
      'iifname "f-gw2" oifname "f-gw1" counter drop',
    ]);
  });

  it("replaces what was there before", () => {
    expect(cutRuleset([], find)).toMatch(/^table bridge baton_lab \{\}\ndelete table bridge baton_lab\n/);
    expect(cutRuleset([], find)).not.toContain("drop");
  });
});
