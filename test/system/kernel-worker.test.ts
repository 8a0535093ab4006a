import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Namespace } from "./kernel/namespace.ts";

interface Observed {
  few: string[];
  fewEvents: string[];
  closeMs: number;
  seen: number;
  overflowAt: number;
  manyRoutes: number;
  refused: string;
  absent: string;
}

describe("the receiving worker", () => {
  let namespace: Namespace;
  let observed: Observed;

  beforeAll(async () => {
    namespace = new Namespace("worker");
    observed = await namespace.script("worker.script.ts");
  });
  afterAll(() => namespace[Symbol.dispose]());

  it("hands over what its source decodes, in order, and nothing after its end", () => {
    expect(observed.few).toEqual(["new", "deleted"]);
    expect(observed.fewEvents).not.toContain("overflow");
  });

  it("ends soon after it is told to", () => {
    expect(observed.closeMs).toBeLessThan(1_000);
  });

  it("says that events were lost, and goes on, when the main thread was away for too long", () => {
    expect(observed.overflowAt).toBeGreaterThanOrEqual(0);
    expect(observed.seen).toBeLessThan(observed.manyRoutes);
  });

  it("refuses to start with the kernel's reason, or the module's", () => {
    expect(observed.refused).toMatch(/^set option 270\/1 of netlink route socket: EINVAL/);
    expect(observed.absent).toContain("absent.ts");
  });
});
