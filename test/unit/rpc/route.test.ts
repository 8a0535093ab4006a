import { describe, expect, it } from "vitest";
import { leaderlessMsMax, Route } from "../../../src/rpc/route.ts";

const dead = { kind: "unreachable", cause: "refused" } as const;
const follower = { kind: "not-leader", cause: "nobody leads" } as const;
const followerOf = (leader: string) => ({ ...follower, leader }) as const;

describe("the route to the leading coordinator", () => {
  it("goes past dead ones in the order given", () => {
    const route = new Route(["a", "b", "c"]);
    expect(route.first()).toBe("a");
    expect(route.after("a", dead, 0)).toEqual({ kind: "try", endpoint: "b", waitMs: 0 });
    expect(route.after("b", dead, 0)).toEqual({ kind: "try", endpoint: "c", waitMs: 0 });
  });

  it("gives up at once when a whole round finds nobody, with every cause", () => {
    const route = new Route(["a", "b"]);
    route.after(route.first(), dead, 0);
    expect(route.after("b", { kind: "unreachable", cause: "silent" }, 0)).toEqual({
      kind: "give-up",
      reasons: ["a: refused", "b: silent"],
    });
  });

  it("asks the leader that a follower names, also one that was not configured", () => {
    const route = new Route(["a", "b"]);
    route.first();
    expect(route.after("a", followerOf("x"), 0)).toEqual({ kind: "try", endpoint: "x", waitMs: 0 });
  });

  it("never asks the same one twice in a round, though two call each other the leader", () => {
    const route = new Route(["a", "b"]);
    route.first();
    expect(route.after("a", followerOf("b"), 0)).toEqual({ kind: "try", endpoint: "b", waitMs: 0 });
    expect(route.after("b", followerOf("a"), 0)).toEqual({ kind: "try", endpoint: "a", waitMs: 250 });
  });

  it("waits for an election as long as one may take, and not longer", () => {
    const route = new Route(["a", "b"]);
    route.first();
    route.after("a", dead, 0);
    expect(route.after("b", follower, 1_000)).toEqual({ kind: "try", endpoint: "a", waitMs: 250 });
    route.after("a", dead, 1_250);
    expect(route.after("b", follower, leaderlessMsMax)).toEqual({
      kind: "give-up",
      reasons: ["a: refused", "b: nobody leads"],
    });
  });
});
