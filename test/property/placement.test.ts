/** Whatever the members, their sizes, zones, loads and the history of epochs: what must hold of every assignment. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Assignment, holdersOf, type ShardHolders } from "../../src/placement/assignment.ts";
import type { Candidate } from "../../src/placement/candidate.ts";
import type { Move } from "../../src/placement/move.ts";
import { nextAssignment } from "../../src/placement/next-assignment.ts";
import { defaultPolicy } from "../../src/placement/policy.ts";
import { sharesOf } from "../../src/placement/share.ts";
import { candidate, candidates, countOf, Epochs, handoffs, situation } from "../support/placement.ts";

const gibibyte = 1024 ** 3;

const anyCandidate = (name: string): fc.Arbitrary<Candidate> =>
  fc
    .record({
      load: fc.double({ min: 0, max: 1, noNaN: true }),
      cpus: fc.constantFrom(1, 2, 4, 8),
      memoryBytes: fc.constantFrom(2, 8, 32).map((size) => size * gibibyte),
      zone: fc.constantFrom("north", "south", undefined),
      hosting: fc.constantFrom(
        "ready" as const,
        "ready" as const,
        "ready" as const,
        "closed" as const,
        "draining" as const,
      ),
      state: fc.constantFrom("alive" as const, "alive" as const, "alive" as const, "suspect" as const),
    })
    .map(({ zone, ...rest }) => candidate(name, zone === undefined ? rest : { ...rest, zone }));

const anyMembers = fc
  .uniqueArray(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 9 })
  .chain((numbers) => fc.tuple(...numbers.map((number) => anyCandidate(`m${number}`))));

const shards = fc.constantFrom(1, 4, 32, 100);

function sharesFor(members: readonly Candidate[], count: number) {
  return sharesOf(members, count, defaultPolicy.slack).copies;
}

/** What follows from the moves alone. */
function replay(before: Assignment | undefined, moves: readonly Move[], members: ReadonlySet<string>, count: number) {
  const holders = Array.from({ length: count }, (_, shard) => namesOf(before?.holders[shard]));
  for (const { shard, role, from, to } of moves) {
    const [primary, standby] = holders[shard] ?? [];
    expect(from).toBe(role === "primary" ? primary : standby);
    const changesPlaces = to === standby && from !== undefined && members.has(from);
    if (role === "standby") holders[shard] = [primary, to];
    else holders[shard] = [to, changesPlaces ? from : to === standby ? undefined : standby];
  }
  return holders;
}

function namesOf(holders: ShardHolders | undefined): readonly [string | undefined, string | undefined] {
  return [holders?.primary.name, holders?.standby?.name];
}

describe("the next assignment", { timeout: 60_000 }, () => {
  test("never has both copies on one member, and changes what its moves say and nothing else (P1, P2)", () => {
    fc.assert(
      fc.property(fc.array(anyMembers, { minLength: 1, maxLength: 8 }), shards, (history, count) => {
        const epochs = new Epochs({ shards: count });
        for (const members of history) {
          const before = epochs.current;
          const placement = epochs.step(members, 40_000);
          if (placement.kind === "unchanged") continue;
          const { next, moves } = placement;
          expect(next.epoch).toBe((before?.epoch ?? 0n) + 1n);
          expect(next.holders).toHaveLength(count);
          expect(next.holders.map(namesOf)).toEqual(
            replay(before, moves, new Set(members.map(({ name }) => name)), count),
          );
          for (const { primary, standby } of next.holders) expect(standby?.name).not.toBe(primary.name);
        }
      }),
    );
  });

  test("is the same for everyone who knows the same, in whatever order they have it (P3)", () => {
    fc.assert(
      fc.property(
        fc.array(anyMembers, { minLength: 2, maxLength: 5 }),
        fc.infiniteStream(fc.nat()),
        (history, keys) => {
          const epochs = new Epochs();
          for (const members of history) {
            const now = epochs.situation(members);
            const keyed = members.map((member) => ({ member, key: keys.next().value ?? 0 }));
            const shuffled = keyed.toSorted((a, b) => a.key - b.key).map(({ member }) => member);
            expect(nextAssignment({ ...now, candidates: shuffled })).toEqual(nextAssignment(now));
            epochs.step(members, 40_000);
          }
        },
      ),
    );
  });

  test("keeps everybody within the bound, first and whenever things have settled (P4)", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 4 }), shards, (sizes, count) => {
        const epochs = new Epochs({ shards: count });
        for (const size of sizes) {
          const members = candidates(size).map((member, index) => ({ ...member, cpus: 1 + (index % 3) }));
          epochs.settle(members);
          for (const [name, { most, least }] of sharesFor(members, count)) {
            expect(epochs.copies(name)).toBeLessThanOrEqual(most);
            expect(epochs.copies(name)).toBeGreaterThanOrEqual(least);
          }
        }
      }),
      { numRuns: 40 },
    );
  });

  test("gives the first assignment within the bound", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 16 }), shards, (size, count) => {
        const members = candidates(size).map((member, index) => ({ ...member, cpus: 1 + (index % 4) }));
        const first = nextAssignment(situation(members, { shards: count }));
        if (first.kind === "unchanged") throw new Error("there is no first assignment");
        for (const [name, { most }] of sharesFor(members, count))
          expect(countOf(first.next, name)).toBeLessThanOrEqual(most);
      }),
    );
  });

  test("moves to a newcomer about its part, and between nobody else; on a leave only what was the leaver's (P5)", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 9 }), (size) => {
        const epochs = new Epochs();
        const members = candidates(size);
        epochs.settle(members);
        const joined = [...members, candidate("newcomer")];
        const moves = handoffs(epochs.settle(joined));
        const fair = sharesFor(joined, 32).get("newcomer")?.fair ?? 0;
        expect(moves.length).toBeGreaterThanOrEqual(Math.floor(fair * (1 - defaultPolicy.slack)));
        expect(moves.length).toBeLessThanOrEqual(Math.ceil(fair) + 2);
        expect(moves.filter(({ to }) => to !== "newcomer").length).toBeLessThanOrEqual(2);
        const had = epochs.copies("m1");
        const left = joined.filter(({ name }) => name !== "m1");
        expect(handoffs(epochs.settle(left)).length).toBeLessThanOrEqual(had + 2);
        expect(epochs.copies("m1")).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  test("moves nothing while loads stray by a fifth from any common mean, however long they stay so (P6)", () => {
    const draws = fc.array(fc.double({ min: -0.2, max: 0.2, noNaN: true }), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.array(draws, { minLength: 1, maxLength: 6 }),
        (mean, strays) => {
          const epochs = new Epochs();
          const at = (stray: readonly number[]): Candidate[] =>
            candidates(5).map((member, index) => ({ ...member, load: Math.min(1, mean * (1 + (stray[index] ?? 0))) }));
          epochs.step(at([]), 0);
          for (const stray of strays)
            for (let step = 0; step < 20; step++) expect(epochs.step(at(stray), 30_000)).toEqual({ kind: "unchanged" });
        },
      ),
      { numRuns: 60 },
    );
  });

  test("makes at most so many copies at a time, whatever happens (P7)", () => {
    fc.assert(
      fc.property(fc.array(anyMembers, { minLength: 2, maxLength: 8 }), (history) => {
        const epochs = new Epochs();
        epochs.step(candidates(3), 0);
        const placed = new Map<number, { readonly to: string; readonly atMs: number }>();
        for (const members of history) {
          const placement = epochs.step(members, 7_000);
          if (placement.kind === "unchanged") continue;
          for (const { shard, to } of handoffs(placement.moves))
            placed.set(shard, { to: to ?? "", atMs: epochs.nowMs });
          const isBeingMade = (shard: number, to: string, atMs: number): boolean =>
            epochs.current?.holders[shard]?.standby?.name === to && epochs.nowMs - atMs < defaultPolicy.handoffMs;
          const beingMade = [...placed].filter(([shard, { to, atMs }]) => isBeingMade(shard, to, atMs));
          expect(beingMade.length).toBeLessThanOrEqual(defaultPolicy.handoffsMax);
        }
      }),
    );
  });

  test("brings pinned primaries where they are wanted, and leaves them there (P8)", () => {
    const anyPins = fc.dictionary(fc.integer({ min: 0, max: 31 }).map(String), fc.constantFrom("m1", "m2", "m3"));
    fc.assert(
      fc.property(anyPins, fc.integer({ min: 3, max: 6 }), (wanted, size) => {
        const pins = new Map(Object.entries(wanted).map(([shard, name]) => [Number(shard), name]));
        const epochs = new Epochs({ pins });
        epochs.settle(candidates(3));
        epochs.settle(candidates(size));
        for (const [shard, name] of pins) {
          expect(epochs.current?.holders[shard]?.primary.name).toBe(name);
          expect(epochs.current?.holders[shard]?.pinned).toBe(true);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("keeps every shard held while anybody lives, and comes to rest whatever the members are (P2, P9)", () => {
    fc.assert(
      fc.property(anyMembers, anyMembers, (before, after) => {
        const epochs = new Epochs();
        epochs.step(candidates(3), 0);
        epochs.settle(before);
        epochs.settle(after);
        const names = new Set(after.map(({ name }) => name));
        const current = epochs.current;
        if (current === undefined) throw new Error("there is no assignment");
        const takers = after.filter(({ state, hosting }) => state === "alive" && hosting === "ready");
        for (const [shard] of current.holders.entries()) {
          const holders = holdersOf(current, shard);
          expect(holders.every(({ name }) => names.has(name))).toBe(true);
          if (takers.length >= 2) expect(holders).toHaveLength(2);
        }
      }),
      { numRuns: 30 },
    );
  });
});
