/** `npm run simulate -- gossip`: one scenario or all, in simulated time. Exit code 1: an invariant was broken. */
import { parseArgs } from "node:util";
import { reportOf, summaryOf } from "./report.ts";
import { runScenario } from "./run.ts";
import type { Scenario } from "./scenario.ts";
import { scenarioNamed, scenarios } from "./scenarios.ts";
import { processorMs } from "./stopwatch.ts";

const wrongUsage = 2;
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

function usage(): string {
  const names = scenarios.map(({ name, about, nodes }) => `  ${name.padEnd(18)} ${about} (${nodes} nodes)`);
  return `usage: npm run simulate -- gossip --scenario NAME [--seed N] [--nodes N] [--seconds N] [--without-lifeguard] [--json]

Scenarios, or  all :
${names.join("\n")}
`;
}

/** Undefined: not to be understood. */
function readArguments(): Wanted | undefined {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
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
    if (positionals.join(" ") !== "gossip" || chosen.length === 0 || !Number.isSafeInteger(seed)) return undefined;
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

function main(): number {
  const wanted = readArguments();
  if (wanted === undefined) {
    process.stderr.write(usage());
    return wrongUsage;
  }
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
  return failed ? 1 : 0;
}

process.exitCode = main();
