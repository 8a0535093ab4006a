/**
 * Remaps for those who watch: streams of calls, and the messages of BATON_REMAPS and BATON_AUDIT.
 *
 * Nobody who watches slows a remap down. A watcher that is behind sees the newest state, not every one between; the
 * bus gets every change of phase, and of what happens within a phase the newest.
 */
import type { Bus } from "../bus/bus.ts";
import type { Remap } from "../remap/remap.ts";
import { remapToText } from "../remap/report.ts";
import type { Logger } from "../runtime/log.ts";
import { sleep } from "../runtime/retry.ts";
import type { AuditEntry } from "./ports.ts";

export const remapStreamName = "BATON_REMAPS";
export const auditStreamName = "BATON_AUDIT";

/** Messages that wait for the bus; beyond it, the oldest go. */
const waitingMax = 10_000;
/** Changes within a phase are published at most this often, each remap. */
const paceMs = 200;

interface Message {
  readonly subject: string;
  readonly text: string;
  readonly id: string;
  /** The remap and phase that it tells of: a later one of the same replaces it while it waits. */
  readonly replaces?: string;
}

export class RemapFeed {
  readonly #bus: Pick<Bus, "publish">;
  readonly #log: Logger;
  readonly #process: string;
  readonly #watchers = new Map<string, Set<(remap: Remap) => void>>();
  readonly #last = new Map<string, string>();
  readonly #waiting: Message[] = [];
  #sequence = 0;
  #wake: (() => void) | undefined;

  /** `process`: random, this process's own; with a number it names each message. */
  constructor(bus: Pick<Bus, "publish">, process: string, log: Logger) {
    this.#bus = bus;
    this.#process = process;
    this.#log = log;
  }

  changed(remap: Remap): void {
    const text = remapToText(remap);
    if (this.#last.get(remap.id) === text) return;
    if (remap.phase === "completed" || remap.phase === "aborted") this.#last.delete(remap.id);
    else this.#last.set(remap.id, text);
    for (const watcher of this.#watchers.get(remap.id) ?? []) watcher(remap);
    this.#push(`baton.remaps.${remap.id}`, text, `${remap.id} ${remap.phase}`);
  }

  audit(action: string, entry: AuditEntry, atMs: number): void {
    this.#push(`baton.audit.${action}`, JSON.stringify({ action, at: new Date(atMs).toISOString(), ...entry }));
  }

  /** Calls back at every change, until disposed. */
  watch(id: string, watcher: (remap: Remap) => void): Disposable {
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(watcher));
    return {
      [Symbol.dispose]: () => {
        watchers.delete(watcher);
        if (watchers.size === 0) this.#watchers.delete(id);
      },
    };
  }

  /** Publishes what waits, one by one and in order, until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const [next] = this.#waiting;
      if (next === undefined) {
        await this.#arrival(signal);
        continue;
      }
      try {
        await this.#bus.publish(next.subject, new TextEncoder().encode(next.text), { messageId: next.id, signal });
        if (this.#waiting[0] === next) this.#waiting.shift();
        if (next.replaces !== undefined && this.#waiting.length === 0) await sleep(paceMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#log.warn({ error, subject: next.subject }, "a message is not published yet");
        await sleep(paceMs, signal).catch(() => undefined);
      }
    }
  }

  /** The message at the front may be on its way, so it is never replaced. */
  #push(subject: string, text: string, replaces?: string): void {
    const id = `${this.#process}.${++this.#sequence}`;
    const message = { subject, text, id, ...(replaces !== undefined && { replaces }) };
    const index = replaces === undefined ? -1 : this.#waiting.findLastIndex((other) => other.replaces === replaces);
    if (index > 0) this.#waiting[index] = message;
    else this.#waiting.push(message);
    if (this.#waiting.length > waitingMax) this.#waiting.splice(1, 1);
    this.#wake?.();
  }

  async #arrival(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    this.#wake = undefined;
  }
}
