/**
 * One tracker's copy of one shard through its whole life (life.ts): how it comes by its data, when it may answer, when
 * it may go.
 *
 * Invariants: it answers only with data that somebody could be told as of a position, and refers to another while there
 * is one that has more; it goes only when everyone whom the newest epoch names is serving; what it deletes it has ceased
 * to answer from.
 */
import { abortable } from "../bus/abortable.ts";
import { BusError } from "../bus/bus.ts";
import { flowStreamName } from "../flow/events.ts";
import { type Assignment, holdersOf, type Tracker } from "../placement/assignment.ts";
import type { Permits } from "../runtime/permits.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import { ChangeLog } from "./change-log.ts";
import { type Asked, candidatesFor, chooseGiver, isReplayCheaper } from "./giver.ts";
import type { FlowStore } from "./level.ts";
import { caughtUpLagMax, isCaughtUp, nextPhase, type ReplicaEvent, type ReplicaPhase } from "./life.ts";
import type { Peers } from "./peers.ts";
import { type ReplicaOptions, type ReplicaStatus, ShardReplica } from "./replica.ts";
import { StoreFault } from "./store-fault.ts";

export interface Epochs {
  readonly current: Assignment;
  /** Newest first. */
  readonly earlier: readonly Assignment[];
}

export interface HostedShardOptions extends Omit<ReplicaOptions, "refill"> {
  /** Name of this tracker. */
  readonly self: string;
  readonly store: FlowStore;
  readonly peers: Peers;
  /** Undefined: none is known yet. */
  readonly epochs: () => Epochs | undefined;
  /** How many shards this tracker copies at a time. */
  readonly handoffs: Permits;
  readonly onPhase: (shard: number, phase: ReplicaPhase) => void;
}

export interface HostedStatus extends ReplicaStatus {
  readonly phase: ReplicaPhase;
  /** Who answers in its stead, while it comes. */
  readonly giver: string | undefined;
}

/** How long somebody who should have the shard is waited for before it is built without them. */
const giverWaitMs = 5_000;
const askAgainMs = 200;
/** Copies that broke off; then the shard is built from the stream. */
const copiesMax = 5;
const caughtUpCheckMs = 50;
const relievedCheckMs = 500;

export class HostedShard {
  readonly replica: ShardReplica;
  readonly changes = new ChangeLog();
  readonly #options: HostedShardOptions;
  #phase: ReplicaPhase = "joining";
  /** Who answers while this copy has not caught up. */
  #giver: Tracker | undefined;
  #taken = false;
  /** Replaced at every change of the phase. */
  #turn = new AbortController();

  constructor(options: HostedShardOptions) {
    this.#options = options;
    this.replica = new ShardReplica({ ...options, refill: (signal) => this.#refill(signal) });
    this.replica.subscribe(this.changes);
  }

  get shard(): number {
    return this.#options.shard;
  }

  get phase(): ReplicaPhase {
    return this.#phase;
  }

  get giver(): Tracker | undefined {
    return this.#phase === "joining" || this.#phase === "tailing" ? this.#giver : undefined;
  }

  get answers(): boolean {
    return this.#phase === "serving" || this.#phase === "leaving" || (this.#phase === "tailing" && !this.#giver);
  }

  /** Nothing is left to apply that would make a difference to who asks, and nothing is known to be missing. */
  get isUpToDate(): boolean {
    return isCaughtUp({ lag: this.replica.lag, complete: this.replica.complete, taken: false });
  }

  status(): HostedStatus {
    return { ...this.replica.status(), phase: this.#phase, giver: this.giver?.name };
  }

  heed(event: ReplicaEvent): void {
    const before = this.#phase;
    const phase = nextPhase(before, event);
    if (phase === before) return;
    this.#phase = phase;
    if (phase !== "joining" && phase !== "tailing") this.#giver = undefined;
    if (phase === "serving") this.#taken = false;
    if (phase === "gone") this.replica.release();
    const turn = this.#turn;
    this.#turn = new AbortController();
    turn.abort();
    this.#options.onPhase(this.shard, phase);
  }

  /** Reads what is stored, at the start and again after a fault of the database. Throws when the database fails. */
  async load(): Promise<void> {
    await this.replica.load();
    this.#giver = undefined;
    this.heed(this.replica.isStored ? "filled" : "emptied");
  }

  /** Until it is gone and its data are deleted, or the signal aborts. Throws when the database does. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const turn = this.#turn.signal;
      if (this.#phase === "gone") return await this.#options.store.wipe(this.shard);
      if (this.#phase === "joining") await this.#join(AbortSignal.any([signal, turn]));
      else await this.#follow(signal);
    }
  }

  async #join(stop: AbortSignal): Promise<void> {
    const { clock, log, shard } = this.#options;
    const beganMs = clock.monotonicMs();
    try {
      for (let copies = 0; copies < copiesMax; ) {
        const { choice, likely } = await this.#lookForGiver(stop);
        if (choice.kind === "nobody") break;
        this.#giver = choice.kind === "found" ? choice.tracker : likely;
        if (choice.kind === "found") {
          if (await this.#take(choice.tracker, stop)) return this.heed("filled");
          copies++;
        } else if (clock.monotonicMs() >= beganMs + giverWaitMs) {
          log.warn({ shard }, "nobody who had the shard gives it: it is built from the event stream");
          break;
        }
        await sleep(askAgainMs, stop);
      }
      this.#giver = undefined;
      this.heed("filled");
    } catch (error) {
      if (!isAbort(error, stop)) throw error;
    }
  }

  async #lookForGiver(stop: AbortSignal) {
    const { epochs, self, peers, shard } = this.#options;
    const known = epochs();
    if (known === undefined) throw new Error("a shard is joined before an epoch is known");
    const candidates = candidatesFor(shard, self, known.current, known.earlier);
    const isFormer = ({ name }: Tracker): boolean =>
      known.earlier.some((epoch) => holdersOf(epoch, shard).some((holder) => holder.name === name));
    const asked = await Promise.all(
      candidates.map(async (tracker): Promise<Asked> => {
        const report = await peers.report(tracker.endpoint, [shard], stop);
        const replica = report === undefined ? "silent" : (report.replicas.get(shard) ?? "none");
        return { tracker, replica, former: isFormer(tracker) };
      }),
    );
    return { choice: chooseGiver(asked), likely: asked.find(({ former }) => former)?.tracker };
  }

  /** False: it broke off, or can't be read here. */
  async #take(giver: Tracker, stop: AbortSignal): Promise<boolean> {
    const { bus, log, peers, shard, store, clock, handoffs } = this.#options;
    const beganMs = clock.monotonicMs();
    try {
      using _turn = await handoffs.take(stop);
      const isCopied = !isReplayCheaper(await bus.streamRange(flowStreamName, stop));
      if (isCopied) {
        await store.takeOver(shard, peers.rows(giver.endpoint, shard, stop));
        await this.replica.load();
        if (!this.replica.isStored) return false;
      }
      this.#taken = true;
      const tookMs = Math.round(clock.monotonicMs() - beganMs);
      log.info(
        { shard, from: giver.name, isCopied, flows: this.replica.status().flows, tookMs },
        "a shard is taken over",
      );
      return true;
    } catch (error) {
      if (error instanceof StoreFault || isAbort(error, stop)) throw error;
      log.warn({ shard, from: giver.name, error }, "a shard could not be taken over");
      if (!(error instanceof BusError)) await store.wipe(shard);
      return false;
    }
  }

  /** For a store that the stream has left behind: a copy is quicker than asking every instance, and asks nobody. */
  async #refill(signal: AbortSignal): Promise<boolean> {
    // What was just taken over is as old as it gets: the stream has forgotten what the giver knew.
    if (this.#taken || this.#phase === "leaving") {
      this.#taken = false;
      return false;
    }
    const { clock } = this.#options;
    // Who has joined without anything has just waited for others.
    const waitMs = this.replica.isStored ? giverWaitMs : 0;
    const beganMs = clock.monotonicMs();
    for (;;) {
      const { choice } = await this.#lookForGiver(signal);
      if (choice.kind === "found") {
        if (!(await this.#take(choice.tracker, signal))) return false;
        this.heed("filled");
        return true;
      }
      // Another that has just started is about to catch up; two that wait for each other do so for this long.
      if (choice.kind === "nobody" || clock.monotonicMs() >= beganMs + waitMs) return false;
      await sleep(askAgainMs, signal);
    }
  }

  /** Until it is gone, or empty again. */
  async #follow(signal: AbortSignal): Promise<void> {
    const ended = new AbortController();
    const stop = AbortSignal.any([signal, ended.signal]);
    const watching = this.#watchOver(stop).finally(() => ended.abort());
    try {
      await this.replica.run(stop);
    } finally {
      ended.abort();
      await watching;
    }
  }

  /** Returns when there is nothing to follow any more, or the signal aborts. */
  async #watchOver(stop: AbortSignal): Promise<void> {
    while (!stop.aborted && this.#phase !== "joining" && this.#phase !== "gone") {
      const change = AbortSignal.any([stop, this.#turn.signal]);
      try {
        if (this.#phase === "tailing") await this.#untilCaughtUp(change);
        else if (this.#phase === "leaving") await this.#untilRelieved(change);
        else await abortable(new Promise<never>(() => {}), change);
      } catch (error) {
        if (!isAbort(error, change)) throw error;
      }
    }
  }

  async #untilCaughtUp(change: AbortSignal): Promise<void> {
    const { replica } = this;
    while (!isCaughtUp({ lag: replica.lag, complete: replica.complete, taken: this.#taken }))
      await sleep(caughtUpCheckMs, change);
    this.heed("caught-up");
  }

  async #untilRelieved(change: AbortSignal): Promise<void> {
    while (!(await this.#isRelieved(change))) await sleep(relievedCheckMs, change);
    change.throwIfAborted();
    this.heed("relieved");
  }

  async #isRelieved(change: AbortSignal): Promise<boolean> {
    const { epochs, peers, shard } = this.#options;
    const current = epochs()?.current;
    if (current === undefined) return false;
    const reports = await Promise.all(
      holdersOf(current, shard).map(({ endpoint }) => peers.report(endpoint, [shard], change)),
    );
    return reports.every((report) => {
      const replica = report?.replicas.get(shard);
      if (report === undefined || replica === undefined || report.epoch < current.epoch) return false;
      return replica.phase === "serving" && replica.lag !== undefined && replica.lag <= caughtUpLagMax;
    });
  }
}
