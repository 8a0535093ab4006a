/**
 * Messages on their way to JetStream, in order: each is tried until it is stored, under one id, so that JetStream stores it
 * once.
 *
 * Nobody who pushes waits. What is lost with the process, a leader that comes next finds by the stored records
 * (unpublished.ts).
 */
import type { Bus } from "../bus/bus.ts";
import type { Logger } from "../runtime/log.ts";
import { sleep } from "../runtime/retry.ts";

/** Messages that wait for the bus; beyond it, the oldest go. */
const waitingMax = 10_000;
/** Changes within a phase are published at most this often, each remap; what failed is tried again after as long. */
const paceMs = 200;

export interface OutgoingMessage {
  readonly subject: string;
  readonly text: string;
  /** By which JetStream knows it again. */
  readonly id: string;
  /** What it tells of: a later one of the same replaces it while it waits. */
  readonly replaces?: string;
  /** The id says what is told, so that whoever else publishes it gives it the same. */
  readonly stable: boolean;
}

export interface OutboxOptions {
  readonly bus: Pick<Bus, "publish">;
  /** A message found no room. */
  readonly onDrop: () => void;
  readonly log: Logger;
}

export class Outbox {
  readonly #options: OutboxOptions;
  readonly #waiting: OutgoingMessage[] = [];
  #changed = Promise.withResolvers<void>();

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** The message at the front may be on its way, so it is never replaced. A stable id outlives what it was first given to. */
  push(message: OutgoingMessage): void {
    const { replaces } = message;
    const index = replaces === undefined ? -1 : this.#waiting.findLastIndex((other) => other.replaces === replaces);
    const replaced = index > 0 ? this.#waiting[index] : undefined;
    if (replaced === undefined) this.#waiting.push(message);
    else if (message.stable || !replaced.stable) this.#waiting[index] = message;
    else this.#waiting[index] = { ...message, id: replaced.id, stable: true };
    if (this.#waiting.length > waitingMax) {
      this.#waiting.splice(1, 1);
      this.#options.onDrop();
    }
    this.#notify();
  }

  /** Publishes what waits, one by one and in order, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [next] = this.#waiting;
      if (next === undefined) await this.#change(signal);
      else await this.#publish(next, signal);
    }
  }

  /** Waits until nothing waits any more, or the signal aborts. */
  async drained(signal: AbortSignal): Promise<void> {
    while (this.#waiting.length > 0 && !signal.aborted) await this.#change(signal);
  }

  async #publish(next: OutgoingMessage, signal: AbortSignal): Promise<void> {
    const { bus, log } = this.#options;
    try {
      await bus.publish(next.subject, new TextEncoder().encode(next.text), { messageId: next.id, signal });
      if (this.#waiting[0] === next) this.#waiting.shift();
      this.#notify();
      if (next.replaces !== undefined && this.#waiting.length === 0) await sleep(paceMs, signal);
    } catch (error) {
      if (signal.aborted) return;
      log.warn({ error, subject: next.subject }, "a message is not published yet");
      await sleep(paceMs, signal).catch(() => undefined);
    }
  }

  #notify(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    changed.resolve();
  }

  async #change(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = this.#changed;
    signal.addEventListener("abort", () => resolve(), { once: true });
    if (signal.aborted) return;
    await promise;
  }
}
