import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NftablesListing, NftablesOutcome } from "../../src/kernel/nftables.ts";
import { Namespace } from "./kernel/namespace.ts";

interface Observed {
  applyMs: number;
  oneMs: number;
  bad: NftablesOutcome;
  changedByBad: boolean;
  keys: number;
  lastKey: boolean;
  noSet: string;
  elements: number;
  terseElements: number;
  syntax: NftablesOutcome;
  absent: NftablesListing;
  zeroByte: NftablesOutcome;
  plain: NftablesOutcome;
}

describe("nftables by its library", () => {
  let namespace: Namespace;
  let observed: Observed;

  beforeAll(async () => {
    namespace = new Namespace("nft");
    observed = await namespace.script("nftables.script.ts");
  });
  afterAll(() => namespace[Symbol.dispose]());

  it("applies 10,000 elements in one transaction in well under a second, and one in a few milliseconds", () => {
    expect(observed.elements).toBe(10_001);
    expect(observed.applyMs).toBeLessThan(500);
    expect(observed.oneMs).toBeLessThan(50);
  });

  it("reads the keys of all elements back over netlink, and says when there is no such set", () => {
    expect(observed).toMatchObject({ keys: 10_001, lastKey: true, noSet: "ENOENT" });
  });

  it("changes nothing when one command of a transaction is refused, and says which", () => {
    expect(observed.bad).toMatchObject({ ok: false, message: expect.stringMatching(/line 3.*\n.*absent/) });
    expect(observed.changedByBad).toBe(false);
  });

  it("gives the reason of a refusal as a value", () => {
    expect(observed.syntax).toMatchObject({ ok: false, message: expect.stringContaining("syntax error") });
    expect(observed.absent).toMatchObject({ ok: false, message: expect.stringContaining("No such file") });
    expect(observed.zeroByte).toMatchObject({ ok: false, message: expect.stringContaining("zero byte") });
  });

  it("lists as JSON, and without the elements when that is asked for", () => {
    expect(observed.terseElements).toBe(0);
  });

  it("prints as text again after a listing as JSON", () => {
    expect(observed.plain).toEqual({ ok: true, output: "table inet baton\n" });
  });
});
