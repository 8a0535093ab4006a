/** The scenarios by name. Times are from the moment when every node knows every other. */
import { type Conditions, lan } from "./network.ts";
import type { Random } from "./random.ts";
import type { Bounds, Fault, Scenario, Step } from "./scenario.ts";

const secondMs = 1000;
const minuteMs = 60 * secondMs;

/** One bad rack's worth: enough that direct probes fail daily, too little for indirect ones to. */
const lossy: Conditions = { ...lan, loss: 0.05, duplication: 0.02, straggler: 0.01, stragglerMs: 400 };

const usual: Bounds = { deadEverywhereMs: 60 * secondMs, convergedMs: 60 * secondMs, falsePositivesMax: 0 };

export const scenarios: readonly Scenario[] = [
  {
    name: "quiet",
    about: "nothing happens but changes of load",
    nodes: 100,
    durationMs: minuteMs,
    conditions: lan,
    bounds: usual,
    plan: () => [],
  },
  {
    name: "crash",
    about: "one node in a hundred, at least one, crashes, one every 2 s",
    nodes: 1000,
    durationMs: 90 * secondMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => {
      const crashing = random.sample(nodes, Math.min(10, Math.ceil(nodes / 100)));
      return crashing.map((node, turn) => at((10 + 2 * turn) * secondMs, { kind: "crash", nodes: [node] }));
    },
  },
  {
    name: "paused",
    about: "four nodes are stopped for 5 s in every 7, out of step with each other",
    nodes: 100,
    durationMs: 11 * minuteMs,
    conditions: lan,
    bounds: { ...usual, falsePositivesMax: 50 },
    plan: (nodes, random) => pauses(random.sample(nodes, 4), random, 10 * minuteMs),
  },
  {
    name: "partition",
    about: "two halves apart for 30 minutes, then healed",
    nodes: 200,
    durationMs: 33 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => [
      at(10 * secondMs, { kind: "partition", islands: split(nodes, random, 2) }),
      at(10 * secondMs + 30 * minuteMs, { kind: "heal" }),
    ],
  },
  {
    name: "short-partition",
    about: "two halves apart for 10 s, then healed",
    nodes: 100,
    durationMs: 90 * secondMs,
    conditions: lan,
    bounds: { ...usual, falsePositivesMax: Number.POSITIVE_INFINITY },
    plan: (nodes, random) => [
      at(5 * secondMs, { kind: "partition", islands: split(nodes, random, 2) }),
      at(15 * secondMs, { kind: "heal" }),
    ],
  },
  {
    name: "churn",
    about: "every 2 s a node crashes, leaves or comes back, for 5 minutes",
    nodes: 100,
    durationMs: 7 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => churn(nodes, random, 5 * minuteMs),
  },
  {
    name: "lossy",
    about: "5 % loss each way, 2 % duplicates, stragglers; one crash",
    nodes: 200,
    durationMs: 3 * minuteMs,
    conditions: lossy,
    bounds: usual,
    plan: (nodes, random) => [at(30 * secondMs, { kind: "crash", nodes: random.sample(nodes, 1) })],
  },
  {
    name: "one-way",
    about: "two nodes can send to nobody of a third of the cluster, but hear them",
    nodes: 100,
    durationMs: 4 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => {
      const chosen = random.sample(nodes, 2 + Math.floor(nodes / 3));
      return [
        at(10 * secondMs, { kind: "cut", from: chosen.slice(0, 2), to: chosen.slice(2) }),
        at(2 * minuteMs, { kind: "heal" }),
      ];
    },
  },
  {
    name: "slow",
    about: "one node in twenty answers 700 ms late: beyond the timeout of a direct probe",
    nodes: 100,
    durationMs: 3 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => [
      at(10 * secondMs, { kind: "slow", nodes: random.sample(nodes, Math.ceil(nodes / 20)), extraDelayMs: 350 }),
    ],
  },
  {
    name: "udp-blocked",
    about: "UDP of one node in ten is blocked for a minute, TCP works",
    nodes: 100,
    durationMs: 3 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) => {
      const blocked = random.sample(nodes, Math.ceil(nodes / 10));
      return [
        at(10 * secondMs, { kind: "block-udp", nodes: blocked, blocked: true }),
        at(70 * secondMs, { kind: "block-udp", nodes: blocked, blocked: false }),
      ];
    },
  },
  {
    name: "rolling-restart",
    about: "every node once: crashed, and back 3 s later, one every 2 s",
    nodes: 50,
    durationMs: 3 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes) =>
      inOrder(
        Array.from({ length: nodes }, (_, node) => [
          at((5 + 2 * node) * secondMs, { kind: "crash", nodes: [node] }),
          at((8 + 2 * node) * secondMs, { kind: "start", nodes: [node] }),
        ]).flat(),
      ),
  },
];

export function scenarioNamed(name: string): Scenario | undefined {
  return scenarios.find((scenario) => scenario.name === name);
}

function at(atMs: number, fault: Fault): Step {
  return { atMs, fault };
}

function inOrder(steps: readonly Step[]): readonly Step[] {
  return steps.toSorted((a, b) => a.atMs - b.atMs);
}

function split(nodes: number, random: Random, parts: number): readonly (readonly number[])[] {
  const shuffled = random.sample(nodes, nodes);
  return Array.from({ length: parts }, (_, part) => shuffled.filter((_, index) => index % parts === part));
}

const pauseMs = 5 * secondMs;
const pauseEveryMs = 7 * secondMs;

function pauses(nodes: readonly number[], random: Random, untilMs: number): readonly Step[] {
  const steps = nodes.flatMap((node) => {
    const firstMs = random.next() * pauseEveryMs;
    const count = Math.floor((untilMs - firstMs) / pauseEveryMs);
    return Array.from({ length: count }, (_, turn) =>
      at(firstMs + turn * pauseEveryMs, { kind: "pause", nodes: [node], forMs: pauseMs }),
    );
  });
  return inOrder(steps);
}

const churnEveryMs = 2 * secondMs;
/** So many may be away at once, as a share of the nodes. */
const churnAwayMax = 0.2;

function churn(nodes: number, random: Random, untilMs: number): readonly Step[] {
  const steps: Step[] = [];
  const away: number[] = [];
  const present = random.sample(nodes, nodes);
  for (let atMs = churnEveryMs; atMs < untilMs; atMs += churnEveryMs) {
    const returns = away.length > 0 && random.chance(away.length / (nodes * churnAwayMax));
    const from = returns ? away : present;
    const node = from.splice(random.below(from.length), 1)[0];
    if (node === undefined) continue;
    (returns ? present : away).push(node);
    const kind = returns ? "start" : random.chance(0.5) ? "crash" : "leave";
    steps.push(at(atMs, { kind, nodes: [node] }));
  }
  return steps;
}
