import { describe, expect, it } from "vitest";
import { Suspicions } from "../../../src/gossip/suspicions.ts";

function accused(hearingLeadMs = 0): Suspicions {
  const suspicions = new Suspicions(hearingLeadMs);
  suspicions.start(7, "first", 0, 3, 2_000, 30_000);
  return suspicions;
}

describe("a dogpile on a suspect", () => {
  it("counts each accuser once, and the first not again", () => {
    const suspicions = accused();
    const counted = ["first", "a", "a", "b", "a", "c", "d"].map((from) => suspicions.confirm(7, from, 100));
    expect(counted).toEqual([false, true, false, true, false, true, false]);
  });

  it("shortens the time with every accuser that counts", () => {
    const suspicions = accused();
    expect(suspicions.nextMs).toBe(30_000);
    suspicions.confirm(7, "a", 2_000);
    expect(suspicions.nextMs).toBe(16_000);
    suspicions.confirm(7, "b", 3_000);
    expect(suspicions.nextMs).toBe(7_810);
    suspicions.confirm(7, "c", 4_000);
    expect(suspicions.takeDue(4_000)).toBe(7);
  });

  it("fires once, however many deadlines were set", () => {
    const suspicions = accused();
    suspicions.confirm(7, "a", 10);
    suspicions.confirm(7, "b", 20);
    expect([suspicions.takeDue(60_000), suspicions.takeDue(60_000)]).toEqual([7, undefined]);
  });

  it("never fires for who has refuted", () => {
    const suspicions = accused();
    suspicions.delete(7);
    suspicions.start(7, "first", 29_000, 3, 2_000, 30_000);
    expect(suspicions.takeDue(31_000)).toBeUndefined();
  });

  it("does not count the time that we slept (M9)", () => {
    const suspicions = accused();
    suspicions.postpone(5_000);
    expect(suspicions.takeDue(34_999)).toBeUndefined();
    expect(suspicions.takeDue(35_000)).toBe(7);
  });

  it("has a last hearing before the time is up, earlier when confirmations bring that forward", () => {
    const suspicions = accused(1_000);
    expect(suspicions.takeHearing(28_999)).toBeUndefined();
    suspicions.confirm(7, "a", 2_000);
    expect(suspicions.nextMs).toBe(15_000);
    expect(suspicions.takeHearing(15_000)).toBe(7);
    expect(suspicions.takeHearing(60_000)).toBeUndefined();
    expect(suspicions.takeDue(16_000)).toBe(7);
  });

  it("names who has accused", () => {
    const suspicions = accused();
    suspicions.confirm(7, "a", 10);
    expect(["first", "a", "b"].map((name) => suspicions.isAccusedBy(7, name))).toEqual([true, true, false]);
  });
});
