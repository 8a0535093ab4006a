/** Remaps that end before their flip: refused, failed, or not wanted any more (SPEC R3, O5). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCommand } from "../../services/lab/command.ts";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { hostOf, serviceOf, setCut } from "../../services/lab/lab.ts";
import { pauseService, resumeService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { type KernelState, kernelState } from "./kernel-state.ts";
import { LabFixture, publicAddress } from "./lab-fixture.ts";

const count = 20;
const exitFailed = 1;
const exitRefused = 3;
const abortMs = 30_000;
/** What nodes have before the flip: enough for an order of the user's to come in between. */
const preparingMs = 7_000;

describe("a remap that ends before its flip", () => {
  let fixture: LabFixture;
  let client: Client;
  const before = new Map<string, KernelState>();

  beforeAll(async () => {
    fixture = await LabFixture.start("abort", {}, { BATON_BOUNDS_PREPARING_MS: String(preparingMs) });
    client = fixture.client();
    for (const host of ["vm-a", "vm-b"]) before.set(host, await kernelState(fixture, host));
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it.each([
    ["an address that baton does not have", ["198.51.100.77", "--to", "vm-b"], "UNKNOWN_ADDRESS"],
    ["an instance that it does not know", [publicAddress, "--to", "vm-z"], "UNKNOWN_INSTANCE"],
    ["the instance that has the address", [publicAddress, "--to", "vm-a"], "SOURCE_IS_TARGET"],
  ])("is refused for %s", async (_what, args, code) => {
    const result = await fixture.baton("remap", ...args, "--yes");
    expect(result.code).toBe(exitRefused);
    expect(result.stderr).toContain(code);
  });

  it("aborts by itself when no packet passes between source and target", async () => {
    const [a, b] = [hostOf(fixture.lab, "vm-a"), hostOf(fixture.lab, "vm-b")];
    await setCut(fixture.lab, a, b, true);
    const result = await fixture.baton("remap", publicAddress, "--to", "vm-b", "--yes", "--wait", "completed");
    await setCut(fixture.lab, a, b, false);
    expect(result.code).toBe(exitFailed);
    expect(result.json.at(-1)).toMatchObject({
      phase: "aborted",
      outcome: "aborted",
      error: { code: "CHANNEL_UNPROVEN" },
    });
    await expectNothingHappened();
  });

  it("aborts by itself when full-size packets don't pass, and says so", async () => {
    const rule = 'iifname "f-vm-a" oifname "f-vm-b" meta length > 1300 drop';
    const small = `table bridge small { chain forward { type filter hook forward priority 0; ${rule}; }; }`;
    await fabricNft(small);
    const result = await fixture.baton("remap", publicAddress, "--to", "vm-b", "--yes", "--wait", "completed");
    await fabricNft("delete table bridge small");
    expect(result.code).toBe(exitFailed);
    expect((result.json.at(-1) as RemapJson).error?.code).toMatch(/^(CHANNEL_UNPROVEN|MTU_TOO_SMALL)$/);
    await expectNothingHappened();
  });

  it("aborts when its user wants it to, under the same id", async () => {
    const agent = serviceOf(fixture.lab, "agent-vm-b");
    await pauseService(fixture.lab, agent, AbortSignal.timeout(abortMs));
    const remap = await fixture.remap("vm-b", "no");
    const aborted = await fixture.baton("remaps", "abort", remap.id);
    resumeService(fixture.lab, agent);
    expect(aborted).toMatchObject({ code: 0, json: [{ id: remap.id }] });
    const end = await fixture.follow(remap.id, (now) => now.phase === "aborted", abortMs);
    expect(end.error?.code).toBe("ABORTED_BY_OPERATOR");
    await expectNothingHappened();
  });

  it("aborts by itself when the target's agent does not answer in time", async () => {
    const agent = serviceOf(fixture.lab, "agent-vm-b");
    await pauseService(fixture.lab, agent, AbortSignal.timeout(abortMs));
    const remap = await fixture.remap("vm-b", "no");
    const aborting = await fixture.follow(
      remap.id,
      (now) => now.phase === "aborting" || now.phase === "aborted",
      abortMs,
    );
    resumeService(fixture.lab, agent);
    expect(aborting.error?.code).toMatch(/^(NODE_TIMEOUT|INSTANCE_DOWN|CHANNEL_UNPROVEN)$/);
    await fixture.follow(remap.id, (now) => now.phase === "aborted", abortMs);
    await expectNothingHappened();
  });

  it("stands in no later remap's way", async () => {
    const remap = await fixture.remap("vm-b", "draining");
    expect(remap.phase).toBe("draining");
    for (const kind of await client.close("old"))
      expect(kind).toMatchObject({ states: { closed: count }, failures: {} });
    await fixture.follow(remap.id, (now) => now.phase === "completed");
  });

  async function fabricNft(ruleset: string): Promise<void> {
    await runCommand("ip", ["netns", "exec", fixture.lab.plan.fabricNamespace, "nft", ruleset]);
  }

  async function expectNothingHappened(): Promise<void> {
    for (const kind of await client.ping("old")) {
      expect(kind).toMatchObject({ states: { open: count }, servers: { "vm-a": count }, failures: {} });
    }
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    for (const host of ["vm-a", "vm-b"]) expect(await kernelState(fixture, host), host).toEqual(before.get(host));
  }
});
