/** Who is suspected at present, by how many, and until when (Lifeguard's dynamic timeouts). */
import { Deadlines } from "./deadlines.ts";
import type { MemberName } from "./member.ts";
import { remainingSuspicionMs } from "./timing.ts";

interface Suspicion {
  startedMs: number;
  dueMs: number;
  readonly wanted: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Who has accused it, each once: the first, and at most `wanted` others. */
  readonly accusers: MemberName[];
}

export class Suspicions {
  readonly #bySlot = new Map<number, Suspicion>();
  readonly #deadlines = new Deadlines();

  get nextMs(): number {
    return this.#deadlines.nextMs;
  }

  get size(): number {
    return this.#bySlot.size;
  }

  has(slot: number): boolean {
    return this.#bySlot.has(slot);
  }

  start(slot: number, from: MemberName, nowMs: number, wanted: number, minMs: number, maxMs: number): void {
    const dueMs = nowMs + remainingSuspicionMs(0, wanted, 0, minMs, maxMs);
    this.#bySlot.set(slot, { startedMs: nowMs, dueMs, wanted, minMs, maxMs, accusers: [from] });
    this.#deadlines.add(dueMs, slot);
  }

  /** True: an accuser that was not counted yet, and that counts. */
  confirm(slot: number, from: MemberName, nowMs: number): boolean {
    const suspicion = this.#bySlot.get(slot);
    if (suspicion === undefined) return false;
    const { accusers, wanted, minMs, maxMs, startedMs } = suspicion;
    if (accusers.length > wanted || accusers.includes(from)) return false;
    accusers.push(from);
    suspicion.dueMs =
      nowMs + Math.max(0, remainingSuspicionMs(accusers.length - 1, wanted, nowMs - startedMs, minMs, maxMs));
    this.#deadlines.add(suspicion.dueMs, slot);
    return true;
  }

  delete(slot: number): void {
    this.#bySlot.delete(slot);
    if (this.#bySlot.size === 0) this.#deadlines.clear();
  }

  /** One whose time is up; it is suspected no longer. */
  takeDue(nowMs: number): number | undefined {
    for (;;) {
      const entry = this.#deadlines.take(nowMs);
      if (entry === undefined) return undefined;
      if (this.#bySlot.get(entry.id)?.dueMs !== entry.atMs) continue;
      this.delete(entry.id);
      return entry.id;
    }
  }

  /** The time that we slept does not count against anybody. */
  postpone(byMs: number): void {
    this.#deadlines.clear();
    for (const [slot, suspicion] of this.#bySlot) {
      suspicion.startedMs += byMs;
      suspicion.dueMs += byMs;
      this.#deadlines.add(suspicion.dueMs, slot);
    }
  }
}
