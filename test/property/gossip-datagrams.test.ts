import { expect, it } from "vitest";
import { fuzzDatagrams } from "../support/fuzz-datagrams.ts";

const datagrams = 100_000;

it("a hundred thousand hostile datagrams: no crash, no growth of memory, every one counted", async () => {
  expect(await fuzzDatagrams(datagrams, Math.floor(Math.random() * 2 ** 32))).toMatch(/counted 100000 of 100000/);
}, 60_000);
