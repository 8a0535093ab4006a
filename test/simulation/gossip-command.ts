/** `npm run simulate -- gossip`: one scenario or all. */
import { parseArgs } from "node:util";
import { reportOf, summaryOf } from "./report.ts";
import { runScenario } from "./run.ts";
import type { Scenario } from "./scenario.ts";
import { scenarioNamed, scenarios } from "./scenarios.ts";
import { processorMs } from "./stopwatch.ts";

const nodesMin = 3;
const nodesMax = 5000;
const secondsMax = 86_400;

interface Wanted {
  readonly chosen: readonly Scenario[];
  readonly seed: number;
  readonly nodes: number | undefined;
  readonly seconds: number | undefined;
  readonly lifeguard: boolean;
  readonly json: boolean;
}

export const gossipUsage = [
  "npm run simulate -- gossip --scenario NAME [--seed N] [--nodes N] [--seconds N] [--without-lifeguard] [--json]",
  ...scenarios.map(({ name, about, nodes }) => `  ${name.padEnd(18)} ${about} (${nodes} nodes)`),
].join("\n");

/** Undefined: not to be understood. */
function readArguments(args: readonly string[]): Wanted | undefined {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        scenario: { type: "string" },
        seed: { type: "string" },
        nodes: { type: "string" },
        seconds: { type: "string" },
        "without-lifeguard": { type: "boolean" },
        json: { type: "boolean" },
      },
    });
    const named = scenarioNamed(values.scenario ?? "");
    const chosen = values.scenario === "all" ? scenarios : named === undefined ? [] : [named];
    const seed = Number(values.seed ?? 1);
    const nodes = values.nodes === undefined ? undefined : Number(values.nodes);
    const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
    if (chosen.length === 0 || !Number.isSafeInteger(seed)) return undefined;
    if (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= nodesMin && nodes <= nodesMax)) return undefined;
    if (seconds !== undefined && !(seconds >= 1 && seconds <= secondsMax)) return undefined;
    return {
      chosen,
      seed,
      nodes,
      seconds,
      lifeguard: values["without-lifeguard"] !== true,
      json: values.json ?? false,
    };
  } catch {
    return undefined;
  }
}

/** Undefined: wrong usage; else whether every invariant held. */
export function simulateGossip(args: readonly string[]): boolean | undefined {
  const wanted = readArguments(args);
  if (wanted === undefined) return undefined;
  let failed = false;
  for (const scenario of wanted.chosen) {
    const result = runScenario(
      scenario,
      {
        seed: wanted.seed,
        lifeguard: wanted.lifeguard,
        ...(wanted.nodes === undefined ? {} : { nodes: wanted.nodes }),
        ...(wanted.seconds === undefined ? {} : { durationMs: wanted.seconds * 1000 }),
      },
      processorMs,
    );
    if (result.violations.length > 0) failed = true;
    process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : `${reportOf(result)}\n${summaryOf(result)}\n`);
  }
  return !failed;
}
