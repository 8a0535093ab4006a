/**
 * How busy a member is, from 0 to 1: the share in use of whichever it will run out of first.
 *
 * - `loop`: share of the time in which the event loop was at work. Everything that a tracker applies and answers passes
 *   through one thread, so events and look-ups a second count by what they cost here, not by their number.
 * - `host`: share of the processors' time that anybody on the host used. Neighbours take from a member what it can't see
 *   otherwise, and its own worker threads are in it.
 * - `delay`: how long what arrives at any moment waits for the loop, where {@link delayFullMs} counts as full: a loop that
 *   is stopped by others (stolen time, swapping) is not busy, and yet of no use.
 */
import { cpus } from "node:os";
import { type EventLoopUtilization, type IntervalHistogram, monitorEventLoopDelay, performance } from "node:perf_hooks";

export const loadSources = ["loop", "host", "delay"] as const;
export type LoadSource = (typeof loadSources)[number];

export interface LoadSample {
  /** 0 to 1. */
  readonly loop: number;
  /** 0 to 1. */
  readonly host: number;
  /** Of what arrives at any moment, on average. */
  readonly delayMs: number;
}

/** After this, clients of look-ups ask elsewhere. */
const delayFullMs = 250;
/** Samples weigh half after this. Gossip tells a change at most twice a minute; a burst of seconds should not be it. */
const halfLifeMs = 5_000;
const resolutionMs = 10;
const nsPerMs = 1_000_000;

export function loadOf({ loop, host, delayMs }: LoadSample, sources: readonly LoadSource[]): number {
  const shares: Record<LoadSource, number> = { loop, host, delay: delayMs / delayFullMs };
  return Math.min(1, Math.max(0, ...sources.map((source) => shares[source])));
}

export function smoothed(before: number, load: number, elapsedMs: number): number {
  return load + (before - load) * 0.5 ** (elapsedMs / halfLifeMs);
}

/** Measures this process and its host, from one call of `sample` to the next. */
export class LoadMeter implements Disposable {
  readonly #delays = monitorEventLoopDelay({ resolution: resolutionMs });
  #loop: EventLoopUtilization = performance.eventLoopUtilization();
  #host = processorTimes();

  constructor() {
    this.#delays.enable();
  }

  sample(): LoadSample {
    const { utilization } = performance.eventLoopUtilization(this.#loop);
    this.#loop = performance.eventLoopUtilization();
    const before = this.#host;
    this.#host = processorTimes();
    const total = this.#host.total - before.total;
    const busy = this.#host.busy - before.busy;
    const delayMs = waitMs(this.#delays);
    this.#delays.reset();
    return { loop: utilization, host: total > 0 ? busy / total : 0, delayMs };
  }

  [Symbol.dispose](): void {
    this.#delays.disable();
  }
}

/**
 * The histogram holds the times between turns of the loop. Who arrives in a turn of d waits d/2 of it, and arrives there
 * d times as likely as in a turn of 1: on average that is the mean of d² by twice the mean of d.
 */
function waitMs({ count, mean, stddev }: IntervalHistogram): number {
  if (count === 0) return 0;
  return (mean ** 2 + stddev ** 2) / (2 * mean) / nsPerMs - resolutionMs / 2;
}

function processorTimes(): { readonly busy: number; readonly total: number } {
  let [busy, total] = [0, 0];
  for (const { times } of cpus()) {
    const used = times.user + times.nice + times.sys + times.irq;
    busy += used;
    total += used + times.idle;
  }
  return { busy, total };
}
