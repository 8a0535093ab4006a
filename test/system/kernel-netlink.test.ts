import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Namespace } from "./kernel/namespace.ts";

interface Observed {
  ruleCount: number;
  quiet: { count: number; interrupted: boolean };
  quietLinks: { count: number; interrupted: boolean };
  changedLinks: { count: number; interrupted: boolean };
  afterBreak: number;
  once: { passes: number; count: number };
  always: { passes: number; count: number };
  refused: { errno: string; detail: string; message: string };
  granted: number;
}

/** "local", "main" and "default", which every namespace has. */
const ownRules = 3;

describe("netlink", () => {
  let namespace: Namespace;
  let observed: Observed;

  beforeAll(async () => {
    namespace = new Namespace("netlink");
    observed = await namespace.script("netlink.script.ts");
  });
  afterAll(() => namespace[Symbol.dispose]());

  it("streams a table of many datagrams", () => {
    expect(observed.quiet).toEqual({ count: observed.ruleCount + ownRules, interrupted: false });
  });

  it("says when the table changed in the middle", () => {
    expect(observed.quietLinks.interrupted).toBe(false);
    expect(observed.changedLinks.interrupted).toBe(true);
  });

  it("answers the next request after a stream that was left early", () => {
    expect(observed.afterBreak).toBe(observed.ruleCount + ownRules);
  });

  it("repeats a dump of a table that changes, but not for ever", () => {
    expect(observed.once).toEqual({ passes: 3, count: observed.ruleCount + ownRules });
    expect(observed.always.passes).toBe(10);
  });

  it("refuses with the errno and the kernel's own words", () => {
    expect(observed.refused).toMatchObject({ errno: "EOPNOTSUPP", detail: "Unknown device type" });
    expect(observed.refused.message).toContain("make a device of no kind: EOPNOTSUPP (Unknown device type)");
  });

  it("gets a receive buffer beyond the limit of ordinary processes", () => {
    expect(observed.granted).toBeGreaterThanOrEqual(8 << 20);
  });
});
