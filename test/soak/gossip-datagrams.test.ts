/** Ten million hostile datagrams against one member; test/property does it with a hundredth of them. */
import { expect, it } from "vitest";
import { fuzzDatagrams } from "../support/fuzz-datagrams.ts";

const datagrams = 10_000_000;

it("ten million hostile datagrams: no crash, no growth of memory, every one counted", async () => {
  expect(await fuzzDatagrams(datagrams, 1)).toMatch(/counted 10000000 of 10000000/);
}, 1_800_000);
