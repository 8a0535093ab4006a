/** Members, and assignments that follow each other, for tests of placement. */
import { type Assignment, holdersOf } from "../../src/placement/assignment.ts";
import type { Candidate } from "../../src/placement/candidate.ts";
import { foldLoads, type LoadHistory, noLoads } from "../../src/placement/load-history.ts";
import type { Move } from "../../src/placement/move.ts";
import { nextAssignment, type Placement } from "../../src/placement/next-assignment.ts";
import type { PlacementPolicy } from "../../src/placement/policy.ts";
import { nothingKnown, type Situation } from "../../src/placement/situation.ts";

const gibibyte = 1024 ** 3;

export function candidate(name: string, rest: Partial<Candidate> = {}): Candidate {
  const size = { cpus: 4, memoryBytes: 16 * gibibyte };
  return { name, endpoint: `${name}.test:7410`, state: "alive", load: 0.3, hosting: "ready", ...size, ...rest };
}

export function candidates(count: number, rest: Partial<Candidate> = {}): Candidate[] {
  return Array.from({ length: count }, (_, index) => candidate(`m${index + 1}`, rest));
}

export function situation(members: readonly Candidate[], rest: Partial<Situation> = {}): Situation {
  return { ...nothingKnown, shards: 32, candidates: members, ...rest };
}

export interface Given {
  readonly shards?: number;
  readonly pins?: ReadonlyMap<number, string>;
  readonly policy?: PlacementPolicy;
}

/** A cluster whose time goes on by hand: the epochs of one member that decides alone, and is told the truth. */
export class Epochs {
  current: Assignment | undefined;
  nowMs = 0;
  readonly moves: Move[] = [];
  #loads: LoadHistory = noLoads;
  #epochAtMs = 0;
  readonly #movedAtMs = new Map<number, number>();
  readonly #heldSinceMs = new Map<number, Map<string, number>>();
  readonly #given: Given;

  constructor(given: Given = {}) {
    this.#given = given;
  }

  situation(members: readonly Candidate[]): Situation {
    return situation(members, {
      ...this.#given,
      previous: this.current,
      loads: this.#loads,
      nowMs: this.nowMs,
      epochAtMs: this.#epochAtMs,
      movedAtMs: this.#movedAtMs,
      heldSinceMs: this.#heldSinceMs,
    });
  }

  /** Later by so much: decides once. */
  step(members: readonly Candidate[], afterMs: number): Placement {
    this.nowMs += afterMs;
    this.#loads = foldLoads(this.#loads, members, this.nowMs);
    const placement = nextAssignment(this.situation(members));
    if (placement.kind === "unchanged") return placement;
    this.current = placement.next;
    this.#epochAtMs = this.nowMs;
    for (const { shard } of placement.moves) {
      this.#movedAtMs.set(shard, this.nowMs);
      const before = this.#heldSinceMs.get(shard);
      const names = holdersOf(placement.next, shard).map(({ name }) => name);
      this.#heldSinceMs.set(shard, new Map(names.map((name) => [name, before?.get(name) ?? this.nowMs])));
    }
    this.moves.push(...placement.moves);
    return placement;
  }

  /** Until nothing more moves for as long as anything is ever waited for. Returns what has moved. */
  settle(members: readonly Candidate[], epochsMax = 500): readonly Move[] {
    const before = this.moves.length;
    const quietMs = 700_000;
    const stepMs = 65_000;
    for (let quietForMs = 0, epochs = 0; quietForMs < quietMs; ) {
      if (this.step(members, stepMs).kind === "unchanged") quietForMs += stepMs;
      else quietForMs = 0;
      if (++epochs > epochsMax) throw new Error(`shards still move after ${epochsMax} epochs`);
    }
    return this.moves.slice(before);
  }

  copies(name: string): number {
    return countOf(this.current, name);
  }

  primaries(name: string): number {
    return this.current?.holders.filter(({ primary }) => primary.name === name).length ?? 0;
  }
}

export function countOf(assignment: Assignment | undefined, name: string): number {
  if (assignment === undefined) return 0;
  return assignment.holders.filter((_, shard) => holdersOf(assignment, shard).some((it) => it.name === name)).length;
}

/** Copies that had to be made. */
export function handoffs(moves: readonly Move[]): readonly Move[] {
  return moves.filter(({ role, from, to }) => role === "standby" && to !== undefined && to !== from);
}
