/**
 * What one member remembers in order to decide: loads, when shards moved, whom it has seen. Pure: told of everything, the
 * time included.
 *
 * All of it is lost with the process. So nobody is called gone who was never seen here, for a while; and whoever is
 * contradicted doubts itself: an epoch that gives shards to members that are gone here comes from somebody who sees them, and
 * two halves of a parted gossip that can both write epochs must not take turns at it.
 */
import { type Assignment, holdersOf } from "./assignment.ts";
import type { Candidate } from "./candidate.ts";
import { foldLoads, type LoadHistory, noLoads } from "./load-history.ts";
import { nextAssignment, type Placement, pinsOf } from "./next-assignment.ts";
import { defaultPolicy, type PlacementPolicy } from "./policy.ts";

export interface DeciderOptions {
  readonly shards: number;
  readonly policy?: PlacementPolicy;
}

/** Before the first epoch: how long nobody must have come or gone. */
const quietMs = 3_000;
/** How long a holder that was never seen is taken for one that gossip has not told of yet. */
const unseenMs = 60_000;
/**
 * How long who has left keeps its copies, for which it is suspect: a restart takes seconds, and then nothing need be copied.
 * Meanwhile the other copies answer.
 */
const returnMs = 30_000;
/** Names that are remembered; a cluster has far fewer members. */
const seenMax = 4_096;
/** How long a contradicted member leaves the gone where they are; doubled each time, up to the maximum. */
const doubtInitialMs = 10_000;
const doubtMaxMs = 600_000;
/** Whoever was not contradicted for that long starts at the beginning again. */
const doubtForgottenMs = 1_800_000;
const reliefForgottenMs = 3_600_000;

export class Decider {
  readonly #options: DeciderOptions;
  #candidates: readonly Candidate[] = [];
  #loads: LoadHistory = noLoads;
  #current: Assignment | undefined;
  #epochAtMs: number | undefined;
  readonly #unseenSinceMs = new Map<string, number>();
  readonly #leftSinceMs = new Map<string, number>();
  #changedMs = 0;
  /** The longest unseen first. */
  readonly #seen = new Set<string>();
  #doubts = 0;
  #doubtedAtMs = Number.NEGATIVE_INFINITY;
  readonly #movedAtMs = new Map<number, number>();
  readonly #heldSinceMs = new Map<number, ReadonlyMap<string, number>>();
  #reliefsAtMs: readonly number[] = [];

  constructor(options: DeciderOptions) {
    this.#options = options;
  }

  get current(): Assignment | undefined {
    return this.#current;
  }

  /** To be called now and then also when nothing has changed: that a load lasts is seen by nothing else. */
  members(told: readonly Candidate[], nowMs: number): void {
    const candidates = this.#expected(told, nowMs);
    if (!isSame(candidates, this.#candidates)) this.#changedMs = nowMs;
    this.#candidates = candidates;
    const { overloadedMs } = this.#options.policy ?? defaultPolicy;
    this.#loads = foldLoads(this.#loads, candidates, nowMs, overloadedMs);
    for (const { name } of candidates) {
      this.#seen.delete(name);
      this.#seen.add(name);
    }
    for (const name of this.#seen) {
      if (this.#seen.size <= seenMax) break;
      this.#seen.delete(name);
    }
  }

  /** An older one than is known changes nothing. */
  epoch(assignment: Assignment, nowMs: number): void {
    const before = this.#current;
    if (before !== undefined && assignment.epoch <= before.epoch) return;
    if (before !== undefined) this.#compare(before, assignment, nowMs);
    // Whether its copies are old or just being made is not known.
    else for (const shard of assignment.holders.keys()) this.#noteHolders(assignment, shard, nowMs);
    this.#noteUnseen(assignment, nowMs);
    this.#current = assignment;
    this.#epochAtMs = nowMs;
  }

  decide(nowMs: number): Placement {
    const { shards, policy = defaultPolicy } = this.#options;
    const previous = this.#current;
    if (previous === undefined && nowMs - this.#changedMs < quietMs) return { kind: "unchanged" };
    return nextAssignment({
      shards,
      candidates: [...this.#candidates, ...this.#presumed(nowMs)],
      previous,
      pins: pinsOf(previous),
      loads: this.#loads,
      nowMs,
      ...(this.#epochAtMs === undefined ? {} : { epochAtMs: this.#epochAtMs }),
      movedAtMs: this.#movedAtMs,
      heldSinceMs: this.#heldSinceMs,
      reliefs: this.#reliefsAtMs.filter((atMs) => nowMs - atMs < reliefForgottenMs).length,
      policy,
    });
  }

  /** Without those who have left for good. */
  #expected(told: readonly Candidate[], nowMs: number): readonly Candidate[] {
    const left = new Set(told.filter(({ state }) => state === "left").map(({ name }) => name));
    for (const name of left) if (!this.#leftSinceMs.has(name)) this.#leftSinceMs.set(name, nowMs);
    for (const name of [...this.#leftSinceMs.keys()]) if (!left.has(name)) this.#leftSinceMs.delete(name);
    return told.flatMap((candidate): Candidate[] => {
      const { name, hosting } = candidate;
      if (!left.has(name)) return [candidate];
      const isBackSoon = hosting !== "draining" && nowMs - (this.#leftSinceMs.get(name) ?? nowMs) < returnMs;
      // It can't be promoted: whatever its copies lack, it is away.
      return isBackSoon ? [{ ...candidate, state: "suspect", caughtUp: [] }] : [];
    });
  }

  #compare(before: Assignment, after: Assignment, nowMs: number): void {
    const present = new Set(this.#candidates.map(({ name }) => name));
    let isContradicted = false;
    let isRelief = false;
    for (let shard = 0; shard < after.holders.length; shard++) {
      const [had, has] = [namesOf(before, shard), namesOf(after, shard)];
      if (had.join(" ") === has.join(" ")) continue;
      this.#noteHolders(after, shard, nowMs);
      isContradicted ||= has.some((name) => !had.includes(name) && this.#isGone(name, present));
      isRelief ||= had.some((name, place) => has[place] !== name && this.#isOverloaded(name));
    }
    const recent = this.#reliefsAtMs.filter((atMs) => nowMs - atMs < reliefForgottenMs);
    this.#reliefsAtMs = isRelief ? [...recent, nowMs] : recent;
    if (!isContradicted) return;
    this.#doubts = nowMs - this.#doubtedAtMs >= doubtForgottenMs ? 1 : this.#doubts + 1;
    this.#doubtedAtMs = nowMs;
  }

  /** As a holder; gossip may only be late with it. */
  #isNewHere(name: string, nowMs: number): boolean {
    return nowMs - (this.#unseenSinceMs.get(name) ?? nowMs) < unseenMs;
  }

  /** Holders that gossip has never told of, from when they are known as such. */
  #noteUnseen({ holders }: Assignment, nowMs: number): void {
    const names = new Set(holders.flatMap(({ primary, standby }) => [primary.name, standby?.name ?? primary.name]));
    for (const name of names)
      if (!this.#seen.has(name) && !this.#unseenSinceMs.has(name)) this.#unseenSinceMs.set(name, nowMs);
    for (const name of [...this.#unseenSinceMs.keys()])
      if (this.#seen.has(name) || !names.has(name)) this.#unseenSinceMs.delete(name);
  }

  #noteHolders(assignment: Assignment, shard: number, nowMs: number): void {
    this.#movedAtMs.set(shard, nowMs);
    const before = this.#heldSinceMs.get(shard);
    const since = namesOf(assignment, shard).map((name) => [name, before?.get(name) ?? nowMs] as const);
    this.#heldSinceMs.set(shard, new Map(since));
  }

  #isOverloaded(name: string): boolean {
    return this.#loads.members.get(name)?.overloadedSinceMs !== undefined;
  }

  #isGone(name: string, present: ReadonlySet<string>): boolean {
    return this.#seen.has(name) && !present.has(name);
  }

  /** Holders that gossip does not tell of, and that are not gone for certain: they keep what they have. */
  #presumed(nowMs: number): Candidate[] {
    const present = new Set(this.#candidates.map(({ name }) => name));
    const isInDoubt = nowMs - this.#doubtedAtMs < Math.min(doubtMaxMs, doubtInitialMs * 2 ** (this.#doubts - 1));
    const trackers = this.#current?.holders.flatMap((_, shard) => holdersOf(this.#current as Assignment, shard)) ?? [];
    const absent = new Map(trackers.filter(({ name }) => !present.has(name)).map((it) => [it.name, it]));
    return [...absent.values()]
      .filter(({ name }) => isInDoubt || (!this.#seen.has(name) && this.#isNewHere(name, nowMs)))
      .map((tracker) => ({ ...tracker, state: "suspect", hosting: "closed", load: 0, cpus: 1, memoryBytes: 0 }));
  }
}

function namesOf(assignment: Assignment, shard: number): string[] {
  return holdersOf(assignment, shard).map(({ name }) => name);
}

/** As to who is there; loads and states come and go. */
function isSame(candidates: readonly Candidate[], others: readonly Candidate[]): boolean {
  const names = new Set(others.map(({ name }) => name));
  return candidates.length === names.size && candidates.every(({ name }) => names.has(name));
}
