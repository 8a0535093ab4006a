/** Connections of every kind, open at the switch, and what becomes of them (SPEC D1, D2, D10, D12, R4). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import { type KindSummary, portOf } from "../traffic/protocol.ts";
import { Capture } from "./capture.ts";
import { type KernelState, kernelState, setEntries } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const silentMs = 3_000;

describe("a remap amid live connections", () => {
  let fixture: LabFixture;
  let client: Client;
  let heavy: Client;
  let remap: RemapJson;
  let capture: Capture;
  const before = new Map<string, KernelState>();

  beforeAll(async () => {
    fixture = await LabFixture.start("live");
    client = fixture.client();
    heavy = fixture.client();
    for (const host of ["vm-a", "vm-b"]) before.set(host, await kernelState(fixture, host));
    const to = publicAddress;
    await client.open({ group: "old", kind: "echo", to, count: 180 });
    await client.open({ group: "old", kind: "echo", to, count: 20, intervalMs: 50 });
    await client.open({ group: "old", kind: "push", to, count: 20, intervalMs: 20 });
    await client.open({ group: "old", kind: "push", to, count: 10, intervalMs: silentMs });
    await client.open({ group: "old", kind: "websocket", to, count: 20, intervalMs: 20 });
    await client.open({ group: "fin", kind: "echo", to, count: 20 });
    await heavy.open({ group: "old", kind: "download", to, count: 3 });
    await heavy.open({ group: "old", kind: "upload", to, count: 2 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    capture = await Capture.start(fixture, "client1", "eth0", "src net 10.77.0.0/24 or src net fd77::/64");
    await client.visit(to, 20);
    remap = await fixture.remap("vm-b", "draining");
  });

  afterAll(async () => {
    await capture?.[Symbol.asyncDispose]();
    await fixture?.[Symbol.asyncDispose]();
  });

  it("keeps every one of them, byte by byte, at the server that it began with", async () => {
    const seen = new Map((await heavy.report()).kinds.map((kind) => [kind.kind, kind.bytes]));
    await until("all transfers go on", 10_000, async () =>
      (await heavy.report()).kinds.every((kind) => kind.bytes > (seen.get(kind.kind) ?? 0) + 20_000_000),
    );
    await until("what was silent has spoken", 2 * silentMs, async () => {
      const { records } = await client.report({ group: "old", records: true });
      return records.every((record) => record.kind !== "push" || record.messages > 0);
    });
    await client.ping("old");
    for (const kind of [...(await client.report()).kinds, ...(await heavy.report()).kinds]) {
      expectWhole(kind, "open", "vm-a");
    }
  });

  it("lets a connection end whose first packet after the switch is its FIN", async () => {
    for (const kind of await client.close("fin")) expectWhole(kind, "closed", "vm-a");
  });

  it("has the target answer all that is opened after it", async () => {
    const kinds = await client.open({ group: "new", kind: "push", to: publicAddress, count: 20, intervalMs: 20 });
    for (const kind of kinds) expectWhole(kind, "open", "vm-b");
  });

  it("loses no connection that is opened while it switches, and turns none back", async () => {
    const visits = [...(await client.rest())].sort((a, b) => a.atMs - b.atMs);
    expect(visits.filter((visit) => visit.failure !== undefined)).toEqual([]);
    const firstNew = visits.findIndex((visit) => visit.server === "vm-b");
    expect(firstNew).toBeGreaterThan(0);
    expect(visits.slice(firstNew).filter((visit) => visit.server !== "vm-b")).toEqual([]);
  });

  it("knows of each flow whose it is", async () => {
    const { json } = await fixture.baton("flows", publicAddress, "--limit", "1000");
    const flows = json.flat() as { peerPort: number; port: number; owner: string }[];
    // By both ports: a client may have one of its own open to two of the server's.
    const owners = new Map(flows.map(({ peerPort, port, owner }) => [`${peerPort} ${port}`, owner]));
    const { records } = await client.report({ records: true });
    const open = records.filter((record) => record.state === "open");
    const told = open.map(({ localPort, kind }) => owners.get(`${localPort} ${portOf[kind]}`));
    expect(told).toEqual(open.map((record) => record.server));
  });

  it("does not end while old connections live", async () => {
    expect((await fixture.show(remap.id)).phase).toBe("draining");
  });

  it("completes when the last old one has ended, and reports what was", async () => {
    for (const kind of await client.close("old"))
      expectWhole(kind, kind.group === "new" ? "open" : "closed", serverOf(kind));
    for (const kind of await heavy.close("old")) expectWhole(kind, "closed", "vm-a");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", source: "vm-a", target: "vm-b", waitingFor: [] });
    expect(done.flows).toMatchObject({ remaining: 0, cut: 0, lost: 0 });
    expect(done.flows.atSwitch).toBeGreaterThanOrEqual(275);
    expect(done.followed.packets).toBeGreaterThan(10_000);
  });

  it("goes on serving the new ones", async () => {
    for (const kind of await client.close("new")) if (kind.group === "new") expectWhole(kind, "closed", "vm-b");
  });

  it("shows the client no private source and no reset", async () => {
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    expect(await capture.packets()).toEqual([]);
  });

  it("leaves no channel, route, rule, device, set entry or sysctl behind (D8, D12)", async () => {
    for (const host of ["vm-a", "vm-b"]) {
      const [then, now] = [before.get(host), await kernelState(fixture, host)];
      for (const part of ["rules", "routes", "links", "sysctls"] as const) expect(now[part], host).toBe(then?.[part]);
      expect([...(await setEntries(fixture, host)).values()].filter((entries) => entries > 0)).toEqual([]);
    }
  });

  it("leaves the kernels as they were at first, once the address is back", async () => {
    const back = await fixture.remap("vm-a", "completed");
    expect(back).toMatchObject({ phase: "completed", source: "vm-b", target: "vm-a", targetPrivate: "10.77.0.11" });
    for (const host of ["vm-a", "vm-b"]) expect(await kernelState(fixture, host), host).toEqual(before.get(host));
  });
});

function expectWhole(kind: KindSummary, state: "open" | "closed", server: string): void {
  expect(kind).toMatchObject({ states: { [state]: kind.count }, servers: { [server]: kind.count }, failures: {} });
}

function serverOf(kind: KindSummary): string {
  return kind.group === "new" ? "vm-b" : "vm-a";
}
