/**
 * What must hold at every moment of a run, whatever happens in it. Whoever breaks one is named, with the time.
 *
 * Owns the incarnations that each member has seen of each other one.
 */
import type { MemberEvent } from "../../src/gossip/member.ts";
import { alive, type Belief, dead, left, suspect, unknown } from "./beliefs.ts";
import type { SimulatedNode } from "./node.ts";

/** So many are worth reading. */
const violationsMax = 20;

export class Invariants {
  readonly #nodes: number;
  readonly #incarnations: Float64Array;
  readonly violations: string[] = [];

  constructor(nodes: number) {
    this.#nodes = nodes;
    this.#incarnations = new Float64Array(nodes * nodes);
  }

  /** A process that starts has seen nothing. */
  forget(holder: number): void {
    this.#incarnations.fill(0, holder * this.#nodes, (holder + 1) * this.#nodes);
  }

  incarnationsGrow(holder: number, subject: number, event: MemberEvent, nowMs: number): void {
    const index = holder * this.#nodes + subject;
    const before = this.#incarnations[index] ?? 0;
    const { incarnation } = event.member;
    if (incarnation < before)
      this.violate(nowMs, `incarnation of node-${subject} fell from ${before} to ${incarnation} at node-${holder}`);
    this.#incarnations[index] = incarnation;
  }

  /** One rumour a member at most: a newer one takes the older one's place. */
  queuesAreBounded(nodes: readonly SimulatedNode[], nowMs: number): void {
    for (const { machine, process, index } of nodes)
      if (process === "running" && machine.rumoursQueued > nodes.length)
        this.violate(nowMs, `node-${index} has ${machine.rumoursQueued} rumours queued about ${nodes.length} members`);
  }

  /** Events tell all that changes: who follows them knows what the member knows. */
  eventsTellAll(node: SimulatedNode, beliefOf: (name: string) => Belief | undefined, nowMs: number): void {
    for (const member of node.machine.members()) {
      if (member.profile.name === node.profile.name) continue;
      const told = beliefOf(member.profile.name);
      if (told !== undefined && told !== stateBeliefs[member.state])
        this.violate(nowMs, `node-${node.index} holds ${member.profile.name} ${member.state} and told ${words[told]}`);
    }
  }

  violate(nowMs: number, what: string): void {
    if (this.violations.length < violationsMax) this.violations.push(`${(nowMs / 1000).toFixed(3)} s: ${what}`);
  }
}

const stateBeliefs = { alive, suspect, dead, left } as const;
const words = { [unknown]: "nothing", [alive]: "alive", [suspect]: "suspect", [dead]: "dead", [left]: "left" } as const;
