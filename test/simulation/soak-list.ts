/** What gossip and placement must hold at full size, line by line: what is run, and the figures that it is judged by. */

import { runPlacement } from "./placement/run.ts";
import { placementScenarios } from "./placement/scenarios.ts";
import { type Judged, median, runSeeds, seedsTo, violationsOf } from "./repeated.ts";
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
  readonly measure: (seeds: number, stopwatchMs: () => number, say: (text: string) => void) => Outcome;
}

const firstDetectionMaxMs = 2_000;
const disseminationMaxMs = 3_000;
const speedMin = 10;
const trafficRatioMax = 1.1;
const fewerDeathsMin = 50;
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
    measure: (seeds, stopwatchMs, say) => {
      const results = runSeeds(named("crash"), seedsTo(seeds), { nodes: 1_000 }, stopwatchMs, tell(say));
      const suspectedMs = median(results.flatMap(({ suspectedMs }) => suspectedMs?.values ?? []));
      const disseminatedMs = Math.max(...results.map(({ disseminatedMs }) => disseminatedMs?.max ?? Infinity));
      const speed = median(results.map((result) => result.speed));
      return outcome(results, [
        atMost("first detection, median", suspectedMs, firstDetectionMaxMs, "ms"),
        atMost("known everywhere after confirmation, slowest", disseminatedMs, disseminationMaxMs, "ms"),
        atLeast("simulated time in processor time", speed, speedMin, "x"),
      ]);
    },
  },
  {
    name: "traffic",
    about: "bytes per node at 5,000 nodes against 100",
    seeds: 1,
    measure: (seeds, stopwatchMs, say) => {
      const run = (nodes: number): readonly RunResult[] =>
        runSeeds(named("quiet"), seedsTo(seeds), { nodes, durationMs: trafficMs }, stopwatchMs, tell(say));
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
    name: "lifeguard",
    about: "100 nodes, 4 of them in trouble for 10 minutes, with and without Lifeguard",
    seeds: 20,
    measure: (seeds, stopwatchMs, say) => {
      const run = (name: string, lifeguard: boolean): readonly RunResult[] =>
        runSeeds(named(name), seedsTo(seeds), { lifeguard }, stopwatchMs, tell(say));
      const compared = troubles.map(({ name, count }) => {
        const [guarded, plain] = [run(name, true), run(name, false)];
        const [withIt, without] = [sumOf(guarded, count), sumOf(plain, count)];
        const figures = [
          atMost(`${name}: wrongly declared dead, with it`, withIt, Infinity, ""),
          atMost(`${name}: without it`, without, Infinity, ""),
          atLeast(`${name}: times fewer`, without / Math.max(1, withIt), fewerDeathsMin, "x"),
        ];
        return { guarded, figures };
      });
      return outcome(
        compared.flatMap(({ guarded }) => guarded),
        compared.flatMap(({ figures }) => figures),
      );
    },
  },
  {
    name: "partition",
    about: "200 nodes in two halves for 30 minutes",
    seeds: 5,
    measure: (seeds, stopwatchMs, say) => {
      const results = runSeeds(named("partition"), seedsTo(seeds), {}, stopwatchMs, tell(say));
      const healedMs = Math.max(...results.map(({ convergedMs }) => convergedMs ?? Infinity));
      return outcome(results, [atMost("healed after, slowest", healedMs, healMaxMs, "ms")]);
    },
  },
  {
    name: "scenarios",
    about: "every scenario at its own size",
    seeds: 5,
    measure: (seeds, stopwatchMs, say) => {
      const results = scenarios.flatMap((scenario) => runSeeds(scenario, seedsTo(seeds), {}, stopwatchMs, tell(say)));
      const broken = results.filter(({ violations }) => violations.length > 0).length;
      return outcome(results, [atMost("runs that broke an invariant", broken, 0, "")]);
    },
  },
  {
    name: "placement",
    about: "every scenario of placement",
    seeds: 20,
    measure: (seeds, _stopwatchMs, say) => {
      const results = placementScenarios.flatMap((scenario) =>
        seedsTo(seeds).map((seed) => {
          const result = runPlacement(scenario, seed);
          say(`${scenario.name}: seed ${seed}, ${result.violations.length} violations`);
          return result;
        }),
      );
      const broken = results.filter(({ violations }) => violations.length > 0).length;
      return outcome(results, [atMost("runs that broke an invariant", broken, 0, "")]);
    },
  },
];

/**
 * A frozen member is in trouble but alive: nobody healthy may bury it. One that is held up buries others, who are well.
 */
const troubles = [
  { name: "frozen", count: (result: RunResult): number => result.livingDeclaredDead },
  { name: "held-up", count: (result: RunResult): number => result.falsePositives },
];

function sumOf(results: readonly RunResult[], count: (result: RunResult) => number): number {
  return results.reduce((sum, result) => sum + count(result), 0);
}

function named(name: string): Scenario {
  const scenario = scenarioNamed(name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  return scenario;
}

function tell(say: (text: string) => void): (result: RunResult) => void {
  return (result) => say(summaryOf(result));
}

function outcome(results: readonly Judged[], figures: readonly Figure[]): Outcome {
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
