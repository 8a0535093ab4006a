/** The scenarios by name. Times are from the moment when every node knows every other. */
import { type Conditions, lan } from "./network.ts";
import type { Random } from "./random.ts";
import type { Bounds, Fault, Scenario, Step } from "./scenario.ts";

const secondMs = 1000;
const minuteMs = 60 * secondMs;

/** One bad rack's worth: enough that direct probes fail daily, too little for indirect ones to. */
const lossy: Conditions = { ...lan, loss: 0.05, duplication: 0.02, straggler: 0.01, stragglerMs: 400 };

const usual: Bounds = {
  deadEverywhereMs: 60 * secondMs,
  convergedMs: 60 * secondMs,
  livingDeclaredDeadMax: 0,
  falsePositivesMax: 0,
};

/** Who is cut off is dead to the others until it is back, and brings its own verdicts of the others along. */
const partitioned = {
  livingDeclaredDeadMax: Number.POSITIVE_INFINITY,
  falsePositivesMax: Number.POSITIVE_INFINITY,
};

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
    about: "four processes are stopped for 5 s in every 7, out of step with each other",
    nodes: 100,
    durationMs: 11 * minuteMs,
    conditions: lan,
    bounds: usual,
    plan: (nodes, random) =>
      nowAndThen(random.sample(nodes, 4), random, 7 * secondMs, {
        kind: "pause",
        forMs: 5 * secondMs,
        datagrams: "wait",
      }),
  },
  {
    name: "frozen",
    about: "four machines are frozen for 5 s in every 7: what is sent to them meanwhile is lost",
    nodes: 100,
    durationMs: 11 * minuteMs,
    conditions: lan,
    bounds: { ...usual, livingDeclaredDeadMax: 100 },
    plan: (nodes, random) =>
      nowAndThen(random.sample(nodes, 4), random, 7 * secondMs, {
        kind: "pause",
        forMs: 5 * secondMs,
        datagrams: "lost",
      }),
  },
  {
    name: "held-up",
    about: "four nodes run, but hear and say nothing for 12 s in every 14, longer than suspicion lasts",
    nodes: 100,
    durationMs: 11 * minuteMs,
    conditions: lan,
    bounds: { ...usual, livingDeclaredDeadMax: Number.POSITIVE_INFINITY, falsePositivesMax: 10 },
    plan: (nodes, random) =>
      nowAndThen(random.sample(nodes, 4), random, 14 * secondMs, { kind: "hold", forMs: 12 * secondMs }),
  },
  {
    name: "partition",
    about: "two halves apart for 30 minutes, then healed",
    nodes: 200,
    durationMs: 33 * minuteMs,
    conditions: lan,
    bounds: { ...usual, ...partitioned },
    plan: (nodes, random) => [
      at(10 * secondMs, { kind: "partition", islands: split(nodes, random, 2) }),
      at(10 * secondMs + 30 * minuteMs, { kind: "heal" }),
    ],
  },
  {
    name: "islet",
    about: "three nodes cut off for five minutes, and one alone, then healed",
    nodes: 100,
    durationMs: 8 * minuteMs,
    conditions: lan,
    bounds: { ...usual, ...partitioned, convergedMs: 2 * minuteMs },
    plan: (nodes, random) => {
      const [lone = 0, ...others] = random.sample(nodes, nodes);
      return [
        at(10 * secondMs, { kind: "partition", islands: [others.slice(3), others.slice(0, 3), [lone]] }),
        at(5 * minuteMs, { kind: "heal" }),
      ];
    },
  },
  {
    name: "short-partition",
    about: "two halves apart for 10 s, then healed",
    nodes: 100,
    durationMs: 90 * secondMs,
    conditions: lan,
    bounds: { ...usual, ...partitioned },
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
    plan: (nodes, random) => {
      const slow = random.sample(nodes, Math.ceil(nodes / 20));
      return [
        at(10 * secondMs, { kind: "slow", nodes: slow, extraDelayMs: 350 }),
        at(2 * minuteMs, { kind: "slow", nodes: slow, extraDelayMs: 0 }),
      ];
    },
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

/** For so long nodes suffer every now and then. */
const sufferMs = 10 * minuteMs;

type Lasting = { readonly forMs: number } & (
  | { readonly kind: "pause"; readonly datagrams: "wait" | "lost" }
  | { readonly kind: "hold" }
);

/** Each node in its own rhythm. */
function nowAndThen(nodes: readonly number[], random: Random, everyMs: number, lasting: Lasting): readonly Step[] {
  const steps = nodes.flatMap((node) => {
    const firstMs = random.next() * everyMs;
    const count = Math.floor((sufferMs - firstMs) / everyMs);
    return Array.from({ length: count }, (_, turn) => at(firstMs + turn * everyMs, { ...lasting, nodes: [node] }));
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
