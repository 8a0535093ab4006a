/** The life of a copy of a shard, and whom it takes its data from (SPEC H1 to H6). */
import { describe, expect, test } from "vitest";
import { assignShards, type Tracker } from "../../../src/placement/assignment.ts";
import {
  type Asked,
  candidatesFor,
  chooseGiver,
  isReplayCheaper,
  replayMessagesMax,
} from "../../../src/tracker/giver.ts";
import {
  caughtUpLagMax,
  isCaughtUp,
  nextPhase,
  type ReplicaEvent,
  type ReplicaPhase,
  replicaPhases,
} from "../../../src/tracker/life.ts";
import type { PeerReplica } from "../../../src/tracker/peers.ts";

const events: readonly ReplicaEvent[] = ["named", "unnamed", "filled", "caught-up", "relieved", "emptied"];
const live = (...happened: ReplicaEvent[]): ReplicaPhase => happened.reduce(nextPhase, "joining" as ReplicaPhase);

describe("the life of a copy", () => {
  test("goes from joining over tailing and serving to leaving and gone", () => {
    expect(live("filled")).toBe("tailing");
    expect(live("filled", "caught-up")).toBe("serving");
    expect(live("filled", "caught-up", "unnamed")).toBe("leaving");
    expect(live("filled", "caught-up", "unnamed", "relieved")).toBe("gone");
  });

  test("ends only by being relieved, or by having nothing that anybody could want (H1)", () => {
    const ways = replicaPhases.flatMap((phase) =>
      events
        .filter((event) => phase !== "gone" && nextPhase(phase, event) === "gone")
        .map((event) => `${phase} ${event}`),
    );
    expect(ways.sort()).toEqual(["joining unnamed", "leaving emptied", "leaving relieved"]);
  });

  test("has no way back from gone: what has begun to be deleted is deleted", () => {
    expect(events.map((event) => nextPhase("gone", event))).toEqual(events.map(() => "gone"));
  });

  test("comes to serving only by catching up (H2)", () => {
    for (const phase of replicaPhases)
      for (const event of events)
        if (phase !== "serving" && nextPhase(phase, event) === "serving")
          expect([phase, event]).toEqual(["tailing", "caught-up"]);
  });

  test("stays with who is named again before it was relieved", () => {
    expect(live("filled", "caught-up", "unnamed", "named")).toBe("tailing");
  });

  test("is caught up when little is left to apply, and nothing misses that the giver had", () => {
    const copy = { lag: 0, complete: true, taken: false };
    expect(isCaughtUp(copy)).toBe(true);
    expect(isCaughtUp({ ...copy, lag: caughtUpLagMax + 1 })).toBe(false);
    expect(isCaughtUp({ ...copy, lag: undefined })).toBe(false);
    expect(isCaughtUp({ ...copy, complete: false })).toBe(false);
    expect(isCaughtUp({ ...copy, complete: false, taken: true })).toBe(true);
  });
});

describe("whom a shard is taken from", () => {
  const [t1, t2, t3] = ["t1", "t2", "t3"].map((name) => ({ name, endpoint: `${name}:1` })) as [
    Tracker,
    Tracker,
    Tracker,
  ];
  const copy: PeerReplica = { phase: "serving", lag: 0, flows: 1, complete: true, applied: 10n };
  const asked = (tracker: Tracker, replica: Asked["replica"], former = true): Asked => ({ tracker, replica, former });

  test("are its holders of now, then those of earlier epochs, each once and never oneself", () => {
    const of = (epoch: bigint, trackers: Tracker[]) => assignShards(epoch, 1, trackers);
    const names = candidatesFor(0, "t1", of(3n, [t1, t2]), [of(2n, [t2, t3]), of(1n, [t1, t3])]).map(
      ({ name }) => name,
    );
    expect(names[0]).toBe("t2");
    expect(names.sort()).toEqual(["t2", "t3"]);
  });

  test("is the one that has come furthest, and a whole one first", () => {
    const ahead = { ...copy, applied: 20n };
    expect(chooseGiver([asked(t1, copy), asked(t2, ahead)])).toEqual({ kind: "found", tracker: t2 });
    expect(chooseGiver([asked(t1, copy), asked(t2, { ...ahead, complete: false })])).toEqual({
      kind: "found",
      tracker: t1,
    });
    expect(chooseGiver([asked(t1, { ...copy, phase: "leaving" })])).toEqual({ kind: "found", tracker: t1 });
  });

  test("is waited for while somebody should have it and does not answer or has not caught up", () => {
    expect(chooseGiver([asked(t1, "silent")])).toEqual({ kind: "wait" });
    expect(chooseGiver([asked(t1, { ...copy, phase: "tailing" }, false)])).toEqual({ kind: "wait" });
  });

  test("is nobody where nobody ever had it, or who had it has it no more", () => {
    expect(chooseGiver([])).toEqual({ kind: "nobody" });
    expect(chooseGiver([asked(t1, "silent", false), asked(t2, "none")])).toEqual({ kind: "nobody" });
    expect(chooseGiver([asked(t1, { ...copy, phase: "tailing", flows: 0 }, false)])).toEqual({ kind: "nobody" });
  });

  test("is not asked for a copy where the stream has all that ever was, and not much of it", () => {
    expect(isReplayCheaper({ first: 1n, last: replayMessagesMax })).toBe(true);
    expect(isReplayCheaper({ first: 1n, last: replayMessagesMax + 1n })).toBe(false);
    expect(isReplayCheaper({ first: 2n, last: 3n })).toBe(false);
  });
});
