/**
 * Sees that the tracker beside an agent runs while it is needed, and at no other time.
 *
 * It is needed while the newest epoch names it for a shard, and until nothing is left of the copies that it has given away.
 */
import { performance } from "node:perf_hooks";
import type { Logger } from "../../../src/runtime/log.ts";
import { isAbort, sleep } from "../../../src/runtime/retry.ts";
import type { HostedReport } from "../../../src/tracker/hosted-protocol.ts";
import { Restarts } from "./restarts.ts";
import type { TrackerData } from "./tracker-data.ts";
import type { TrackerProcess } from "./tracker-process.ts";

/** What the newest epoch says; `epoch` undefined: none is known. */
export interface Named {
  readonly epoch: bigint | undefined;
  readonly shards: readonly number[];
}

export type RunningTracker = Pick<TrackerProcess, "pid" | "report" | "ended" | typeof Symbol.asyncDispose>;

export interface TrackerKeeperOptions {
  readonly named: () => Named;
  readonly data: TrackerData;
  readonly start: (onReport: () => void) => RunningTracker;
  /** Something that others may want to know is otherwise than before. */
  readonly onChange: () => void;
  readonly patience?: Patience;
  readonly log: Logger;
}

export interface Patience {
  /** A tracker that says nothing for longer serves nobody, and others should have its shards. */
  readonly silentMaxMs: number;
  /** The same before it serves: it may have a large database to read. */
  readonly firstReportMaxMs: number;
}

const usualPatience: Patience = { silentMaxMs: 30_000, firstReportMaxMs: 300_000 };
/** Without any news. */
const lookMs = 1_000;

export class TrackerKeeper {
  readonly restarts = new Restarts();
  readonly #options: TrackerKeeperOptions;
  #process: RunningTracker | undefined;
  #startedMs = 0;
  #wake: () => void = () => {};

  constructor(options: TrackerKeeperOptions) {
    this.#options = options;
  }

  /** Undefined: it does not run, or has not told anything yet. */
  get report(): HostedReport | undefined {
    return this.#process?.report;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Nothing is named, nothing runs, and nothing is on the disk. */
  get isIdle(): boolean {
    const { named, data } = this.#options;
    return named().shards.length === 0 && this.#process === undefined && !data.exists();
  }

  get isNeeded(): boolean {
    const { named, data } = this.#options;
    return isNeeded(named(), data.exists(), this.report);
  }

  get offers(): boolean {
    return this.restarts.offers(performance.now());
  }

  /** There is another epoch. */
  look(): void {
    this.#wake();
  }

  /** Until the signal aborts; the tracker has ended then. */
  async run(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        if (this.isNeeded) await this.#live(signal);
        else await this.#nap(signal);
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #live(signal: AbortSignal): Promise<void> {
    const { log, onChange } = this.#options;
    this.#startedMs = performance.now();
    const how = (await this.#serve(signal)) ?? (await this.#clear());
    const ranMs = performance.now() - this.#startedMs;
    if (how === undefined) {
      log.info("the tracker beside this agent holds nothing any more, and has been stopped");
      onChange();
      return;
    }
    const waitMs = this.restarts.died(ranMs, performance.now());
    log.error({ how, ranMs: Math.round(ranMs), waitMs }, "the tracker beside this agent has died: starting it again");
    onChange();
    await sleep(waitMs, signal);
  }

  /** One process, until it dies, which returns how, or is no longer needed. */
  async #serve(signal: AbortSignal): Promise<string | undefined> {
    const { start, log, onChange, patience = usualPatience } = this.#options;
    let how: string | undefined;
    let toldMs = performance.now();
    let patienceMs = patience.firstReportMaxMs;
    try {
      await using tracker = start(() => {
        toldMs = performance.now();
        patienceMs = patience.silentMaxMs;
        this.#told();
      });
      this.#process = tracker;
      void tracker.ended.then((ending) => {
        how = ending;
        this.#wake();
      });
      log.info({ pid: tracker.pid, ...logged(this.#options.named()) }, "the tracker beside this agent is started");
      onChange();
      while (how === undefined && this.isNeeded) {
        if (performance.now() - toldMs > patienceMs) return `it has told nothing for ${patienceMs} ms`;
        await this.#nap(signal);
      }
      return how;
    } catch (error) {
      if (isAbort(error, signal)) throw error;
      // No memory for another process, say.
      return `not started: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      this.#process = undefined;
    }
  }

  /** What it leaves on the disk is worth nothing. Returns why that could not be removed. */
  async #clear(): Promise<string | undefined> {
    try {
      await this.#options.data.remove();
      return undefined;
    } catch (error) {
      return `its data can't be removed: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  #told(): void {
    this.restarts.runs(performance.now() - this.#startedMs);
    this.#options.onChange();
    this.#wake();
  }

  /** Until there are news. */
  async #nap(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    this.#wake = () => woken.abort();
    try {
      await sleep(lookMs, AbortSignal.any([signal, woken.signal]));
    } catch (error) {
      signal.throwIfAborted();
      if (!woken.signal.aborted) throw error;
    } finally {
      this.#wake = () => {};
    }
  }
}

/**
 * `hasData`: something of it is on the disk. What it tells of its copies counts once it goes by the newest epoch, and while
 * no epoch is known nothing that is there is given up.
 */
export function isNeeded(named: Named, hasData: boolean, report: HostedReport | undefined): boolean {
  if (named.shards.length > 0) return true;
  if (!hasData) return false;
  if (report === undefined || named.epoch === undefined) return true;
  if (report.shards.length > 0 || report.epoch === undefined || report.epoch < named.epoch) return true;
  // What it could not load, it does not know of.
  return report.notReady.length > 0;
}

function logged({ epoch, shards }: Named): object {
  return { epoch: epoch === undefined ? undefined : Number(epoch), shards: shards.length };
}
