/** Remaps whose source answers the gateways by itself: policy `return: direct` (SPEC D1, D2, D13, O3, O4, O5, R4, R6). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { killService, startService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { type KindSummary, ports } from "../traffic/protocol.ts";
import { Capture } from "./capture.ts";
import { type KernelState, kernelState, setEntries } from "./kernel-state.ts";
import { clientAddress, LabFixture, privateOf, publicAddress, until } from "./lab-fixture.ts";

const movedBytes = 20_000_000;
const killTimeoutMs = 30_000;
const openTimeoutMs = 2_500;

describe("a remap whose source answers by itself", () => {
  let fixture: LabFixture;
  let client: Client;
  let heavy: Client;
  let outgoing: Client;
  let remap: RemapJson;
  let leaks: Capture;
  let opened: Capture;
  const before = new Map<string, KernelState>();

  beforeAll(async () => {
    fixture = await LabFixture.start("direct", { gateways: 2 });
    await fixture.server("client1");
    client = fixture.client();
    heavy = fixture.client();
    outgoing = fixture.client("vm-a");
    for (const host of ["vm-a", "vm-b"]) before.set(host, await kernelState(fixture, host));
    const to = publicAddress;
    await client.open({ group: "old", kind: "echo", to, count: 100 });
    await client.open({ group: "old", kind: "push", to, count: 20, intervalMs: 20 });
    await client.open({ group: "old", kind: "websocket", to, count: 20, intervalMs: 20 });
    await client.open({ group: "fin", kind: "echo", to, count: 20 });
    await heavy.open({ group: "old", kind: "download", to, count: 3 });
    await heavy.open({ group: "old", kind: "upload", to, count: 2 });
    const [mine] = await outgoing.open({ group: "before", kind: "push", to: clientAddress, count: 5, intervalMs: 20 });
    expect(mine).toMatchObject({ states: { open: 5 }, servers: { client1: 5 } });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    leaks = await Capture.start(fixture, "client1", "eth0", "src net 10.77.0.0/24 or src net fd77::/64");
    await client.visit(to, 20);
    remap = await fixture.remap("vm-b", "draining", "--return", "direct");
    const opens = `src host ${publicAddress} and tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn`;
    opened = await Capture.start(fixture, "client1", "eth0", opens);
  });

  afterAll(async () => {
    await leaks?.[Symbol.asyncDispose]();
    await opened?.[Symbol.asyncDispose]();
    await fixture?.[Symbol.asyncDispose]();
  });

  it("proves the way that its packets go, and says which way that is", () => {
    expect(remap.channel).toMatchObject({ kind: "direct", provenMtu: 1500 });
    expect(remap).toMatchObject({ policy: { return: "direct" } });
  });

  it("keeps every one of them, byte by byte, at the server that it began with", async () => {
    await transfersGoOn(heavy);
    await client.ping("old");
    for (const kind of [...(await client.report()).kinds, ...(await heavy.report()).kinds])
      expectWhole(kind, "open", "vm-a");
  });

  it("keeps the answers away from the target, and translates both private addresses to the public one", async () => {
    const [returned, followed] = [await packets("vm-b", "returned"), await packets("vm-b", "followed")];
    expect(followed).toBeGreaterThan(1_000);
    // What may come this way is an answer to a handshake that the flip has caught.
    expect(returned).toBeLessThan(100);
    // How many packets the transfers have made by now is the machine's matter: offloads join them.
    expect(await packets("vm-a", "returned")).toBeGreaterThan(1_000);
    for (const gateway of ["gw1", "gw2"])
      expect(await translations(gateway)).toEqual([privateOf["vm-a"], privateOf["vm-b"]].sort());
  });

  it("keeps what the source had opened itself, and drops what it opens from now on", async () => {
    const [mine] = (await outgoing.report({ group: "before" })).kinds;
    const seen = mine?.messages ?? 0;
    await until("connections that the source had opened go on", 10_000, async () => {
      const [now] = (await outgoing.report({ group: "before" })).kinds;
      return (now?.messages ?? 0) > seen + 100;
    });
    const [fresh] = await outgoing.open({
      group: "after",
      kind: "echo",
      to: clientAddress,
      count: 3,
      timeoutMs: openTimeoutMs,
    });
    expect(fresh?.states).toEqual({ failed: 3 });
    expect(await packets("vm-a", "refused")).toBeGreaterThanOrEqual(3);
    // As a container behind the source's own translation would.
    const translation = `ip saddr 10.77.0.111 ip daddr ${clientAddress} snat to ${privateOf["vm-a"]}`;
    const chain = `chain out { type nat hook postrouting priority srcnat; ${translation}; }`;
    await fixture.nft("vm-a", `table ip contained { ${chain}; }`);
    const before = await packets("vm-a", "refused");
    const visit = [
      "curl",
      "-sS",
      "-m",
      "2",
      "--interface",
      "10.77.0.111",
      `http://${clientAddress}:${ports.http}/whoami`,
    ];
    await expect(fixture.exec("vm-a", ...visit)).rejects.toThrow();
    expect(await packets("vm-a", "refused")).toBeGreaterThan(before);
    await fixture.nft("vm-a", "delete table ip contained");
    expect(await opened.packets()).toEqual([]);
  });

  it("lets a connection end whose first packet after the switch is its FIN", async () => {
    for (const kind of await client.close("fin")) expectWhole(kind, "closed", "vm-a");
  });

  it("has the target answer all that is opened after it, and loses none that is opened meanwhile", async () => {
    const kinds = await client.open({ group: "new", kind: "push", to: publicAddress, count: 20, intervalMs: 20 });
    for (const kind of kinds) expectWhole(kind, "open", "vm-b");
    const visits = [...(await client.rest())].sort((a, b) => a.atMs - b.atMs);
    expect(visits.filter((visit) => visit.failure !== undefined)).toEqual([]);
    const firstNew = visits.findIndex((visit) => visit.server === "vm-b");
    expect(firstNew).toBeGreaterThan(0);
    expect(visits.slice(firstNew).filter((visit) => visit.server !== "vm-b")).toEqual([]);
  });

  it.each(["agent-vm-a", "agent-vm-b", "gateway-gw1"])(
    "goes on while %s is dead, and when it is back",
    async (name) => {
      const service = serviceOf(fixture.lab, name);
      await killService(fixture.lab, service, AbortSignal.timeout(killTimeoutMs));
      await transfersGoOn(heavy);
      startService(fixture.lab, service);
      await untilReady(fixture.lab, [service], AbortSignal.timeout(killTimeoutMs));
      await transfersGoOn(heavy);
      expect(await translations("gw1")).toContain(privateOf["vm-a"]);
    },
  );

  it("completes when the last old one has ended, and reports what was", async () => {
    expect((await fixture.show(remap.id)).phase).toBe("draining");
    for (const kind of await outgoing.close("before")) expectWhole(kind, "closed", "client1");
    for (const kind of await client.close("old")) if (kind.group === "old") expectWhole(kind, "closed", "vm-a");
    for (const kind of await heavy.close("old")) expectWhole(kind, "closed", "vm-a");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", waitingFor: [], flows: { remaining: 0, cut: 0, lost: 0 } });
    expect(done.flows.atSwitch).toBeGreaterThanOrEqual(165);
    expect(done.followed.packets).toBeGreaterThan(10_000);
    for (const gateway of ["gw1", "gw2"]) expect(await translations(gateway)).toEqual([privateOf["vm-b"]]);
  });

  it("goes on serving the new ones", async () => {
    for (const kind of await client.close("new")) if (kind.group === "new") expectWhole(kind, "closed", "vm-b");
  });

  it("shows the client no private source and no reset", async () => {
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    expect(await leaks.packets()).toEqual([]);
  });

  it("leaves no channel, route, rule, device, set entry or sysctl behind", async () => {
    for (const host of ["vm-a", "vm-b"]) {
      const [then, now] = [before.get(host), await kernelState(fixture, host)];
      for (const part of ["rules", "routes", "links", "sysctls"] as const) expect(now[part], host).toBe(then?.[part]);
      expect([...(await setEntries(fixture, host)).values()].filter((entries) => entries > 0)).toEqual([]);
    }
    const back = await fixture.remap("vm-a", "completed");
    expect(back).toMatchObject({ phase: "completed", targetPrivate: privateOf["vm-a"] });
    for (const host of ["vm-a", "vm-b"]) expect(await kernelState(fixture, host), host).toEqual(before.get(host));
  });

  /** Of baton's counter of a kind, at either end of the one channel there is. */
  async function packets(host: string, kind: string): Promise<number> {
    const listed = JSON.parse(await fixture.exec(host, "nft", "-j", "list", "counters", "table", "inet", "baton")) as {
      nftables: { counter?: { name: string; packets: number } }[];
    };
    const counter = listed.nftables.find((entry) => entry.counter?.name.startsWith(`${kind}_packets_`))?.counter;
    if (counter === undefined) throw new Error(`no counter ${kind} at ${host}`);
    return counter.packets;
  }

  /** Private addresses that a gateway translates to the public one. */
  async function translations(gateway: string): Promise<string[]> {
    const listed = JSON.parse(
      await fixture.exec(gateway, "nft", "-j", "list", "map", "inet", "baton", "to_public"),
    ) as { nftables: { map?: { elem?: [string, string][] } }[] };
    const elements = listed.nftables.flatMap((entry) => entry.map?.elem ?? []);
    return elements.flatMap(([own, to]) => (to === publicAddress ? [own] : [])).sort();
  }
});

describe("a remap through a VXLAN tunnel whose source answers by itself", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("directvxlan", { mtu: 1600 });
    client = fixture.client();
    const to = publicAddress;
    await client.open({ group: "old", kind: "push", to, count: 20, intervalMs: 20 });
    await client.open({ group: "old", kind: "download", to, count: 2 });
    await client.open({ group: "old", kind: "upload", to, count: 2 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("keeps every connection, lets them end, and leaves nothing", async () => {
    const before = await kernelState(fixture, "vm-a");
    const remap = await fixture.remap("vm-b", "draining", "--channel", "vxlan", "--return", "direct");
    expect(remap.channel).toMatchObject({ kind: "vxlan", provenMtu: 1500 });
    await transfersGoOn(client);
    for (const kind of await client.ping("old")) expectWhole(kind, "open", "vm-a");
    for (const kind of await client.close("old")) expectWhole(kind, "closed", "vm-a");
    await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    const after = await kernelState(fixture, "vm-a");
    for (const part of ["rules", "routes", "links", "sysctls"] as const) expect(after[part]).toBe(before[part]);
  });
});

async function transfersGoOn(client: Client): Promise<void> {
  const transfers = async () =>
    (await client.report()).kinds.filter(({ kind }) => kind === "download" || kind === "upload");
  const seen = new Map((await transfers()).map((kind) => [kind.kind, kind.bytes]));
  await until("all transfers go on", 20_000, async () =>
    (await transfers()).every((kind) => kind.bytes > (seen.get(kind.kind) ?? 0) + movedBytes),
  );
}

function expectWhole(kind: KindSummary, state: "open" | "closed", server: string): void {
  expect(kind).toMatchObject({ states: { [state]: kind.count }, servers: { [server]: kind.count }, failures: {} });
}
