/** One scenario with many seeds, and its figures put together. */
import type { RunResult } from "./result.ts";
import { type RunOptions, runScenario } from "./run.ts";
import type { Scenario } from "./scenario.ts";

export function runSeeds(
  scenario: Scenario,
  seeds: readonly number[],
  options: Omit<RunOptions, "seed">,
  stopwatchMs: () => number,
  onRun: (result: RunResult) => void = () => {},
): readonly RunResult[] {
  return seeds.map((seed) => {
    const result = runScenario(scenario, { ...options, seed }, stopwatchMs);
    onRun(result);
    return result;
  });
}

export function seedsTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}

export type Judged = Pick<RunResult, "violations" | "replay">;

/** With every failed run's violations and the command that replays it. */
export function violationsOf(results: readonly Judged[]): readonly string[] {
  return results.flatMap(({ violations, replay }) =>
    violations.length === 0 ? [] : [...violations, `replay: ${replay}`],
  );
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
