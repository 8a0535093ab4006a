/** What gossip must hold at full size, line by line: what is run, and the figures that it is judged by. */

import { median, runSeeds, seedsTo, violationsOf } from "./repeated.ts";
import { summaryOf } from "./report.ts";
import type { RunResult } from "./result.ts";
import type { Scenario } from "./scenario.ts";
import { scenarioNamed, scenarios } from "./scenarios.ts";

export interface Figure {
  readonly what: string;
  readonly value: string;
  readonly unit: string;
  readonly limit: string;
  readonly isWithin: boolean;
}

export interface Outcome {
  readonly figures: readonly Figure[];
  readonly violations: readonly string[];
}

export interface SoakLine {
  readonly name: string;
  readonly about: string;
  readonly seeds: number;
  readonly measure: (seeds: number, elapsedMs: () => number, say: (text: string) => void) => Outcome;
}

const firstDetectionMaxMs = 2_000;
const disseminationMaxMs = 3_000;
const speedMin = 10;
const trafficRatioMax = 1.1;
const fewerFalsePositivesMin = 50;
const healMaxMs = 60_000;
/** Push/pull of the largest cluster comes round about once. */
const trafficMs = 300_000;
const smallCluster = 100;
const largeCluster = 5_000;

export const soakList: readonly SoakLine[] = [
  {
    name: "crash",
    about: "1,000 nodes, ten crashes a run",
    seeds: 20,
    measure: (seeds, elapsedMs, say) => {
      const results = runSeeds(named("crash"), seedsTo(seeds), { nodes: 1_000 }, elapsedMs, tell(say));
      const suspectedMs = median(results.flatMap(({ suspectedMs }) => suspectedMs?.values ?? []));
      const disseminatedMs = Math.max(...results.map(({ disseminatedMs }) => disseminatedMs?.max ?? Infinity));
      const speed = median(results.map((result) => result.speed));
      return outcome(results, [
        atMost("first detection, median", suspectedMs, firstDetectionMaxMs, "ms"),
        atMost("known everywhere after confirmation, slowest", disseminatedMs, disseminationMaxMs, "ms"),
        atLeast("simulated time in real time", speed, speedMin, "x"),
      ]);
    },
  },
  {
    name: "traffic",
    about: "bytes per node at 5,000 nodes against 100",
    seeds: 1,
    measure: (seeds, elapsedMs, say) => {
      const run = (nodes: number): readonly RunResult[] =>
        runSeeds(named("quiet"), seedsTo(seeds), { nodes, durationMs: trafficMs }, elapsedMs, tell(say));
      const [small, large] = [run(smallCluster), run(largeCluster)];
      const bytesOf = (results: readonly RunResult[]): number => median(results.map(({ traffic }) => traffic.bytes));
      return outcome(
        [...small, ...large],
        [
          atMost("bytes a second and node at 100 nodes", bytesOf(small), Infinity, "bytes/s"),
          atMost("bytes a second and node at 5,000 nodes", bytesOf(large), Infinity, "bytes/s"),
          atMost("ratio", bytesOf(large) / bytesOf(small), trafficRatioMax, ""),
        ],
      );
    },
  },
  {
    name: "paused",
    about: "100 nodes, 4 of them stopped 5 s in every 7, with and without Lifeguard",
    seeds: 20,
    measure: (seeds, elapsedMs, say) => {
      const run = (lifeguard: boolean): readonly RunResult[] =>
        runSeeds(named("paused"), seedsTo(seeds), { lifeguard }, elapsedMs, tell(say));
      const [guarded, plain] = [run(true), run(false)];
      const countOf = (results: readonly RunResult[]): number =>
        results.reduce((sum, { falsePositives }) => sum + falsePositives, 0);
      const [withCount, withoutCount] = [countOf(guarded), countOf(plain)];
      return outcome(guarded, [
        atMost("false positives with Lifeguard", withCount, Infinity, ""),
        atMost("false positives without", withoutCount, Infinity, ""),
        atLeast("times fewer", withoutCount / Math.max(1, withCount), fewerFalsePositivesMin, "x"),
      ]);
    },
  },
  {
    name: "partition",
    about: "200 nodes in two halves for 30 minutes",
    seeds: 5,
    measure: (seeds, elapsedMs, say) => {
      const results = runSeeds(named("partition"), seedsTo(seeds), {}, elapsedMs, tell(say));
      const healedMs = Math.max(...results.map(({ convergedMs }) => convergedMs ?? Infinity));
      return outcome(results, [atMost("healed after, slowest", healedMs, healMaxMs, "ms")]);
    },
  },
  {
    name: "scenarios",
    about: "every scenario at its own size",
    seeds: 5,
    measure: (seeds, elapsedMs, say) => {
      const results = scenarios.flatMap((scenario) => runSeeds(scenario, seedsTo(seeds), {}, elapsedMs, tell(say)));
      const broken = results.filter(({ violations }) => violations.length > 0).length;
      return outcome(results, [atMost("runs that broke an invariant", broken, 0, "")]);
    },
  },
];

function named(name: string): Scenario {
  const scenario = scenarioNamed(name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  return scenario;
}

function tell(say: (text: string) => void): (result: RunResult) => void {
  return (result) => say(summaryOf(result));
}

function outcome(results: readonly RunResult[], figures: readonly Figure[]): Outcome {
  return { figures, violations: violationsOf(results) };
}

function atMost(what: string, value: number, limit: number, unit: string): Figure {
  const text = limit === Infinity ? "" : `at most ${limit}`;
  return { what, value: rounded(value), unit, limit: text, isWithin: value <= limit };
}

function atLeast(what: string, value: number, limit: number, unit: string): Figure {
  return { what, value: rounded(value), unit, limit: `at least ${limit}`, isWithin: value >= limit };
}

function rounded(value: number): string {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toFixed(2);
}
