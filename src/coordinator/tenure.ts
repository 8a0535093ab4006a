/**
 * Whether this leadership still holds, as everything that acts for it asks before it acts.
 *
 * Invariant: once it is over, it is over for good. A write that fails ends it: nothing that is decided here could be
 * trusted any more.
 */
import { type Answer, type ConductorPorts, reject, StoreFault } from "./ports.ts";

export const noLongerLeader = {
  code: "NOT_LEADER",
  message: "this coordinator no longer leads: ask again",
} as const;

export class Tenure {
  readonly #ports: Pick<ConductorPorts, "leads" | "lost">;
  readonly #listeners = new Set<() => void>();
  #over = false;

  constructor(ports: Pick<ConductorPorts, "leads" | "lost">) {
    this.#ports = ports;
  }

  get stopped(): boolean {
    return this.#over;
  }

  /** A process that was paused may wake up long after its lease: asked before anything is done. */
  isOver(): boolean {
    if (!this.#over && !this.#ports.leads()) this.lose("the lease has run out");
    return this.#over;
  }

  /** Calls back when this leadership ends. */
  onStop(listener: () => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Nothing is sent, stored or answered from now on. */
  stop(): void {
    if (this.#over) return;
    this.#over = true;
    for (const listener of this.#listeners) listener();
  }

  /** `heard`: a term that a node obeys, not below this one. */
  lose(reason: string, heard?: bigint): void {
    if (this.#over) return;
    this.stop();
    this.#ports.lost(reason, heard);
  }

  /** Throws what is no {@link StoreFault}. */
  storeFailed<T>(error: unknown): Answer<T> {
    if (!(error instanceof StoreFault)) throw error;
    this.lose(error.message);
    return reject({ code: "STORE_UNAVAILABLE", message: error.message });
  }
}
