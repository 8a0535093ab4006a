/**
 * The network between the simulated nodes: what becomes of a datagram, and who reaches whom.
 *
 * Owns the faults that are in force. Draws chance only from its own generator, and no more of it for a datagram than its
 * conditions ask for.
 */
import type { Random } from "./random.ts";
import type { Fault } from "./scenario.ts";

export interface Conditions {
  /** Of a datagram, each way. */
  readonly loss: number;
  /** A second copy, with a delay of its own. */
  readonly duplication: number;
  /** One way: at least this long, and exponentially distributed above it, so that datagrams overtake each other. */
  readonly delayMinMs: number;
  readonly delayMeanAboveMs: number;
  /** A datagram that takes much longer than the others, so that it arrives out of its time. */
  readonly straggler: number;
  readonly stragglerMs: number;
}

export const lan: Conditions = {
  loss: 0,
  duplication: 0,
  delayMinMs: 0.1,
  delayMeanAboveMs: 0.4,
  straggler: 0,
  stragglerMs: 0,
};

export class Network {
  #conditions: Conditions;
  readonly #nodes: number;
  readonly #random: Random;
  /** Nodes of different islands don't reach each other. */
  readonly #islands: Uint16Array;
  /** Added to every datagram that such a node sends or receives. */
  readonly #extraDelayMs: Float64Array;
  readonly #udpBlocked: Uint8Array;
  readonly #heldUntilMs: Float64Array;
  readonly #cuts = new Set<number>();

  constructor(nodes: number, conditions: Conditions, random: Random) {
    this.#conditions = conditions;
    this.#nodes = nodes;
    this.#random = random;
    this.#islands = new Uint16Array(nodes);
    this.#extraDelayMs = new Float64Array(nodes);
    this.#udpBlocked = new Uint8Array(nodes);
    this.#heldUntilMs = new Float64Array(nodes).fill(Number.NEGATIVE_INFINITY);
  }

  /** Delays of the copies that arrive; none: it is lost. */
  datagram(from: number, to: number, nowMs: number): readonly number[] {
    const { loss, duplication } = this.#conditions;
    if (this.#udpBlocked[from] === 1 || this.#udpBlocked[to] === 1) return lost;
    if (!this.reaches(from, to) || this.#random.chance(loss)) return lost;
    const delayMs = this.#delayMs(from, to, nowMs);
    return this.#random.chance(duplication) ? [delayMs, this.#delayMs(from, to, nowMs)] : [delayMs];
  }

  /** One way of a stream: retransmission makes loss into delay. Undefined: the other end can't be reached. */
  segment(from: number, to: number, nowMs: number): number | undefined {
    if (!this.reaches(from, to) || !this.reaches(to, from)) return undefined;
    let delayMs = this.#delayMs(from, to, nowMs);
    for (let attempt = 0; attempt < retransmissionsMax && this.#random.chance(this.#conditions.loss); attempt++)
      delayMs += retransmissionMs * 2 ** attempt;
    return delayMs;
  }

  reaches(from: number, to: number): boolean {
    if (this.#islands[from] !== this.#islands[to]) return false;
    return this.#cuts.size === 0 || !this.#cuts.has(from * this.#nodes + to);
  }

  suffer(fault: Extract<Fault, { kind: "partition" | "cut" | "heal" | "conditions" }>): void {
    switch (fault.kind) {
      case "partition":
        for (const [island, nodes] of fault.islands.entries()) for (const node of nodes) this.#islands[node] = island;
        break;
      case "cut":
        for (const from of fault.from) for (const to of fault.to) this.#cuts.add(from * this.#nodes + to);
        break;
      case "heal":
        this.#islands.fill(0);
        this.#cuts.clear();
        break;
      case "conditions":
        this.#conditions = fault.conditions;
        break;
      default:
        fault satisfies never;
    }
  }

  slowDown(node: number, extraDelayMs: number): void {
    this.#extraDelayMs[node] = extraDelayMs;
  }

  hold(node: number, untilMs: number): void {
    this.#heldUntilMs[node] = untilMs;
  }

  blockUdp(node: number, blocked: boolean): void {
    this.#udpBlocked[node] = blocked ? 1 : 0;
  }

  #heldUntil(node: number): number {
    return this.#heldUntilMs[node] ?? 0;
  }

  #delayMs(from: number, to: number, nowMs: number): number {
    const { delayMinMs, delayMeanAboveMs, straggler, stragglerMs } = this.#conditions;
    const slowMs = (this.#extraDelayMs[from] ?? 0) + (this.#extraDelayMs[to] ?? 0);
    const lateMs = this.#random.chance(straggler) ? this.#random.exponential(stragglerMs) : 0;
    const heldMs = Math.max(0, this.#heldUntil(from) - nowMs, this.#heldUntil(to) - nowMs);
    return heldMs + delayMinMs + this.#random.exponential(delayMeanAboveMs) + slowMs + lateMs;
  }
}

const lost: readonly number[] = [];

/** Linux's first retransmission timer; each further one doubles. */
const retransmissionMs = 200;
const retransmissionsMax = 6;
