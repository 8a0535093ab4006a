/** One run of a scenario of placement, and what it came to. */
import { Random } from "../random.ts";
import { Checks } from "./checks.ts";
import { SimulatedCluster } from "./cluster.ts";
import type { PlacementScenario } from "./scenarios.ts";

export interface PlacementResult {
  readonly scenario: string;
  readonly seed: number;
  readonly simulatedMs: number;
  readonly epochs: number;
  /** By reason. */
  readonly moves: Readonly<Record<string, number>>;
  readonly figures: Readonly<Record<string, string>>;
  readonly violations: readonly string[];
  readonly replay: string;
}

export function runPlacement(scenario: PlacementScenario, seed: number): PlacementResult {
  const random = new Random(seed);
  const cluster = new SimulatedCluster(scenario.wanted(random.fork(1)), random.fork(2));
  const checks = new Checks(cluster);
  const figures: Record<string, string> = {};
  const figure = (what: string, value: string): void => {
    figures[what] = value;
  };
  scenario.play({ cluster, checks, random: random.fork(3), figure });
  const moves: Record<string, number> = {};
  for (const { reason } of cluster.epochs.flatMap((epoch) => epoch.moves))
    moves[reason.kind] = (moves[reason.kind] ?? 0) + 1;
  return {
    scenario: scenario.name,
    seed,
    simulatedMs: cluster.nowMs,
    epochs: cluster.epochs.length,
    moves,
    figures,
    violations: checks.violations,
    replay: `npm run simulate -- placement --scenario ${scenario.name} --seed ${seed}`,
  };
}
