/**
 * Sees that the shards are held as they should be: reads the members, computes the next epoch, and creates it.
 *
 * Any number of members run one; they agree on nothing but the epochs. Who is first with a number has decided, and the
 * others take that and compute anew. What is decided and why is the {@link Decider}'s.
 */
import type { Candidates } from "../placement/candidate.ts";
import { Decider, type DeciderOptions } from "../placement/decider.ts";
import type { EpochLog } from "../placement/epoch-log.ts";
import { type Move, moveText } from "../placement/move.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { sleep } from "../runtime/retry.ts";

export interface PlacerOptions extends DeciderOptions {
  readonly epochs: EpochLog;
  readonly candidates: Candidates;
  readonly clock: Clock;
  readonly log: Logger;
  /** 0 to 1. */
  readonly random: () => number;
  /** Of an epoch that was created here. */
  readonly onMoves?: (epoch: bigint, moves: readonly Move[]) => void;
}

/** Without any news. */
const evaluateMs = 5_000;
/** With any number of them. */
const evaluateMinMs = 100;
/** Most of those who have come to the same conclusion find it carried out before their turn comes. */
const turnMaxMs = 1_000;
/** What could not be created by then is computed anew: members may have changed, above all where the store was away. */
const createMaxMs = 5_000;

export class Placer {
  readonly #options: PlacerOptions;
  readonly #decider: Decider;
  #hasNews = false;
  #wake: () => void = () => {};

  constructor(options: PlacerOptions) {
    this.#options = options;
    this.#decider = new Decider(options);
  }

  /** Until the signal aborts; throws its reason, or what the log of epochs can't go on after. */
  async run(signal: AbortSignal): Promise<void> {
    const failed = new AbortController();
    const stop = AbortSignal.any([signal, failed.signal]);
    using _changes = this.#options.candidates.onChange(() => this.#news());
    const following = this.#follow(stop).catch((error: unknown) => failed.abort(error));
    try {
      for (;;) {
        this.#observe();
        if (this.#decides()) await this.#takeTurn(stop);
        await sleep(evaluateMinMs, stop);
        if (!this.#hasNews) await this.#nap(evaluateMs, stop);
      }
    } finally {
      failed.abort(signal.reason);
      await following;
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for await (const assignment of this.#options.epochs.changes(signal)) {
      this.#decider.epoch(assignment, this.#options.clock.monotonicMs());
      this.#news();
    }
  }

  #news(): void {
    this.#hasNews = true;
    this.#wake();
  }

  #observe(): void {
    this.#hasNews = false;
    const { candidates, epochs, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    this.#decider.members(candidates.now(), nowMs);
    if (epochs.current !== undefined) this.#decider.epoch(epochs.current, nowMs);
  }

  #decides(): boolean {
    return this.#decider.decide(this.#options.clock.monotonicMs()).kind === "changed";
  }

  async #takeTurn(signal: AbortSignal): Promise<void> {
    const { epochs, clock, log, random, onMoves } = this.#options;
    await sleep(random() * turnMaxMs, signal);
    this.#observe();
    const placement = this.#decider.decide(clock.monotonicMs());
    if (placement.kind === "unchanged") return;
    const { next, moves } = placement;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(createMaxMs)]);
    try {
      if ((await epochs.create(next, limit)) === "taken") return;
    } catch (error) {
      signal.throwIfAborted();
      log.warn({ epoch: String(next.epoch), error }, "the next epoch could not be stored; it is computed anew");
      return;
    }
    log.info({ epoch: String(next.epoch), moves: moves.map(moveText) }, "shards move");
    onMoves?.(next.epoch, moves);
  }

  async #nap(ms: number, signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    try {
      await sleep(ms, AbortSignal.any([signal, woken.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (!woken.signal.aborted) throw error;
    } finally {
      this.#wake = () => {};
    }
  }
}
