/**
 * Sources and targets that are gone: a dead agent is not a dead host, and a dead host holds up no remap for ever
 * (SPEC R14, R15).
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hostOf, rebootHost, serviceOf, setCut, untilReady } from "../../services/lab/lab.ts";
import { killService, startService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { clientAddress, LabFixture, publicAddress, until } from "./lab-fixture.ts";

/** No less: three probes, one a second, must go unanswered besides. */
const sourceLostMs = 3_000;
const count = 8;
const actMs = 40_000;
const signal = () => AbortSignal.timeout(actMs);

describe("a host that goes away while connections are followed", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    const environment = { BATON_BOUNDS_SOURCE_LOST_MS: String(sourceLostMs) };
    fixture = await LabFixture.start("lost", { instances: 3 }, environment);
    // Its own address could not be served by anybody else, when vm-b is gone.
    expect((await fixture.baton("addresses", "rm", "203.0.113.11")).code).toBe(0);
  });

  /** The address is at vm-a, and a client that was not there before has connections. */
  beforeEach(async () => {
    if ((await holder()) !== "vm-a") await fixture.remap("vm-a", "completed");
    client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 50 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("is no loss when it is the source's agent alone, for however long; only its kernel is needed", async () => {
    const { id } = await fixture.remap("vm-b", "draining");
    // Only silent connections, so that nothing but the kernel's answers tells of the source.
    await client.close("old", "push");
    await kill("agent-vm-a");
    await fixture.follow(id, (now) => now.waitingFor.some(({ what }) => what.includes("but its kernel answers")));
    const sinceMs = performance.now();
    await until("the bound to have passed twice", 4 * sourceLostMs, async () => {
      expect(await fixture.show(id)).toMatchObject({ phase: "draining" });
      return performance.now() - sinceMs > 2 * sourceLostMs;
    });
    const [echo] = (await client.ping("old")).filter(({ kind }) => kind === "echo");
    expect(echo).toMatchObject({ states: { open: count }, servers: { "vm-a": count }, failures: {} });
    await start("agent-vm-a");
    await client.close("old");
    const done = await fixture.follow(id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", flows: { atSwitch: 2 * count, closed: 2 * count, lost: 0 } });
  });

  it("ends the drain as source-lost when the source's whole host is cut off, and what it still holds when it is back", async () => {
    const { id } = await fixture.remap("vm-b", "draining");
    const cutMs = Date.now();
    await isolate("vm-a", true);
    const done = await fixture.follow(id, (now) => now.phase === "completed", actMs);
    expect(done).toMatchObject({
      outcome: "source-lost",
      flows: { atSwitch: 2 * count, lost: 2 * count, remaining: 0, closed: 0, cut: 0, superseded: 0 },
    });
    expect(Date.parse(done.phaseAt["finalizing"] ?? "") - cutMs).toBeGreaterThanOrEqual(sourceLostMs);
    expect(await externalSockets("vm-a")).toBe(2 * count);
    await isolate("vm-a", false);
    await until(
      "the source to have let go of its connections",
      actMs,
      async () => (await externalSockets("vm-a")) === 0,
    );
    const [fresh] = await client.open({ group: "new", kind: "echo", to: publicAddress, count });
    expect(fresh).toMatchObject({ states: { open: count }, servers: { "vm-b": count }, failures: {} });
    await client.close("new");
    // Nothing is left that would hold up another remap to and fro.
    await fixture.remap("vm-a", "completed");
  });

  it.each([
    ["back", "vm-a"],
    ["on to a third", "vm-c"],
  ])("lets the address go %s when it is the target, and keeps the source's connections", async (_way, to) => {
    const first = await fixture.remap("vm-b", "draining");
    await kill("agent-vm-b");
    await isolate("vm-b", true);
    const refused = await fixture.baton("remap", publicAddress, "--to", to, "--yes");
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringContaining("--no-follow") });
    const { id } = await fixture.remap(to, "no", "--no-follow");
    await fixture.follow(id, (now) => now.phase === "finalizing", actMs);
    for (const kind of await client.ping("old"))
      expect(kind).toMatchObject({ states: { open: count }, servers: { "vm-a": count }, failures: {} });
    const [fresh] = await client.open({ group: "new", kind: "echo", to: publicAddress, count });
    expect(fresh).toMatchObject({ states: { open: count }, servers: { [to]: count }, failures: {} });
    expect((await fixture.baton("instances", "rm", "vm-b")).code).toBe(0);
    await client.close("old");
    await client.close("new");
    for (const remap of [first.id, id]) await fixture.follow(remap, (now) => now.phase === "completed");
    await isolate("vm-b", false);
    await start("agent-vm-b");
  });

  // Last, for the host's server is gone with its kernel.
  it("ends the drain as source-lost at once when the source has started anew", async () => {
    const { id } = await fixture.remap("vm-b", "draining");
    await rebootHost(fixture.lab, hostOf(fixture.lab, "vm-a"), true, signal());
    const done = await fixture.follow(id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "source-lost", flows: { lost: 2 * count, remaining: 0, closed: 0 } });
  });

  async function holder(): Promise<string | undefined> {
    const { json } = await fixture.baton("addresses", "list");
    const mapped = json.flat() as { address: string; instance: string }[];
    return mapped.find(({ address }) => address === publicAddress)?.instance;
  }

  async function kill(name: string): Promise<void> {
    await killService(fixture.lab, serviceOf(fixture.lab, name), signal());
  }

  async function start(name: string): Promise<void> {
    const service = serviceOf(fixture.lab, name);
    startService(fixture.lab, service);
    await untilReady(fixture.lab, [service], signal());
  }

  /** From everybody on the fabric. */
  async function isolate(name: string, cut: boolean): Promise<void> {
    const host = hostOf(fixture.lab, name);
    for (const other of fixture.lab.plan.hosts)
      if (other.name !== name && other.role !== "client") await setCut(fixture.lab, host, other, cut);
  }

  async function externalSockets(host: string): Promise<number> {
    const listed = await fixture.exec(host, "ss", "-Htn", "state", "established", "dst", clientAddress);
    return listed.split("\n").filter(Boolean).length;
  }
});
