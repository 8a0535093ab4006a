import { describe, expect, test } from "vitest";
import { foldLoads, levelOf, noLoads } from "../../../src/placement/load-history.ts";
import { type Move, moveText } from "../../../src/placement/move.ts";
import { nextAssignment, pinsOf } from "../../../src/placement/next-assignment.ts";
import { defaultPolicy } from "../../../src/placement/policy.ts";
import { Ring } from "../../../src/placement/ring.ts";
import { sharesOf } from "../../../src/placement/share.ts";
import { candidate, candidates, Epochs, handoffs } from "../../support/placement.ts";

function settled(count: number, rest: Parameters<typeof candidates>[1] = {}): Epochs {
  const epochs = new Epochs();
  epochs.settle(candidates(count, rest));
  return epochs;
}

function kinds(moves: readonly Move[]): string[] {
  return [...new Set(moves.map(({ reason }) => reason.kind))].toSorted();
}

/** Of the next decision, at once. */
function movesOf(epochs: Epochs, members: ReturnType<typeof candidates>, afterMs = 60_000): readonly Move[] {
  const placement = epochs.step(members, afterMs);
  return placement.kind === "unchanged" ? [] : placement.moves;
}

describe("a member that is gone", () => {
  test("leaves its primaries to their standbys at once, and its copies to others as the pace allows (P7, P10)", () => {
    const epochs = settled(3);
    const primaries = epochs.primaries("m1");
    const copies = epochs.copies("m1");
    const rest = candidates(3).slice(1);
    const moves = movesOf(epochs, rest, 1_000);
    expect(moves.filter(({ reason }) => reason.kind === "promoted")).toHaveLength(primaries);
    expect(handoffs(moves)).toHaveLength(defaultPolicy.handoffsMax);
    expect(epochs.copies("m1")).toBe(0);
    expect(handoffs(moves).length + handoffs(epochs.settle(rest)).length).toBe(copies);
  });

  test("keeps its shards while it is only suspect, and gets none (P11)", () => {
    const epochs = settled(3);
    const [first, ...rest] = candidates(3);
    expect(movesOf(epochs, [candidate("m1", { ...first, state: "suspect" }), ...rest])).toEqual([]);
    const withSuspect = [...candidates(3), candidate("m4", { state: "suspect" })];
    epochs.settle(withSuspect);
    expect(epochs.copies("m4")).toBe(0);
  });

  test("is followed by who has caught up, not by a standby that has not (P10)", () => {
    const epochs = settled(3);
    const holders = epochs.current?.holders[0];
    const [primary, standby] = [holders?.primary.name ?? "", holders?.standby?.name ?? ""];
    const third = ["m1", "m2", "m3"].find((name) => name !== primary && name !== standby) ?? "";
    const alive = [candidate(standby, { caughtUp: [] }), candidate(third, { caughtUp: [0] })];
    const moves = movesOf(epochs, alive).filter(({ shard }) => shard === 0);
    expect(moves[0]).toEqual({
      shard: 0,
      role: "primary",
      from: primary,
      to: third,
      reason: { kind: "member-left", member: primary },
    });
    expect(epochs.current?.holders[0]?.standby?.name).toBe(standby);
  });

  test("changes nothing when nobody else is left, and leaves everything to the one that is (P9)", () => {
    const epochs = settled(2);
    expect(epochs.step([], 60_000)).toEqual({ kind: "unchanged" });
    epochs.step(candidates(1), 1_000);
    expect(
      epochs.current?.holders.every(({ primary, standby }) => primary.name === "m1" && standby === undefined),
    ).toBe(true);
    const others = [candidate("m9")];
    epochs.step(others, 1_000);
    expect(epochs.copies("m9")).toBe(32);
  });
});

describe("a member that joins", () => {
  test("is filled by paced moves of standbys, then gets primaries by changing places (P5, P7)", () => {
    const epochs = settled(3);
    const members = candidates(4);
    const first = movesOf(epochs, members);
    expect(first.filter(({ role }) => role === "standby").every(({ to }) => to === "m4")).toBe(true);
    expect(handoffs(first)).toHaveLength(defaultPolicy.handoffsMax);
    expect(movesOf(epochs, members, defaultPolicy.moveIntervalMs)).toEqual([]);
    const moves = epochs.settle(members);
    expect(kinds(moves)).toContain("filling");
    expect(epochs.copies("m4")).toBeGreaterThanOrEqual(12);
    expect(epochs.primaries("m4")).toBeGreaterThanOrEqual(6);
  });

  test("makes the one member's shards whole, and takes its part of the primaries", () => {
    const epochs = settled(1);
    expect(kinds(epochs.settle(candidates(2)))).toEqual(["primaries-uneven", "standby-missing"]);
    expect([epochs.copies("m1"), epochs.copies("m2")]).toEqual([32, 32]);
    expect(epochs.primaries("m2")).toBeGreaterThanOrEqual(12);
  });

  test("has an address of its own: who comes back elsewhere is found there", () => {
    const epochs = settled(2);
    const [first, second] = candidates(2);
    const moves = movesOf(epochs, [candidate("m1", { ...first, endpoint: "elsewhere:1" }), second ?? candidate("m2")]);
    expect(kinds(moves)).toEqual(["endpoint-changed"]);
    expect(epochs.current?.holders[0]?.primary.endpoint === "elsewhere:1").toBe(
      epochs.current?.holders[0]?.primary.name === "m1",
    );
  });
});

describe("a member with more to do than the others", () => {
  test("gives shards away within three minutes, and not before its load has lasted (P6)", () => {
    const epochs = settled(4);
    const members = candidates(4).map((member) => (member.name === "m2" ? { ...member, load: 0.9 } : member));
    const before = epochs.copies("m2");
    expect(movesOf(epochs, members, 5_000)).toEqual([]);
    let waitedMs = 5_000;
    while (epochs.copies("m2") === before && waitedMs < 600_000) {
      epochs.step(members, 5_000);
      waitedMs += 5_000;
    }
    expect(waitedMs).toBeLessThanOrEqual(180_000);
    expect(kinds(epochs.moves.slice(-1))).toEqual(["over-loaded"]);
  });

  test("is given none back before it has been calm for ten minutes (P6)", () => {
    const epochs = settled(4);
    const busy = candidates(4).map((member) => (member.name === "m2" ? { ...member, load: 0.9 } : member));
    epochs.settle(busy);
    const low = epochs.copies("m2");
    const least = sharesOf(candidates(4), 32, defaultPolicy.slack).copies.get("m2")?.least ?? 0;
    expect(low).toBeLessThan(least);
    for (let step = 0; step < 9; step++) expect(movesOf(epochs, candidates(4))).toEqual([]);
    epochs.settle(candidates(4));
    expect(epochs.copies("m2")).toBeGreaterThanOrEqual(least);
  });

  test("of two lets the other answer, for both hold everything", () => {
    const epochs = settled(2);
    const busy = candidates(2).map((member) => (member.name === "m2" ? { ...member, load: 0.9 } : member));
    const before = epochs.primaries("m2");
    const moves = epochs.settle(busy);
    expect(kinds(moves)).toEqual(["over-loaded"]);
    expect(handoffs(moves)).toEqual([]);
    expect(epochs.primaries("m2")).toBeLessThan(before);
  });

  test("is told from one that strays, whatever the mean: by twice the others' and a level and a half", () => {
    const isOverloaded = (loads: readonly number[]): boolean => {
      const members = loads.map((load, index) => candidate(`m${index}`, { load }));
      return foldLoads(noLoads, members, 1_000).members.get("m0")?.overloadedSinceMs !== undefined;
    };
    expect(isOverloaded([0.6, 0.2, 0.2])).toBe(true);
    expect(isOverloaded([1, 0.45, 0.45])).toBe(true);
    expect(isOverloaded([0.51, 0.34, 0.34])).toBe(false);
    expect(isOverloaded([0.96, 0.64, 0.64])).toBe(false);
    expect(isOverloaded([0.15, 0.05, 0.05])).toBe(false);
    expect(isOverloaded([1])).toBe(false);
    expect([Number.NaN, -1, 0, 0.124, 0.125, 1, 7].map(levelOf)).toEqual([0.5, 0.5, 0.5, 0.5, 1.5, 7.5, 7.5]);
  });
});

describe("a member that is to stop", () => {
  test("gives everything away, and every shard has a copy that has caught up all the while", () => {
    const epochs = settled(3);
    const members = candidates(3).map((it) => (it.name === "m3" ? { ...it, hosting: "draining" as const } : it));
    const moves = epochs.settle(members);
    expect(kinds(moves)).toEqual(["member-draining", "promoted"]);
    expect(epochs.copies("m3")).toBe(0);
    expect(epochs.current?.holders.every(({ standby }) => standby !== undefined)).toBe(true);
  });

  test("gives up second copies that nobody takes, once the first lacks nothing and stays (P13)", () => {
    const epochs = settled(2);
    const leaving = candidate("m2", { hosting: "draining" });
    const behind = [candidate("m1", { caughtUp: [] }), leaving];
    epochs.settle(behind);
    expect(epochs.copies("m2")).toBe(32);
    epochs.settle([candidate("m1"), leaving, candidate("m3", { state: "suspect" })]);
    expect(epochs.copies("m2")).toBe(32);
    epochs.settle([candidate("m1"), leaving]);
    expect([epochs.copies("m1"), epochs.copies("m2")]).toEqual([32, 0]);
  });

  test("leaves its copies even where all others are closed, and these take none for it (P13)", () => {
    const epochs = settled(3);
    const closed = ["m1", "m2"].map((name) => candidate(name, { hosting: "closed" }));
    const before = ["m1", "m2"].map((name) => epochs.copies(name));
    epochs.settle([...closed, candidate("m3", { hosting: "draining" })]);
    expect(epochs.copies("m3")).toBe(0);
    expect(["m1", "m2"].map((name) => epochs.copies(name))).toEqual(before);
  });

  test("keeps what it has where there is nobody else", () => {
    const epochs = settled(1);
    expect(epochs.settle([candidate("m1", { hosting: "draining" })])).toEqual([]);
  });
});

describe("what members are like", () => {
  test("decides their parts: processors, memory, other work, and never more than one copy of each shard", () => {
    const gibibyte = 1024 ** 3;
    const members = [
      candidate("a-large", { cpus: 16, memoryBytes: 64 * gibibyte }),
      candidate("b-small-memory", { cpus: 16, memoryBytes: 4 * gibibyte }),
      candidate("c-shared", { cpus: 4, memoryBytes: 64 * gibibyte, besideAgent: true }),
    ];
    const fair = (count: number): number[] =>
      [...sharesOf(members, count, 0.25).copies].toSorted().map(([, share]) => share.fair);
    expect(fair(30)).toEqual([30, 15, 15]);
    const first = new Epochs();
    first.settle(members);
    expect(first.copies("a-large")).toBeGreaterThanOrEqual(24);
  });

  test("sets the copies of a shard into different zones where parts allow it (P1)", () => {
    const zones = ["north", "north", "south", "south"];
    const members = candidates(4).map((member, index) => ({ ...member, zone: zones[index] ?? "" }));
    const epochs = settled(4);
    expect(kinds(epochs.settle(members))).toContain("zone-shared");
    const zoneOf = (name = ""): string | undefined => members.find((member) => member.name === name)?.zone;
    const shared = (epochs.current?.holders ?? []).filter(
      ({ primary, standby }) => zoneOf(primary.name) === zoneOf(standby?.name),
    );
    expect(shared).toEqual([]);
  });

  test("changes nobody else's place in a shard's order when one joins, however many there are", () => {
    const names = Array.from({ length: 60 }, (_, index) => `m${index}`);
    for (const count of [6, 7, 13, 14, 28, 49, 56]) {
      const before = new Ring(names.slice(0, count));
      const after = new Ring(names.slice(0, count + 1));
      for (let shard = 0; shard < 8; shard++) {
        const kept = [...after.ranks(shard).keys()].filter((name) => name !== names[count]);
        expect(kept).toEqual([...before.ranks(shard).keys()]);
      }
    }
  });

  test("may be named like anything that gossip allows", () => {
    const names = ["__proto__", "constructor", "10", "9", "toString"];
    expect([...new Ring(names).ranks(0).keys()].toSorted()).toEqual(names.toSorted());
  });
});

describe("a pin", () => {
  test("is in the epochs, and lasts until its member goes (P8)", () => {
    const epochs = new Epochs({ pins: new Map([[5, "m2"]]) });
    epochs.settle(candidates(3));
    expect(pinsOf(epochs.current)).toEqual(new Map([[5, "m2"]]));
    const rest = candidates(3).filter(({ name }) => name !== "m2");
    epochs.settle(rest);
    expect(pinsOf(epochs.current)).toEqual(new Map());
    expect(kinds(epochs.settle(candidates(3)))).toContain("pinned");
    expect(epochs.current?.holders[5]?.primary.name).toBe("m2");
  });
});

describe("an assignment", () => {
  test("of another number of shards is a fault of the caller's", () => {
    const epochs = settled(2);
    const { previous, ...rest } = epochs.situation(candidates(2));
    expect(() => nextAssignment({ ...rest, previous, shards: 64 })).toThrow("32 shards, and this cluster 64");
    expect(() => nextAssignment({ ...rest, previous, candidates: [candidate("m1"), candidate("m1")] })).toThrow(
      "two members have the same name",
    );
  });

  test("is told of in words", () => {
    const texts = [
      { shard: 3, role: "standby", from: "m1", to: "m2", reason: { kind: "over-loaded", level: 6.5, mean: 2 } },
      { shard: 4, role: "primary", from: "m1", to: "m3", reason: { kind: "promoted", insteadOf: "m1" } },
      { shard: 5, role: "standby", from: "m1", reason: { kind: "member-left", member: "m1" } },
    ] satisfies Move[];
    expect(texts.map(moveText)).toEqual([
      "shard 3: standby m1 → m2: its load is 6.5 eighths, the others' 2.0",
      "shard 4: primary m1 → m3: promoted instead of m1",
      "shard 5: standby m1 → nobody: m1 is gone",
    ]);
  });
});
