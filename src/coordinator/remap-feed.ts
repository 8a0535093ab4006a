/**
 * Remaps for those who watch: streams of calls, and the messages of BATON_REMAPS and BATON_AUDIT.
 *
 * Nobody who watches slows a remap down. A watcher that is behind sees the newest state, not every one between; the
 * bus gets every change of phase, and of what happens within a phase the newest.
 *
 * What was stored is published at least once: the first message of a step, and an action that led to a write, have the same id
 * whichever leader publishes them.
 */
import type { Remap } from "../remap/remap.ts";
import { remapToText } from "../remap/report.ts";
import type { Outbox } from "./outbox.ts";
import type { StoredAudit } from "./ports.ts";

export const remapStreamName = "BATON_REMAPS";
export const auditStreamName = "BATON_AUDIT";

export const remapSubject = (id: string): string => `baton.remaps.${id}`;

interface Told {
  readonly text: string;
  readonly step: number;
}

export class RemapFeed {
  readonly #outbox: Pick<Outbox, "push">;
  readonly #process: string;
  readonly #watchers = new Map<string, Set<(remap: Remap) => void>>();
  readonly #last = new Map<string, Told>();
  #sequence = 0;

  /** `process`: random, this process's own; with a number it names what only this process tells. */
  constructor(outbox: Pick<Outbox, "push">, process: string) {
    this.#outbox = outbox;
    this.#process = process;
  }

  /** `step`: of the stored record that it rests on. */
  changed(remap: Remap, step: number): void {
    const text = remapToText(remap);
    const last = this.#last.get(remap.id);
    if (last?.text === text) return;
    if (remap.phase === "completed" || remap.phase === "aborted") this.#last.delete(remap.id);
    else this.#last.set(remap.id, { text, step });
    for (const watcher of this.#watchers.get(remap.id) ?? []) watcher(remap);
    const stable = last?.step !== step;
    const id = stable ? `${remap.id}.${step}` : this.#ownId();
    this.#outbox.push({ subject: remapSubject(remap.id), text, id, stable, replaces: `${remap.id} ${remap.phase}` });
  }

  audit({ action, entry, atMs, key }: StoredAudit): void {
    const body = { action, at: new Date(atMs).toISOString(), ...entry, ...(key !== undefined && { record: key }) };
    const id = key === undefined ? this.#ownId() : `audit ${key}`;
    this.#outbox.push({ subject: `baton.audit.${action}`, text: JSON.stringify(body), id, stable: key !== undefined });
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

  #ownId(): string {
    return `${this.#process}.${++this.#sequence}`;
  }
}
