/** `npm run simulate -- placement`: who holds which shard, and what becomes of their content. */
import { parseArgs } from "node:util";
import { type PlacementResult, runPlacement } from "./run.ts";
import { type PlacementScenario, placementScenarios } from "./scenarios.ts";

const seedsMax = 10_000;

export const placementUsage = [
  "npm run simulate -- placement --scenario NAME [--seed N] [--seeds COUNT] [--json]",
  ...placementScenarios.map(({ name, about }) => `  ${name.padEnd(18)} ${about}`),
].join("\n");

interface Wanted {
  readonly chosen: readonly PlacementScenario[];
  readonly seeds: readonly number[];
  readonly json: boolean;
}

/** Undefined: wrong usage; else whether every invariant held. */
export function simulatePlacement(args: readonly string[]): boolean | undefined {
  const wanted = readArguments(args);
  if (wanted === undefined) return undefined;
  let failed = 0;
  for (const scenario of wanted.chosen)
    for (const seed of wanted.seeds) {
      const result = runPlacement(scenario, seed);
      if (result.violations.length > 0) failed++;
      process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : textOf(result));
    }
  return failed === 0;
}

/** Undefined: not to be understood. */
function readArguments(args: readonly string[]): Wanted | undefined {
  try {
    const string = { type: "string" } as const;
    const { values } = parseArgs({
      args: [...args],
      options: { scenario: string, seed: string, seeds: string, json: { type: "boolean" } },
    });
    const chosen = placementScenarios.filter(({ name }) => values.scenario === "all" || values.scenario === name);
    const [seed, count] = [Number(values.seed ?? 1), Number(values.seeds ?? 1)];
    if (chosen.length === 0 || !Number.isSafeInteger(seed) || !Number.isInteger(count)) return undefined;
    if (count < 1 || count > seedsMax) return undefined;
    return { chosen, seeds: Array.from({ length: count }, (_, index) => seed + index), json: values.json ?? false };
  } catch {
    return undefined;
  }
}

function textOf({ scenario, seed, simulatedMs, epochs, moves, figures, violations, replay }: PlacementResult): string {
  const line = (what: string, value: string): string => `${what.padEnd(36)} ${value}`;
  const reasons = Object.entries(moves).map(([reason, count]) => line(`moves: ${reason}`, String(count)));
  const outcome = violations.length === 0 ? "ok" : `FAILED, ${violations.length} violations`;
  const lines = [
    ...reasons,
    ...Object.entries(figures).map(([what, value]) => line(what, value)),
    ...violations,
    ...(violations.length === 0 ? [] : [`replay: ${replay}`]),
    `placement ${scenario}: seed ${seed}, ${epochs} epochs in ${(simulatedMs / 60_000).toFixed(0)} min: ${outcome}`,
  ];
  return `${lines.join("\n")}\n`;
}
