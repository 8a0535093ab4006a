/**
 * Who believes what of whom, against the truth.
 *
 * Owns a matrix of beliefs, the truth, and how many beliefs contradict it. A belief counts while its holder runs: a
 * stopped or crashed process has no say. Of a stopped process both may be believed: nobody can tell it from a dead one.
 */
export const unknown = 0;
export const alive = 1;
export const suspect = 2;
export const dead = 3;
export const left = 4;

export type Belief = typeof unknown | typeof alive | typeof suspect | typeof dead | typeof left;

export type Truth = "up" | "paused" | "crashed" | "left";

export class Beliefs {
  readonly #nodes: number;
  readonly #beliefs: Uint8Array;
  readonly #truths: Truth[];
  /** Per subject: holders whose belief is wrong. */
  readonly #wrong: Int32Array;
  #wrongTotal = 0;

  constructor(nodes: number) {
    this.#nodes = nodes;
    this.#beliefs = new Uint8Array(nodes * nodes);
    this.#truths = Array.from({ length: nodes }, () => "up");
    this.#wrong = new Int32Array(nodes);
    this.#recount();
  }

  get wrong(): number {
    return this.#wrongTotal;
  }

  wrongAbout(subject: number): number {
    return this.#wrong[subject] ?? 0;
  }

  truthOf(node: number): Truth {
    return this.#truths[node] ?? "up";
  }

  beliefOf(holder: number, subject: number): Belief {
    return this.#beliefs[holder * this.#nodes + subject] as Belief;
  }

  believe(holder: number, subject: number, belief: Belief): void {
    const wrongBefore = this.#isWrong(holder, subject);
    this.#beliefs[holder * this.#nodes + subject] = belief;
    const change = Number(this.#isWrong(holder, subject)) - Number(wrongBefore);
    this.#wrong[subject] = (this.#wrong[subject] ?? 0) + change;
    this.#wrongTotal += change;
  }

  /** A process that starts knows nobody. */
  forget(holder: number): void {
    this.#beliefs.fill(unknown, holder * this.#nodes, (holder + 1) * this.#nodes);
    this.#recount();
  }

  setTruths(nodes: readonly number[], truth: Truth): void {
    for (const node of nodes) this.#truths[node] = truth;
    this.#recount();
  }

  /** At most so many, for a report. */
  wrongOnes(max: number): readonly { readonly holder: number; readonly subject: number }[] {
    const found: { holder: number; subject: number }[] = [];
    for (let holder = 0; holder < this.#nodes; holder++)
      for (let subject = 0; subject < this.#nodes && found.length < max; subject++)
        if (this.#isWrong(holder, subject)) found.push({ holder, subject });
    return found;
  }

  #recount(): void {
    this.#wrong.fill(0);
    this.#wrongTotal = 0;
    for (let holder = 0; holder < this.#nodes; holder++) {
      if (this.#truths[holder] !== "up") continue;
      for (let subject = 0; subject < this.#nodes; subject++) {
        if (!this.#isWrong(holder, subject)) continue;
        this.#wrong[subject] = (this.#wrong[subject] ?? 0) + 1;
        this.#wrongTotal++;
      }
    }
  }

  #isWrong(holder: number, subject: number): boolean {
    if (holder === subject || this.#truths[holder] !== "up") return false;
    const belief = this.#beliefs[holder * this.#nodes + subject];
    const truth = this.#truths[subject];
    if (truth === "up") return belief !== alive;
    if (truth === "crashed") return belief === alive || belief === suspect;
    return truth === "left" && (belief === alive || belief === suspect || belief === dead);
  }
}
