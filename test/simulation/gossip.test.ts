/** Gossip as a whole, in simulated time, with few seeds. `npm run soak` does the same at full size. */
import { describe, expect, test } from "vitest";
import { lanConfig } from "../../src/gossip/config.ts";
import { median, runSeeds, seedsTo, violationsOf } from "./repeated.ts";
import type { RunResult } from "./result.ts";
import { type RunOptions, runScenario } from "./run.ts";
import type { Scenario } from "./scenario.ts";
import { scenarioNamed, scenarios } from "./scenarios.ts";
import { processorMs } from "./stopwatch.ts";

const timeoutMs = 60_000;
const secondMs = 1_000;
/** Of simulated time. */
const longestMs = 420 * secondMs;

function scenario(name: string): Scenario {
  const found = scenarioNamed(name);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

function run(name: string, options: RunOptions): RunResult {
  return runScenario(scenario(name), options, processorMs);
}

function sum(results: readonly RunResult[], count: (result: RunResult) => number): number {
  return results.reduce((total, result) => total + count(result), 0);
}

describe("a simulated cluster", { timeout: timeoutMs }, () => {
  test("is the same for the same seed, to the last event, and another for another", () => {
    const figures = (seed: number): unknown => {
      const { elapsedMs: _, speed: __, replay: ___, ...repeatable } = run("churn", { seed, durationMs: 60 * secondMs });
      return { ...repeatable, seed: 0 };
    };
    expect(figures(1)).toEqual(figures(1));
    expect(figures(1)).not.toEqual(figures(2));
  });

  const quick = scenarios.filter(({ name }) => !["crash", "partition", "held-up"].includes(name));
  test.each(quick.map(({ name }) => name))("keeps every invariant in the scenario %s", (name) => {
    const durationMs = Math.min(longestMs, scenario(name).durationMs);
    expect(violationsOf(runSeeds(scenario(name), seedsTo(1), { durationMs }, processorMs))).toEqual([]);
  });

  test("notices a crash within two seconds, and everybody knows within three of its confirmation", () => {
    const results = runSeeds(scenario("crash"), seedsTo(2), { nodes: 300, durationMs: 40 * secondMs }, processorMs);
    expect(violationsOf(results)).toEqual([]);
    expect(median(results.flatMap(({ suspectedMs }) => suspectedMs?.values ?? []))).toBeLessThanOrEqual(2 * secondMs);
    for (const { crashes, disseminatedMs } of results) {
      expect(disseminatedMs?.values).toHaveLength(crashes);
      expect(disseminatedMs?.max).toBeLessThanOrEqual(3 * secondMs);
    }
  });

  test("costs a node the same in a cluster ten times larger, with loads that change", () => {
    const bytesOf = (nodes: number): number =>
      run("quiet", { seed: 1, nodes, durationMs: 60 * secondMs }).traffic.bytes;
    expect(bytesOf(1_000) / bytesOf(100)).toBeLessThanOrEqual(1.1);
  });

  test("heals by itself within a minute after two halves were apart for half an hour", () => {
    const { violations, convergedMs } = run("partition", { seed: 1, nodes: 40 });
    expect(violations).toEqual([]);
    expect(convergedMs).toBeLessThanOrEqual(60 * secondMs);
  });

  test("buries frozen members fifty times more seldom with Lifeguard than without", () => {
    const deaths = (lifeguard: boolean): number => {
      const results = runSeeds(scenario("frozen"), seedsTo(2), { lifeguard, durationMs: 120 * secondMs }, processorMs);
      return sum(results, ({ livingDeclaredDead }) => livingDeclaredDead);
    };
    expect(deaths(false)).toBeGreaterThan(50 * Math.max(1, deaths(true)));
  });

  test("believes a member that hears nothing fifty times more seldom with Lifeguard than without", () => {
    const deaths = (lifeguard: boolean): number =>
      run("held-up", { seed: 1, lifeguard, durationMs: 120 * secondMs }).falsePositives;
    expect(deaths(false)).toBeGreaterThan(50 * Math.max(1, deaths(true)));
  });
});

/** Each of these fails when the machine loses the rule that it names; the figure without it stands beside. */
describe("a rule that is worth its price", { timeout: timeoutMs }, () => {
  const suspicionsOf = (name: string, options: RunOptions): number => run(name, options).suspicions;

  test("gossip to the dead: halves that were apart for ten seconds are one within fifteen (without it 40 s)", () => {
    const results = runSeeds(scenario("short-partition"), seedsTo(3), {}, processorMs);
    expect(median(results.map(({ convergedMs }) => convergedMs ?? Infinity))).toBeLessThanOrEqual(15 * secondMs);
  });

  test("awareness: a member that hears nothing comes to doubt itself, and accuses few (without it five times more)", () => {
    expect(suspicionsOf("held-up", { seed: 1, durationMs: 200 * secondMs })).toBeLessThan(25_000);
  });

  test("indirect probes: with 5 % loss each way hardly anybody is suspected (without them a hundred times more)", () => {
    expect(suspicionsOf("lossy", { seed: 1 })).toBeLessThan(3_000);
  });

  test("speaking up after a freeze: no frozen member is buried (without it hundreds of times)", () => {
    const { livingDeclaredDead } = run("frozen", { seed: 1, durationMs: 200 * secondMs });
    expect(livingDeclaredDead).toBeLessThanOrEqual(1);
  });
});

describe("what breaks an invariant", { timeout: timeoutMs }, () => {
  test("is named with the command that repeats it", () => {
    const deaf = { ...lanConfig, indirectProbes: 0, streamFallback: false, suspicionMultiplier: 0.1 };
    const { violations, replay } = run("lossy", { seed: 3, nodes: 50, config: deaf });
    expect(violations.join("\n")).toMatch(/healthy members were declared dead at such \d+ times: node-\d+ at node-\d+/);
    expect(replay).toBe("npm run simulate -- gossip --scenario lossy --seed 3 --nodes 50");
  });

  test("is seen when crashes are not: nobody probes", () => {
    const blind = { ...lanConfig, probeIntervalMs: 3_600_000 };
    const { violations } = run("crash", { seed: 1, nodes: 20, config: blind });
    expect(violations.join("\n")).toMatch(/the crash of node-\d+ is not known everywhere/);
    expect(violations.join("\n")).toMatch(/views converged after Infinity ms; wrong: node-\d+ of node-\d+/);
  });
});
