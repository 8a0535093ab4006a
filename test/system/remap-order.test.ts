/**
 * The order of the switch (SPEC O1, O3; trap 1): the judge that finds nothing wrong with a remap finds what is wrong
 * when S returns by the channel before the gateways accept it.
 */
import { join } from "node:path";
import { expect, it } from "vitest";
import { LabFixture } from "./lab-fixture.ts";
import { faultsOf, measureRemap } from "./measured-remap.ts";

const counts = { busy: 100, idle: 20 };

it("finds nothing wrong when the order is right", async () => {
  await using fixture = await LabFixture.start("order");
  expect(faultsOf(await measureRemap(fixture, fixture.client(), counts))).toEqual([]);
});

it("finds packets lost when source and gateways are told in the other order", async () => {
  // Every service preloads the swap; only the coordinator has a projection.
  const preload = `--import ${join(import.meta.dirname, "swap-order.ts")}`;
  await using fixture = await LabFixture.start("swapped", {}, { NODE_OPTIONS: preload });
  const measured = await measureRemap(fixture, fixture.client(), counts);
  expect(measured.remap.phase).toBe("draining");
  expect(faultsOf(measured).join("; ")).toMatch(/segments were lost/);
});
