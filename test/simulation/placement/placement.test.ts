/** Placement as a whole, in simulated time, with few seeds. `npm run simulate -- placement --seeds N` does more. */
import { describe, expect, test } from "vitest";
import { runPlacement } from "./run.ts";
import { type PlacementScenario, placementScenarios } from "./scenarios.ts";

function scenario(name: string): PlacementScenario {
  const found = placementScenarios.find((it) => it.name === name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

describe("the placement of shards", { timeout: 60_000 }, () => {
  test.each(placementScenarios)("keeps every invariant in the scenario $name: $about", (it) => {
    const { violations, replay } = runPlacement(it, 1);
    expect(violations, replay).toEqual([]);
  });

  test("is the same for the same seed, and another for another", () => {
    const figures = (seed: number) => {
      const { replay: _, seed: __, ...rest } = runPlacement(scenario("growth"), seed);
      return rest;
    };
    expect(figures(1)).toEqual(figures(1));
    expect(figures(1)).not.toEqual(figures(2));
  });

  test("names what breaks an invariant with the command that repeats it: nothing is ever relieved", () => {
    const busy = scenario("busy");
    const idle: PlacementScenario = { ...busy, wanted: (random) => ({ ...busy.wanted(random), costOf: () => 0 }) };
    const { violations, replay } = runPlacement(idle, 3);
    expect(violations.join("\n")).toMatch(/m2 gave nothing away within 600 s/);
    expect(replay).toBe("npm run simulate -- placement --scenario busy --seed 3");
  });
});
