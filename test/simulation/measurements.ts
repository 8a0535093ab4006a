/**
 * What a run shows: how soon crashes are noticed and known, who was wrongly declared dead, what it cost.
 *
 * Owns the records of one run; is told of faults and of every change of belief.
 */
import { alive, type Belief, type Beliefs, dead, suspect } from "./beliefs.ts";

export interface CrashRecord {
  readonly node: number;
  readonly atMs: number;
  /** First suspicion, first declaration, and the moment when no running node believed it alive. */
  suspectedMs?: number;
  confirmedMs?: number;
  everywhereMs?: number;
  /** A process runs there again. */
  startedMs?: number;
}

export interface DeathOfLiving {
  readonly atMs: number;
  readonly holder: number;
  readonly subject: number;
  /** No fault touched the subject. */
  readonly isHealthy: boolean;
}

/** So many are kept with their details; all are counted. */
const keptMax = 20;

/** A process that has just started was dead a moment ago, and others may conclude it while it says that it is back. */
const comebackMs = 2_000;

export class Measurements {
  readonly #beliefs: Beliefs;
  readonly #crashes = new Map<number, CrashRecord>();
  readonly #ended: CrashRecord[] = [];
  readonly #startedMs = new Map<number, number>();
  /** Nodes that no fault has touched: what is said of them, and by them, has no excuse. */
  readonly #touched = new Set<number>();
  readonly deathsOfLiving: DeathOfLiving[] = [];
  /** Of members that no fault touched, at others such. */
  falsePositives = 0;
  /** Of members whose process had not ended, whatever it suffered, at members that no fault touched. */
  livingDeclaredDead = 0;
  suspicions = 0;
  #convergedSinceMs: number | undefined;

  constructor(beliefs: Beliefs) {
    this.#beliefs = beliefs;
  }

  get crashes(): readonly CrashRecord[] {
    return [...this.#ended, ...this.#crashes.values()];
  }

  /** Since when nobody has believed anything wrong; undefined: somebody does. */
  get convergedSinceMs(): number | undefined {
    return this.#convergedSinceMs;
  }

  touch(nodes: readonly number[]): void {
    for (const node of nodes) this.#touched.add(node);
  }

  crashed(nodes: readonly number[], atMs: number): void {
    for (const node of nodes) this.#crashes.set(node, { node, atMs });
  }

  started(node: number, atMs: number): void {
    this.#startedMs.set(node, atMs);
    const record = this.#crashes.get(node);
    if (record === undefined) return;
    record.startedMs = atMs;
    this.#crashes.delete(node);
    this.#ended.push(record);
  }

  /** After faults, too: they change what is wrong. */
  judge(atMs: number): void {
    if (this.#beliefs.wrong > 0) this.#convergedSinceMs = undefined;
    else this.#convergedSinceMs ??= atMs;
  }

  believed(holder: number, subject: number, belief: Belief, atMs: number): void {
    this.#beliefs.believe(holder, subject, belief);
    this.judge(atMs);
    if (belief === suspect) this.suspicions++;
    const record = this.#crashes.get(subject);
    if (record !== undefined) this.#recordCrash(record, belief, atMs);
    else if (belief === dead) this.#recordDeath(holder, subject, atMs);
  }

  #recordCrash(record: CrashRecord, belief: Belief, atMs: number): void {
    if (belief === alive) return;
    record.suspectedMs ??= atMs;
    if (belief === dead) record.confirmedMs ??= atMs;
    if (this.#beliefs.wrongAbout(record.node) === 0) record.everywhereMs ??= atMs;
  }

  #recordDeath(holder: number, subject: number, atMs: number): void {
    const truth = this.#beliefs.truthOf(subject);
    if (truth === "crashed" || truth === "left" || this.#touched.has(holder)) return;
    if (atMs - (this.#startedMs.get(subject) ?? Number.NEGATIVE_INFINITY) < comebackMs) return;
    const isHealthy = !this.#touched.has(subject);
    this.livingDeclaredDead++;
    if (isHealthy) this.falsePositives++;
    if (this.deathsOfLiving.length < keptMax) this.deathsOfLiving.push({ atMs, holder, subject, isHealthy });
  }
}
