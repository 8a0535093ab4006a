/** Who is suspected at present, by how many, and until when (Lifeguard's dynamic timeouts). */
import { Deadlines } from "./deadlines.ts";
import type { MemberName } from "./member.ts";
import { remainingSuspicionMs } from "./timing.ts";

interface Suspicion {
  startedMs: number;
  dueMs: number;
  /** When the suspect is told once more. */
  hearingMs: number;
  readonly wanted: number;
  readonly minMs: number;
  readonly maxMs: number;
  /** Who has accused it, each once: the first, and at most `wanted` others. */
  readonly accusers: MemberName[];
}

export class Suspicions {
  readonly #bySlot = new Map<number, Suspicion>();
  readonly #deadlines = new Deadlines();
  readonly #hearings = new Deadlines();
  readonly #hearingLeadMs: number;

  /** A suspect has a last hearing this long before its time is up. */
  constructor(hearingLeadMs: number) {
    this.#hearingLeadMs = hearingLeadMs;
  }

  get nextMs(): number {
    return Math.min(this.#deadlines.nextMs, this.#hearings.nextMs);
  }

  get size(): number {
    return this.#bySlot.size;
  }

  has(slot: number): boolean {
    return this.#bySlot.has(slot);
  }

  start(slot: number, from: MemberName, nowMs: number, wanted: number, minMs: number, maxMs: number): void {
    const accusers = [from];
    const suspicion = { startedMs: nowMs, dueMs: 0, hearingMs: 0, wanted, minMs, maxMs, accusers };
    this.#bySlot.set(slot, suspicion);
    this.#schedule(slot, suspicion, nowMs + remainingSuspicionMs(0, wanted, 0, minMs, maxMs));
  }

  /** True: an accuser that was not counted yet, and that counts. */
  confirm(slot: number, from: MemberName, nowMs: number): boolean {
    const suspicion = this.#bySlot.get(slot);
    if (suspicion === undefined) return false;
    const { accusers, wanted, minMs, maxMs, startedMs } = suspicion;
    if (accusers.length > wanted || accusers.includes(from)) return false;
    accusers.push(from);
    const remainingMs = remainingSuspicionMs(accusers.length - 1, wanted, nowMs - startedMs, minMs, maxMs);
    this.#schedule(slot, suspicion, nowMs + Math.max(0, remainingMs));
    return true;
  }

  isAccusedBy(slot: number, name: MemberName): boolean {
    return this.#bySlot.get(slot)?.accusers.includes(name) ?? false;
  }

  delete(slot: number): void {
    this.#bySlot.delete(slot);
    if (this.#bySlot.size > 0) return;
    this.#deadlines.clear();
    this.#hearings.clear();
  }

  /** One whose time is nearly up. */
  takeHearing(nowMs: number): number | undefined {
    for (;;) {
      const entry = this.#hearings.take(nowMs);
      if (entry === undefined) return undefined;
      if (this.#bySlot.get(entry.id)?.hearingMs === entry.atMs) return entry.id;
    }
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
    this.#hearings.clear();
    for (const [slot, suspicion] of this.#bySlot) {
      suspicion.startedMs += byMs;
      this.#schedule(slot, suspicion, suspicion.dueMs + byMs);
    }
  }

  #schedule(slot: number, suspicion: Suspicion, dueMs: number): void {
    suspicion.dueMs = dueMs;
    suspicion.hearingMs = dueMs - this.#hearingLeadMs;
    this.#deadlines.add(dueMs, slot);
    this.#hearings.add(suspicion.hearingMs, slot);
  }
}
