/** The ports of placement in memory: a log of epochs that many members share, and members that come and go by hand. */
import type { Assignment } from "../../src/placement/assignment.ts";
import type { Candidate, Candidates } from "../../src/placement/candidate.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";

export class SharedEpochs {
  readonly created: Assignment[] = [];
  readonly #views = new Set<MemoryEpochs>();
  /** While false, creating waits. */
  isThere = true;

  view(): MemoryEpochs {
    const view = new MemoryEpochs(this);
    this.#views.add(view);
    return view;
  }

  /** "taken": somebody has that number. */
  create(next: Assignment): "created" | "taken" {
    if (next.epoch !== BigInt(this.created.length) + 1n) return "taken";
    this.created.push(next);
    this.changed();
    return "created";
  }

  changed(): void {
    for (const view of this.#views) view.wake();
  }
}

export class MemoryEpochs implements EpochLog {
  readonly #shared: SharedEpochs;
  #changed = Promise.withResolvers<void>();

  constructor(shared: SharedEpochs) {
    this.#shared = shared;
  }

  get current(): Assignment | undefined {
    return this.#shared.created.at(-1);
  }

  async create(next: Assignment, signal: AbortSignal): Promise<"created" | "taken"> {
    while (!this.#shared.isThere) await this.#change(signal);
    return this.#shared.create(next);
  }

  async *changes(signal: AbortSignal): AsyncGenerator<Assignment> {
    for (let known = 0n; ; ) {
      const newest = this.current;
      if (newest === undefined || newest.epoch === known) {
        await this.#change(signal);
        continue;
      }
      known = newest.epoch;
      yield newest;
    }
  }

  wake(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers();
    changed.resolve();
  }

  async #change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const abort = (): void => aborted.reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    try {
      await Promise.race([this.#changed.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}

export class MemoryCandidates implements Candidates {
  readonly #listeners = new Set<() => void>();
  #candidates: readonly Candidate[];

  constructor(candidates: readonly Candidate[]) {
    this.#candidates = candidates;
  }

  now(): readonly Candidate[] {
    return this.#candidates;
  }

  onChange(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  become(candidates: readonly Candidate[]): void {
    this.#candidates = candidates;
    for (const listener of [...this.#listeners]) listener();
  }
}
