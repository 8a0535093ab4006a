/** A remap through a tunnel, where the fabric has room for one, and where it has not (SPEC D1, D2, O5; traps 2 and 4). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { killService, startService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { type KernelState, kernelState } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const exitRefused = 3;
const movedBytes = 20_000_000;
const actMs = 30_000;

describe("a remap through a VXLAN tunnel", () => {
  let fixture: LabFixture;
  let client: Client;
  let remap: RemapJson;
  const before = new Map<string, KernelState>();

  beforeAll(async () => {
    fixture = await LabFixture.start("vxlan", { mtu: 1600 });
    client = fixture.client();
    for (const host of ["vm-a", "vm-b"]) before.set(host, await kernelState(fixture, host));
    const to = publicAddress;
    await client.open({ group: "old", kind: "push", to, count: 20, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to, count: 20 });
    await client.open({ group: "old", kind: "download", to, count: 2 });
    await client.open({ group: "old", kind: "upload", to, count: 2 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    remap = await fixture.remap("vm-b", "draining", "--channel", "vxlan");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("proves the tunnel with packets as large as clients send", () => {
    expect(remap.channel).toMatchObject({ kind: "vxlan", provenMtu: 1500 });
  });

  it("keeps every connection, also those that move full-size packets both ways", async () => {
    const seen = new Map((await client.report()).kinds.map((kind) => [kind.kind, kind.bytes]));
    await until("all transfers go on through the tunnel", 20_000, async () =>
      (await client.report()).kinds
        .filter((kind) => kind.kind === "download" || kind.kind === "upload")
        .every((kind) => kind.bytes > (seen.get(kind.kind) ?? 0) + movedBytes),
    );
    for (const kind of await client.ping("old"))
      expect(kind).toMatchObject({ states: { open: kind.count }, servers: { "vm-a": kind.count }, failures: {} });
  });

  it("hears the source's kernel through the tunnel while the source's agent is dead (R14)", async () => {
    const agent = serviceOf(fixture.lab, "agent-vm-a");
    await killService(fixture.lab, agent, AbortSignal.timeout(actMs));
    await fixture.follow(remap.id, (now) => now.waitingFor.some(({ what }) => what.includes("but its kernel answers")));
    startService(fixture.lab, agent);
    await untilReady(fixture.lab, [agent], AbortSignal.timeout(actMs));
  });

  it("leaves no tunnel and no trace when the last connection has ended", async () => {
    for (const kind of await client.close("old")) expect(kind.failures).toEqual({});
    await fixture.follow(remap.id, (now) => now.phase === "completed");
    await fixture.remap("vm-a", "completed");
    for (const host of ["vm-a", "vm-b"]) expect(await kernelState(fixture, host), host).toEqual(before.get(host));
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });
});

describe("a remap through a tunnel that the fabric has no room for", () => {
  let fixture: LabFixture;

  beforeAll(async () => {
    fixture = await LabFixture.start("narrow");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("is refused with the figures, and nothing is begun", async () => {
    const result = await fixture.baton("remap", publicAddress, "--to", "vm-b", "--channel", "vxlan", "--yes");
    expect(result.code).toBe(exitRefused);
    expect(result.stderr).toContain("MTU_TOO_SMALL");
    expect(result.stderr).toMatch(/1500.*1450|1450.*1500/);
    expect((await fixture.baton("remaps")).json.flat()).toEqual([]);
  });
});
