/** Placement as a whole, in simulated time, with few seeds. `npm run simulate -- placement --seeds N` does more. */
import { describe, expect, test } from "vitest";
import { Random } from "../random.ts";
import { SimulatedCluster } from "./cluster.ts";
import { Content } from "./content.ts";
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

  test.each([
    { what: "nothing is asked for", lossOfRequests: 1, isEqual: false },
    { what: "most requests are lost", lossOfRequests: 0.8, isEqual: true },
  ])(
    "compares content with an oracle, which sees lost messages when $what: $isEqual",
    ({ lossOfRequests, isEqual }) => {
      const random = new Random(5);
      const cluster = new SimulatedCluster({ shards: 4, loss: 0, stray: 0, costOf: () => 0.01 }, random.fork(1));
      const content = new Content(cluster, 4, random.fork(2), { lossOfRequests });
      cluster.copies = content;
      cluster.join("m1", "north");
      cluster.runUntil(180_000);
      content.quiet();
      cluster.runUntil(300_000);
      expect(content.flows).toBeGreaterThan(100);
      expect(content.lost).toBeGreaterThan(0);
      expect(content.faults().length === 0).toBe(isEqual);
    },
  );
});
