/**
 * The order of the switch (SPEC O1, O3; trap 1): the judge that finds nothing wrong with a remap finds what is wrong
 * when S returns by the channel before the gateways accept it.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { repositoryRoot } from "../../services/lab/directory.ts";
import { serviceOf } from "../../services/lab/lab.ts";
import { stopService } from "../../services/lab/services.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";
import { faultsOf, measureRemap } from "./measured-remap.ts";

const counts = { busy: 100, idle: 20 };
const serviceTimeoutMs = 30_000;

it("finds nothing wrong when the order is right", async () => {
  await using fixture = await LabFixture.start("order");
  expect(faultsOf(await measureRemap(fixture, fixture.client(), counts))).toEqual([]);
});

it("finds packets lost when source and gateways are told in the other order", async () => {
  await using fixture = await LabFixture.start("swapped");
  await using _coordinator = await swapOrder(fixture);
  const measured = await measureRemap(fixture, fixture.client(), counts);
  expect(faultsOf(measured)).not.toEqual([]);
});

/** The same coordinator with the same store, but for the projection. */
async function swapOrder(fixture: LabFixture): Promise<AsyncDisposable> {
  const service = serviceOf(fixture.lab, "coordinator1");
  await stopService(fixture.lab, service, AbortSignal.timeout(serviceTimeoutMs));
  const [program = "", ...prefix] = fixture.inside(service.host);
  const preload = ["--import", join(import.meta.dirname, "swap-order.ts")];
  const main = join(repositoryRoot, "services/cli/main.ts");
  const args = ["coordinator", "--config", fixture.lab.directory.config(service.name)];
  const child = spawn(program, [...prefix, process.execPath, ...preload, main, ...args], { stdio: "ignore" });
  const exited = new Promise((resolve) => child.once("exit", resolve));
  await until("the coordinator has its nodes again", serviceTimeoutMs, async () => {
    return (await fixture.baton("remap", publicAddress, "--to", "vm-b", "--dry-run")).code === 0;
  });
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await exited;
    },
  };
}
