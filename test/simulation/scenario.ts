/**
 * What a scenario is made of: faults at times, and what must hold in spite of them. Data, so that a run can be printed,
 * compared and repeated.
 */
import type { Conditions } from "./network.ts";
import type { Random } from "./random.ts";

/** Nodes are numbers, from 0. */
export type Fault =
  /** The process ends; its host refuses connections. */
  | { readonly kind: "crash"; readonly nodes: readonly number[] }
  /** The process starts anew under its old name, knowing nobody but its seeds. */
  | { readonly kind: "start"; readonly nodes: readonly number[] }
  /** Says that it leaves, and ends when the others have been told. */
  | { readonly kind: "leave"; readonly nodes: readonly number[] }
  /**
   * The process stands still, and its timers fire late. SIGSTOP: datagrams wait in the socket's buffer as far as it
   * goes. A frozen machine: they are lost.
   */
  | {
      readonly kind: "pause";
      readonly nodes: readonly number[];
      readonly forMs: number;
      readonly datagrams: "wait" | "lost";
    }
  /** The process runs, but all that it sends and is sent is held up: how Lifeguard's authors made a member slow. */
  | { readonly kind: "hold"; readonly nodes: readonly number[]; readonly forMs: number }
  | { readonly kind: "partition"; readonly islands: readonly (readonly number[])[] }
  /** One way only. */
  | { readonly kind: "cut"; readonly from: readonly number[]; readonly to: readonly number[] }
  | { readonly kind: "heal" }
  | { readonly kind: "block-udp"; readonly nodes: readonly number[]; readonly blocked: boolean }
  | { readonly kind: "slow"; readonly nodes: readonly number[]; readonly extraDelayMs: number }
  | { readonly kind: "conditions"; readonly conditions: Conditions };

export interface Step {
  readonly atMs: number;
  readonly fault: Fault;
}

export interface Bounds {
  /** A crashed node is known dead to every healthy one this soon after its crash. */
  readonly deadEverywhereMs: number;
  /** After the last fault, everybody knows everybody's true state this soon. */
  readonly convergedMs: number;
  /** How often a member whose process had not ended was declared dead at a healthy one. */
  readonly livingDeclaredDeadMax: number;
  /** The same of members that no fault touched: there is no excuse for it but a fault that lasts longer than suspicion. */
  readonly falsePositivesMax: number;
}

export interface Scenario {
  readonly name: string;
  readonly about: string;
  readonly nodes: number;
  readonly durationMs: number;
  readonly conditions: Conditions;
  readonly bounds: Bounds;
  /** In order of time. */
  readonly plan: (nodes: number, random: Random) => readonly Step[];
}
