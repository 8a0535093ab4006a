/** Runs a scenario: the plan, the cluster, what is measured and what must hold. */
import { type GossipConfig, lanConfig, withoutLifeguard } from "../../src/gossip/config.ts";
import type { MemberEvent } from "../../src/gossip/member.ts";
import { alive, type Belief, Beliefs, dead, left, suspect } from "./beliefs.ts";
import { Cluster } from "./cluster.ts";
import { Invariants } from "./invariants.ts";
import { type CrashRecord, type DeathOfLiving, Measurements } from "./measurements.ts";
import { Network } from "./network.ts";
import { nameOf, type SimulatedNode } from "./node.ts";
import { Random } from "./random.ts";
import { type RunResult, spread } from "./result.ts";
import type { Fault, Scenario, Step } from "./scenario.ts";

export interface RunOptions {
  readonly seed: number;
  readonly nodes?: number;
  readonly durationMs?: number;
  readonly lifeguard?: boolean;
  readonly config?: GossipConfig;
}

/** Before this many nodes, everybody's knowledge is compared with what its events told. */
const comparedNodesMax = 500;
const namedMax = 3;

class Run {
  readonly #scenario: Scenario;
  readonly #options: RunOptions;
  readonly #nodes: number;
  readonly #durationMs: number;
  readonly #beliefs: Beliefs;
  readonly #measurements: Measurements;
  readonly #invariants: Invariants;
  readonly #cluster: Cluster;
  readonly #indexes: ReadonlyMap<string, number>;
  #lastFaultMs = 0;

  constructor(scenario: Scenario, options: RunOptions) {
    this.#scenario = scenario;
    this.#options = options;
    const nodes = options.nodes ?? scenario.nodes;
    this.#nodes = nodes;
    this.#durationMs = options.durationMs ?? scenario.durationMs;
    this.#beliefs = new Beliefs(nodes);
    this.#measurements = new Measurements(this.#beliefs);
    this.#invariants = new Invariants(nodes);
    this.#indexes = new Map(Array.from({ length: nodes }, (_, index) => [nameOf(index), index]));
    const random = new Random(options.seed);
    const steps = scenario.plan(nodes, random.fork(streams.plan));
    const config = options.config ?? lanConfig;
    this.#cluster = new Cluster({
      nodes,
      config: options.lifeguard === false ? withoutLifeguard(config) : config,
      network: new Network(nodes, scenario.conditions, random.fork(streams.network)),
      random: random.fork(streams.cluster),
      onEvent: (holder, event, nowMs) => this.#hear(holder, event, nowMs),
      onFault: (fault, nowMs) => this.#suffer(fault, nowMs),
      onProcess: (node, change, nowMs) => this.#process(node, change, nowMs),
      onSample: (nowMs) => this.#invariants.queuesAreBounded(this.#cluster.nodes, nowMs),
    });
    this.#plan(steps);
  }

  run(stopwatchMs: () => number): RunResult {
    for (let holder = 0; holder < this.#nodes; holder++)
      for (let subject = 0; subject < this.#nodes; subject++) this.#beliefs.believe(holder, subject, alive);
    this.#cluster.startSettled();
    this.#measurements.judge(0);
    const [startMs, startEvents] = [stopwatchMs(), this.#cluster.handled];
    this.#cluster.runUntil(this.#durationMs);
    const tookMs = stopwatchMs() - startMs;
    this.#judgeEnd();
    return this.#result(tookMs, this.#cluster.handled - startEvents);
  }

  #plan(steps: readonly Step[]): void {
    for (const { atMs, fault } of steps) {
      if (atMs > this.#durationMs) continue;
      this.#cluster.plan(atMs, fault);
      this.#lastFaultMs = Math.max(this.#lastFaultMs, "forMs" in fault ? atMs + fault.forMs : atMs);
      if (fault.kind !== "heal" && fault.kind !== "conditions") this.#measurements.touch(touchedBy(fault));
    }
  }

  #hear(holder: number, event: MemberEvent, nowMs: number): void {
    const subject = this.#indexes.get(event.member.profile.name);
    const belief = beliefs[event.kind];
    if (event.kind === "conflict") this.#invariants.violate(nowMs, `node-${holder} saw a conflict about a name`);
    if (subject === undefined || subject === holder || belief === undefined) return;
    this.#invariants.incarnationsGrow(holder, subject, event, nowMs);
    this.#measurements.believed(holder, subject, belief, nowMs);
  }

  #suffer(fault: Fault, nowMs: number): void {
    if (fault.kind === "crash") {
      this.#measurements.crashed(fault.nodes, nowMs);
      this.#beliefs.setTruths(fault.nodes, "crashed");
    } else if (fault.kind === "leave") {
      this.#beliefs.setTruths(fault.nodes, "left");
    } else if (fault.kind === "pause") {
      this.#beliefs.setTruths(fault.nodes, "paused");
    }
    this.#measurements.judge(nowMs);
  }

  #process(node: number, change: "started" | "resumed" | "departed", nowMs: number): void {
    if (change === "departed") return;
    if (change === "started") {
      this.#beliefs.forget(node);
      this.#invariants.forget(node);
      this.#measurements.started(node, nowMs);
    }
    this.#beliefs.setTruths([node], "up");
    this.#measurements.judge(nowMs);
  }

  #judgeEnd(): void {
    const { bounds } = this.#scenario;
    const endMs = this.#durationMs;
    const { convergedSinceMs, falsePositives, livingDeclaredDead, deathsOfLiving } = this.#measurements;
    const violate = (what: string) => this.#invariants.violate(endMs, what);
    if (this.#lastFaultMs + bounds.convergedMs <= endMs) {
      const tookMs = (convergedSinceMs ?? Number.POSITIVE_INFINITY) - this.#lastFaultMs;
      if (tookMs > bounds.convergedMs) violate(`views converged after ${tookMs} ms${this.#nameWrong()}`);
    }
    for (const crash of this.#measurements.crashes) this.#judgeCrash(crash, bounds.deadEverywhereMs);
    if (livingDeclaredDead > bounds.livingDeclaredDeadMax)
      violate(
        `living members were declared dead at healthy ones ${livingDeclaredDead} times: ${named(deathsOfLiving)}`,
      );
    if (falsePositives > bounds.falsePositivesMax) {
      const ofHealthy = deathsOfLiving.filter(({ isHealthy }) => isHealthy);
      violate(`healthy members were declared dead at such ${falsePositives} times: ${named(ofHealthy)}`);
    }
    if (this.#nodes <= comparedNodesMax) for (const node of this.#cluster.nodes) this.#compare(node);
  }

  #judgeCrash({ node, atMs, everywhereMs, startedMs }: CrashRecord, boundMs: number): void {
    const untilMs = Math.min(this.#durationMs, startedMs ?? Number.POSITIVE_INFINITY);
    if (untilMs - atMs < boundMs || (everywhereMs ?? Number.POSITIVE_INFINITY) - atMs <= boundMs) return;
    this.#invariants.violate(atMs + boundMs, `the crash of node-${node} is not known everywhere`);
  }

  #nameWrong(): string {
    const some = this.#beliefs.wrongOnes(namedMax).map(({ holder, subject }) => `node-${holder} of node-${subject}`);
    return some.length === 0 ? "" : `; wrong: ${some.join(", ")}, ${this.#beliefs.wrong} in all`;
  }

  #compare(node: SimulatedNode): void {
    if (node.process !== "running") return;
    const beliefOf = (name: string): Belief | undefined => {
      const subject = this.#indexes.get(name);
      return subject === undefined ? undefined : this.#beliefs.beliefOf(node.index, subject);
    };
    this.#invariants.eventsTellAll(node, beliefOf, this.#durationMs);
  }

  #result(elapsedMs: number, events: number): RunResult {
    const measured = this.#measurements;
    const seconds = this.#durationMs / 1000;
    const perNode = (count: number): number => count / seconds / this.#nodes;
    const { datagrams, datagramBytes, streamBytes } = this.#cluster.traffic;
    const convergedMs = (measured.convergedSinceMs ?? Number.NaN) - this.#lastFaultMs;
    return {
      scenario: this.#scenario.name,
      seed: this.#options.seed,
      nodes: this.#nodes,
      lifeguard: this.#options.lifeguard !== false,
      simulatedMs: this.#durationMs,
      elapsedMs,
      speed: this.#durationMs / elapsedMs,
      events,
      crashes: measured.crashes.length,
      suspectedMs: spread(since(measured.crashes, "atMs", "suspectedMs")),
      confirmedMs: spread(since(measured.crashes, "atMs", "confirmedMs")),
      disseminatedMs: spread(since(measured.crashes, "confirmedMs", "everywhereMs")),
      convergedMs: Number.isNaN(convergedMs) ? undefined : Math.max(0, convergedMs),
      falsePositives: measured.falsePositives,
      livingDeclaredDead: measured.livingDeclaredDead,
      suspicions: measured.suspicions,
      traffic: {
        datagrams: perNode(datagrams),
        datagramBytes: perNode(datagramBytes),
        streamBytes: perNode(streamBytes),
        bytes: perNode(datagramBytes + streamBytes),
      },
      violations: this.#invariants.violations,
      replay: replayOf(this.#scenario, this.#options),
    };
  }
}

/** `stopwatchMs` is for the figures of speed alone. */
export function runScenario(scenario: Scenario, options: RunOptions, stopwatchMs: () => number): RunResult {
  return new Run(scenario, options).run(stopwatchMs);
}

export function replayOf(scenario: Scenario, { seed, nodes, durationMs, lifeguard }: RunOptions): string {
  const parts = [`npm run simulate -- gossip --scenario ${scenario.name} --seed ${seed}`];
  parts.push(`--nodes ${nodes ?? scenario.nodes}`);
  if (durationMs !== undefined) parts.push(`--seconds ${durationMs / 1000}`);
  if (lifeguard === false) parts.push("--without-lifeguard");
  return parts.join(" ");
}

/** Generators of their own, so that a change of one part leaves the others' chance alone. */
const streams = { plan: 1, network: 2, cluster: 3 } as const;

const beliefs: Partial<Record<MemberEvent["kind"], Belief>> = {
  joined: alive,
  refuted: alive,
  suspect,
  dead,
  left,
};

/** Of a partition: all but its largest part. */
function touchedBy(fault: Exclude<Fault, { kind: "heal" | "conditions" }>): readonly number[] {
  switch (fault.kind) {
    case "partition":
      return fault.islands
        .toSorted((a, b) => b.length - a.length)
        .slice(1)
        .flat();
    case "cut":
      return [...fault.from, ...fault.to];
    default:
      return fault.nodes;
  }
}

function named(deaths: readonly DeathOfLiving[]): string {
  const some = deaths.slice(0, namedMax);
  return some
    .map(({ holder, subject, atMs }) => `node-${subject} at node-${holder} at ${atMs.toFixed(0)} ms`)
    .join(", ");
}

function since(
  crashes: readonly CrashRecord[],
  from: "atMs" | "confirmedMs",
  to: "suspectedMs" | "confirmedMs" | "everywhereMs",
): readonly number[] {
  return crashes.flatMap((crash) => {
    const [fromMs, toMs] = [crash[from], crash[to]];
    return fromMs === undefined || toMs === undefined ? [] : [toMs - fromMs];
  });
}
