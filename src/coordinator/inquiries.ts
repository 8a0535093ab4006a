/**
 * What the conductor asks of trackers and of the event stream on a remap's behalf.
 *
 * The machine asks again at every look until it has its answer, so each question is asked once at a time, and a
 * failure is not repeated before {@link pauseMs} have passed.
 */
import type { IpAddress } from "../flow/address.ts";
import type { ShardPosition } from "../node/state.ts";
import type { RemapEvent } from "../remap/transition.ts";
import type { ConductorPorts } from "./ports.ts";

/** Between two questions about the same thing. */
const pauseMs = 500;
/** For one answer; then the question is asked anew. */
const answerTimeoutMs = 5_000;

export class Inquiries {
  readonly #ports: ConductorPorts;
  readonly #tell: (remap: string, event: RemapEvent) => void;
  readonly #end = new AbortController();
  readonly #running = new Set<string>();
  readonly #askedMs = new Map<string, number>();

  constructor(ports: ConductorPorts, tell: (remap: string, event: RemapEvent) => void) {
    this.#ports = ports;
    this.#tell = tell;
  }

  stop(): void {
    this.#end.abort(new Error("this coordinator no longer leads"));
  }

  barrier(remap: string, id: string, positions: readonly ShardPosition[]): void {
    this.#ask(`barrier ${id}`, async (signal) => {
      try {
        await this.#ports.tracker.barrier(positions, signal);
        return () => this.#tell(remap, { kind: "barrier", id, passed: true });
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        return () => this.#tell(remap, { kind: "barrier", id, passed: false, message });
      }
    });
  }

  count(remap: string, address: IpAddress, owner: string): void {
    this.#ask(`count ${remap}`, async (signal) => {
      const flows = await this.#ports.tracker.count(address, owner, signal).catch(() => undefined);
      return () => flows !== undefined && this.#tell(remap, { kind: "counted", flows });
    });
  }

  own(remap: string, address: IpAddress, target: string, generation: bigint): void {
    this.#ask(`own ${remap}`, async (signal) => {
      const told = await this.#ports.events.owned(address, target, generation, signal).then(
        () => true,
        () => false,
      );
      return () => told && this.#tell(remap, { kind: "owned" });
    });
  }

  #ask(key: string, question: (signal: AbortSignal) => Promise<() => void>): void {
    const now = this.#ports.clock.monotonicMs();
    const asked = this.#askedMs.get(key);
    if (this.#running.has(key) || (asked !== undefined && now - asked < pauseMs)) return;
    this.#running.add(key);
    this.#askedMs.set(key, now);
    this.#forgetOld(now);
    const signal = AbortSignal.any([this.#end.signal, AbortSignal.timeout(answerTimeoutMs)]);
    void question(signal).then((tell) => {
      this.#running.delete(key);
      if (!this.#end.signal.aborted) tell();
    });
  }

  #forgetOld(now: number): void {
    for (const [key, asked] of this.#askedMs) {
      if (now - asked < pauseMs) return;
      if (!this.#running.has(key)) this.#askedMs.delete(key);
    }
  }
}
