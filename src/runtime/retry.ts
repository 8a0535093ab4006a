/** Waiting and trying again, always until a signal aborts. */
import { setTimeout as delay } from "node:timers/promises";

export interface RetryOptions {
  readonly signal: AbortSignal;
  /** Upper bound of the first wait. */
  readonly initialMs: number;
  /** Upper bound of every wait. */
  readonly maxMs: number;
  readonly onError: (error: unknown, attempt: number, waitMs: number) => void;
  /** Tries altogether; without it, until the signal aborts. */
  readonly attempts?: number;
  /** 0 to 1. */
  readonly random?: () => number;
}

/**
 * Runs `op` until it succeeds. Waits are drawn from zero to a bound that doubles ("full jitter"), so that many who lost
 * the same peer don't return together. Throws the abort reason, or the last error once `attempts` are used up.
 */
export async function retry<T>(op: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const random = options.random ?? Math.random;
  for (let attempt = 1; ; attempt++) {
    options.signal.throwIfAborted();
    try {
      return await op(attempt);
    } catch (error) {
      options.signal.throwIfAborted();
      if (attempt === options.attempts) throw error;
      const waitMs = random() * backoffBoundMs(attempt, options.initialMs, options.maxMs);
      options.onError(error, attempt, waitMs);
      await sleep(waitMs, options.signal);
    }
  }
}

export function backoffBoundMs(attempt: number, initialMs: number, maxMs: number): number {
  return Math.min(maxMs, initialMs * 2 ** (attempt - 1));
}

/** Throws the abort reason as soon as the signal aborts. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  try {
    await delay(ms, undefined, { signal });
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  }
}

export interface WaitOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  /** What is waited for, as it reads after "waiting for". */
  readonly what: string;
  readonly intervalMs?: number;
}

const pollIntervalMs = 20;

/** Asks until the answer is truthy, and returns it. Throws after `timeoutMs`, naming what was waited for. */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: WaitOptions,
): Promise<Exclude<T, undefined | null | false | 0 | "">> {
  const endMs = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal.throwIfAborted();
    const answer = await condition();
    if (answer) return answer as Exclude<T, undefined | null | false | 0 | "">;
    if (performance.now() >= endMs)
      throw new Error(`gave up after ${options.timeoutMs} ms waiting for ${options.what}`);
    await sleep(options.intervalMs ?? pollIntervalMs, options.signal);
  }
}

/** An error that is nothing but the abort of `signal` coming back. */
export function isAbort(error: unknown, signal: AbortSignal): boolean {
  if (!signal.aborted) return false;
  return error === signal.reason || (error instanceof Error && error.name === "AbortError");
}
