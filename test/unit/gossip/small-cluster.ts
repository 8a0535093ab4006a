/** Some machines on a network without loss, in virtual time: what a test says about links and nodes, and nothing else. */
import { type GossipConfig, lanConfig } from "../../../src/gossip/config.ts";
import type { Effect } from "../../../src/gossip/effect.ts";
import type { MemberAddress, MemberEvent, MemberProfile, MemberState } from "../../../src/gossip/member.ts";
import type { PacketMessage } from "../../../src/gossip/message.ts";
import { Swim } from "../../../src/gossip/swim.ts";

export type Lane = "udp" | "tcp";

const delayMs = 1;
const versions = { min: 1, max: 1, current: 1 };

export function profileOf(index: number, name = `n${index}`): MemberProfile {
  return { name, address: `10.0.${index >> 8}.${index & 255}:7946`, metadata: new Uint8Array(), versions };
}

/** Always the same numbers. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

interface Node {
  readonly profile: MemberProfile;
  machine: Swim;
  readonly events: MemberEvent[];
  readonly sent: { readonly to: MemberAddress; readonly messages: readonly PacketMessage[] }[];
  isPaused: boolean;
  isKilled: boolean;
  /** What a paused node's sockets hold. */
  backlog: (() => void)[];
  departed: boolean;
}

interface Task {
  readonly atMs: number;
  readonly order: number;
  readonly run: () => void;
}

export class SmallCluster {
  readonly nodes: Node[] = [];
  readonly config: GossipConfig;
  nowMs = 0;
  readonly #random = seeded(42);
  readonly #tasks: Task[] = [];
  readonly #cuts = new Set<string>();
  #order = 0;

  constructor(config: Partial<GossipConfig> = {}) {
    this.config = { ...lanConfig, ...config };
  }

  /** `count` nodes that know each other. */
  static settled(count: number, config: Partial<GossipConfig> = {}): SmallCluster {
    const cluster = new SmallCluster(config);
    const profiles = Array.from({ length: count }, (_, index) => profileOf(index));
    for (const profile of profiles) cluster.add(profile, []).machine.introduce(profiles, 0);
    for (const node of cluster.nodes) cluster.start(node);
    return cluster;
  }

  add(profile: MemberProfile, seeds: readonly MemberAddress[]): Node {
    const machine = new Swim({ config: this.config, self: profile, random: this.#random, seeds });
    const node = {
      profile,
      machine,
      events: [],
      sent: [],
      isPaused: false,
      isKilled: false,
      backlog: [],
      departed: false,
    };
    this.nodes.push(node);
    return node;
  }

  start(node: Node): void {
    this.#carryOut(node, node.machine.start(this.nowMs));
  }

  node(index: number): Node {
    return this.nodes[index] as Node;
  }

  state(observer: number, of: number): MemberState | undefined {
    return this.node(observer).machine.member(this.node(of).profile.name)?.state;
  }

  /** Both ways, if `back` is not said to be false. */
  cut(from: number, to: number, lanes: readonly Lane[] = ["udp", "tcp"], back = true): void {
    for (const lane of lanes) {
      this.#cuts.add(`${from} ${to} ${lane}`);
      if (back) this.#cuts.add(`${to} ${from} ${lane}`);
    }
  }

  heal(): void {
    this.#cuts.clear();
  }

  kill(index: number): void {
    this.node(index).isKilled = true;
  }

  pause(index: number): void {
    this.node(index).isPaused = true;
  }

  /** Late timers first, then what has arrived, as a process does it. */
  resume(index: number): void {
    const node = this.node(index);
    node.isPaused = false;
    if (node.machine.nextDueMs <= this.nowMs) this.#carryOut(node, node.machine.tick(this.nowMs));
    for (const arrive of node.backlog.splice(0)) arrive();
  }

  /** Something a test does to a machine by itself. */
  do(index: number, act: (machine: Swim, nowMs: number) => readonly Effect[]): readonly Effect[] {
    const effects = act(this.node(index).machine, this.nowMs);
    this.#carryOut(this.node(index), effects);
    return effects;
  }

  run(ms: number): void {
    const endMs = this.nowMs + ms;
    for (let task = this.#first(); task !== undefined && task.atMs <= endMs; task = this.#first()) {
      this.#tasks.splice(this.#tasks.indexOf(task), 1);
      this.nowMs = Math.max(this.nowMs, task.atMs);
      task.run();
    }
    this.nowMs = endMs;
  }

  /** Runs until it is so; undefined: it was not so within `withinMs`. Returns the time it took. */
  runUntil(condition: () => boolean, withinMs: number): number | undefined {
    const startMs = this.nowMs;
    while (this.nowMs < startMs + withinMs) {
      if (condition()) return this.nowMs - startMs;
      this.run(10);
    }
    return undefined;
  }

  #first(): Task | undefined {
    let first = this.#tasks[0];
    for (const task of this.#tasks)
      if (first !== undefined && (task.atMs < first.atMs || (task.atMs === first.atMs && task.order < first.order)))
        first = task;
    return first;
  }

  #at(atMs: number, run: () => void): void {
    this.#tasks.push({ atMs, order: this.#order++, run });
  }

  #carryOut(node: Node, effects: readonly Effect[]): void {
    const from = this.nodes.indexOf(node);
    for (const effect of effects) {
      if (effect.kind === "event") node.events.push(effect.event);
      else if (effect.kind === "departed") node.departed = true;
      else if (effect.kind === "send") {
        node.sent.push(effect);
        this.#deliver(from, effect.to, "udp", (to) =>
          to.machine.receive(node.profile.address, effect.messages, this.nowMs),
        );
      } else if (effect.kind === "dial") this.#dial(node, effect);
    }
    const dueMs = node.machine.nextDueMs;
    if (dueMs === Number.POSITIVE_INFINITY) return;
    this.#at(Math.max(dueMs, this.nowMs), () => {
      if (node.isPaused || node.isKilled || node.machine.nextDueMs > this.nowMs) return;
      this.#carryOut(node, node.machine.tick(this.nowMs));
    });
  }

  #dial(node: Node, { id, to, message, timeoutMs }: Effect & { readonly kind: "dial" }): void {
    const from = this.nodes.indexOf(node);
    let isDone = false;
    this.#at(this.nowMs + timeoutMs, () => {
      if (!isDone) this.#whenRunning(node, () => this.#carryOut(node, node.machine.dialFailed(id, this.nowMs)));
      isDone = true;
    });
    this.#deliver(from, to, "tcp", (callee) => {
      const { reply, effects } = callee.machine.receiveStream(node.profile.address, message, this.nowMs);
      if (reply === undefined) return effects;
      this.#deliver(this.nodes.indexOf(callee), node.profile.address, "tcp", () => {
        if (isDone) return [];
        isDone = true;
        const answer = node.machine.dialAnswered(id, reply, this.nowMs);
        const last = answer.reply;
        if (last !== undefined)
          this.#deliver(
            from,
            to,
            "tcp",
            () => callee.machine.receiveStream(node.profile.address, last, this.nowMs).effects,
          );
        return answer.effects;
      });
      return effects;
    });
  }

  #deliver(from: number, to: MemberAddress, lane: Lane, arrive: (node: Node) => readonly Effect[]): void {
    const index = this.nodes.findLastIndex((node) => node.profile.address === to);
    const node = this.nodes[index];
    if (node === undefined || this.#cuts.has(`${from} ${index} ${lane}`)) return;
    this.#at(this.nowMs + delayMs, () => {
      if (this.#cuts.has(`${from} ${index} ${lane}`)) return;
      this.#whenRunning(node, () => this.#carryOut(node, arrive(node)));
    });
  }

  #whenRunning(node: Node, act: () => void): void {
    if (node.isKilled) return;
    if (node.isPaused) node.backlog.push(act);
    else act();
  }
}
