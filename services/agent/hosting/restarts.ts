/**
 * When a tracker that has died is started again, and when this host gives it up for a while. Pure.
 *
 * A member whose tracker can't run would keep shards that nobody answers for, since its agent lives. So after some deaths
 * in a row it stops offering to host, and its shards go to others as if it were dead.
 */
import { backoffBoundMs } from "../../../src/runtime/retry.ts";

const waitInitialMs = 500;
const waitMaxMs = 30_000;
/** One that has run for so long did not fail to run. */
export const steadyMs = 60_000;
/** Deaths in a row. */
export const deathsMax = 4;
/** How long nothing is offered after them; then it is tried anew. */
export const restMs = 600_000;

export class Restarts {
  #deaths = 0;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  #total = 0;

  /** Since the agent has started. */
  get total(): number {
    return this.#total;
  }

  /** It has died by itself. For how long to wait before the next start, in milliseconds. */
  died(ranMs: number, nowMs: number): number {
    this.#total++;
    this.#deaths = ranMs >= steadyMs ? 1 : this.#deaths + 1;
    if (this.#deaths >= deathsMax) this.#restUntilMs = nowMs + restMs;
    return backoffBoundMs(this.#deaths, waitInitialMs, waitMaxMs);
  }

  /** It has run for that long, and runs on. */
  runs(ranMs: number): void {
    if (ranMs < steadyMs) return;
    this.#deaths = 0;
    this.#restUntilMs = Number.NEGATIVE_INFINITY;
  }

  /** This host may offer to hold shards. */
  offers(nowMs: number): boolean {
    return nowMs >= this.#restUntilMs;
  }
}
