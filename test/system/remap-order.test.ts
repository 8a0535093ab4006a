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
  await using fixture = await startSwapped();
  const measured = await measureRemap(fixture, fixture.client(), counts);
  expect(measured.remap.phase).toBe("draining");
  expect(faultsOf(measured).join("; ")).toMatch(/segments were lost/);
});

/** Every service preloads the swap; only the coordinator has a projection. */
async function startSwapped(): Promise<LabFixture> {
  const before = process.env["NODE_OPTIONS"];
  process.env["NODE_OPTIONS"] = `--import ${join(import.meta.dirname, "swap-order.ts")}`;
  try {
    return await LabFixture.start("swapped");
  } finally {
    if (before === undefined) delete process.env["NODE_OPTIONS"];
    else process.env["NODE_OPTIONS"] = before;
  }
}
