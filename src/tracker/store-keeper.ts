/**
 * Keeps a tracker going over faults of its database.
 *
 * While the database takes no writes, nothing is applied: what was committed is answered, barriers beyond it are not
 * reached. Once it works again all is read back from the disk and followed on, so memory is never ahead of it.
 */
import type { Logger } from "../runtime/log.ts";
import { retry, sleep } from "../runtime/retry.ts";
import { StoreFault, type StoreFaultKind } from "./store-fault.ts";

/** What of a {@link FlowStore} is needed. */
export interface FaultyStore {
  reopen(): Promise<void>;
  discard(): Promise<void>;
}

/** What of a {@link Tracker} is needed. */
export interface Follower {
  load(): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

export interface StoreKeeperOptions {
  readonly store: FaultyStore;
  readonly tracker: Follower;
  readonly log: Logger;
  /** For the metrics. */
  readonly onFault: (kind: StoreFaultKind) => void;
}

const retryInitialMs = 200;
const retryMaxMs = 5_000;
/** Who has followed for so long before a fault has not failed for the same reason as before. */
const steadyMs = 10_000;

export class StoreKeeper {
  readonly #options: StoreKeeperOptions;
  #fault: StoreFault | undefined;

  constructor(options: StoreKeeperOptions) {
    this.#options = options;
  }

  /** Why nothing is stored now; undefined: it is. */
  get trouble(): string | undefined {
    return this.#fault?.message;
  }

  /** Reads what there is, before anybody is answered. A full disk is left to {@link run}; throws where waiting is vain. */
  async begin(): Promise<void> {
    try {
      await this.#openAndLoad();
      this.#fault = undefined;
    } catch (error) {
      if (!(error instanceof StoreFault) || error.kind !== "full") throw error;
      this.#note(error);
    }
  }

  /** Follows the stream until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let pauseMs = retryInitialMs;
    while (!signal.aborted) {
      if (this.#fault !== undefined) await this.#recover(signal);
      const beganMs = performance.now();
      try {
        await this.#options.tracker.run(signal);
      } catch (error) {
        if (!(error instanceof StoreFault)) throw error;
        this.#note(error);
        // A disk that has room for little takes what is read back, and not what comes next.
        pauseMs = performance.now() - beganMs < steadyMs ? Math.min(2 * pauseMs, retryMaxMs) : retryInitialMs;
        await sleep(pauseMs, signal).catch(() => undefined);
      }
    }
  }

  async #recover(signal: AbortSignal): Promise<void> {
    await retry(() => this.#openAndLoad(), {
      signal,
      initialMs: retryInitialMs,
      maxMs: retryMaxMs,
      onError: (error) => {
        if (!(error instanceof StoreFault)) throw error;
        this.#note(error);
      },
    });
    this.#fault = undefined;
    this.#options.log.info("the database works again");
  }

  async #openAndLoad(): Promise<void> {
    const { store, tracker } = this.#options;
    if (this.#fault?.kind !== "damaged") {
      try {
        await store.reopen();
        return await tracker.load();
      } catch (error) {
        if (!(error instanceof StoreFault) || error.kind !== "damaged") throw error;
        this.#note(error);
      }
    }
    await store.discard();
    await tracker.load();
  }

  /** Said once for each kind of trouble, not at every attempt. */
  #note(fault: StoreFault): void {
    const known = this.#fault?.kind === fault.kind;
    this.#fault = fault;
    if (known) return;
    this.#options.onFault(fault.kind);
    this.#options.log.error({ kind: fault.kind, error: fault }, "the database failed");
  }
}
