import { describe, expect, test } from "vitest";
import { checkFence, parseFenceListing, renderFence } from "../../../src/dataplane/fence-table.ts";
import type { Fence } from "../../../src/node/fence.ts";

const fence: Fence = { term: 7n, leader: "coordinator1", generation: 12n, digest: `${"00ff10".repeat(10)}abcd` };

describe("the fence in the kernel", () => {
  test("is the comment of a table of its own, replaced as a whole", () => {
    expect(renderFence(fence)).toBe(
      [
        "add table inet baton_fence",
        "delete table inet baton_fence",
        'add table inet baton_fence { comment "7 coordinator1 12 AP8QAP8QAP8QAP8QAP8QAP8QAP8QAP8QAP8QAP8Qq80"; }',
        "",
      ].join("\n"),
    );
  });

  test("is read back from what nft lists", () => {
    const [, comment = ""] = /(comment ".*")/.exec(renderFence(fence)) ?? [];
    expect(parseFenceListing(`table inet baton_fence {\n\t${comment}\n}\n`)).toEqual(fence);
  });

  test("names the lease by a chain beside the comment, which has no room for it", () => {
    const leased = { ...fence, lease: "0123456789abcdef01234567" };
    expect(renderFence(leased)).toBe(
      `${renderFence(fence)}add chain inet baton_fence lease_0123456789abcdef01234567\n`,
    );
    const [, comment = ""] = /(comment ".*")/.exec(renderFence(fence)) ?? [];
    const listing = `table inet baton_fence {\n\t${comment}\n\tchain lease_${leased.lease} {\n\t}\n}\n`;
    expect(parseFenceListing(listing)).toEqual(leased);
  });

  test("of another make is none", () => {
    expect(parseFenceListing("table inet baton_fence {\n}\n")).toBeUndefined();
    expect(parseFenceListing('table inet baton_fence {\n\tcomment "generation 5"\n}\n')).toBeUndefined();
  });

  test.each([
    ["a leader that is no name", { ...fence, leader: 'x"; delete' }],
    ["a lease that is no number", { ...fence, lease: "x; delete" }],
    ["a digest of another length", { ...fence, digest: "00" }],
    ["more than a comment can hold", { ...fence, leader: "c".repeat(63), term: 10n ** 12n, generation: 10n ** 12n }],
  ])("can't be %s", (_, bad) => {
    expect(checkFence(bad)).toBeDefined();
    expect(() => renderFence(bad)).toThrow(RangeError);
  });

  test("has room for the longest name beside terms and generations of ten digits", () => {
    const long = { ...fence, leader: "c".repeat(63), term: 999_999_999n, generation: 9_999_999_999n };
    expect(checkFence(long)).toBeUndefined();
  });
});
