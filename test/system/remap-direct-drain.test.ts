/** What befalls an address whose source answers by itself: before its flip, amid its drain (SPEC D1, D13, O5, R3, R4, R6). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { probeSource } from "../../services/lab/addresses.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import { type KindSummary, ports } from "../traffic/protocol.ts";
import { kernelState, setEntries } from "./kernel-state.ts";
import { clientAddress, LabFixture, privateOf, publicAddress, until } from "./lab-fixture.ts";

/** For the linger, and for gateways that wait until a source is silent. */
const strangersMs = 45_000;
const program = (name: string) => new URL(name, import.meta.url).pathname;

describe("amid a drain in which the source answers by itself", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("directback", { instances: 3 });
    client = fixture.client();
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("and before it: where the source's own way to a gateway is shut, nothing switches, and no trace is left", async () => {
    const hosts = ["vm-a", "vm-b"];
    const before = await Promise.all(hosts.map((host) => kernelState(fixture, host)));
    const shut = `ip saddr ${privateOf["vm-a"]} ip daddr ${probeSource} drop`;
    await fixture.nft("gw1", `table inet shut { chain in { type filter hook prerouting priority -400; ${shut}; }; }`);
    const { id } = await fixture.remap("vm-b", "no", "--return", "direct");
    const ended = await fixture.follow(id, ({ phase }) => phase === "aborted");
    expect(ended.error?.code).toBe("CHANNEL_UNPROVEN");
    expect(ended.error?.message).toContain("gw1 → vm-b → vm-a → a gateway");
    await fixture.nft("gw1", "delete table inet shut");
    expect(await Promise.all(hosts.map((host) => kernelState(fixture, host)))).toEqual(before);
  });

  it("the target finds by a look-up whose a packet is that it did not know, without any answer to learn from", async () => {
    const [count, fromPort] = [10, 51_000];
    await client.open({ group: "asked", kind: "echo", to: publicAddress, count, fromPort });
    const { id } = await fixture.remap("vm-b", "draining", "--return", "direct", "--unknown", "drop");
    const entries = async (kind: string) =>
      [...(await setEntries(fixture, "vm-b"))].find(([name]) => name.startsWith(`${kind}_`)) ?? ["", 0];
    const [follow] = await entries("follow");
    for (let port = fromPort; port < fromPort + count; port++) {
      const tuple = `{ ${clientAddress} . ${port} . ${ports.echo} }`;
      await fixture.exec("vm-b", "nft", `delete element inet baton ${follow} ${tuple}`);
    }
    for (const kind of await client.ping("asked")) expectWhole(kind, "open", "vm-a");
    expect([(await entries("follow"))[1], (await entries("learnt"))[1]]).toEqual([count, 0]);
    for (const kind of await client.close("asked")) expectWhole(kind, "closed", "vm-a");
    await fixture.follow(id, ({ phase }) => phase === "completed");
    await fixture.remap("vm-a", "completed");
  });

  it("strangers' packets keep no drain open, though the source resets them all (D13)", async () => {
    await client.open({ group: "few", kind: "echo", to: publicAddress, count: 5 });
    const { id } = await fixture.remap("vm-b", "draining", "--return", "direct", "--linger", "5s");
    const scan = [process.execPath, program("send-packets.ts"), "scan", publicAddress, String(ports.echo), "2000"];
    let over = false;
    const scanning = (async () => {
      let rounds = 0;
      for (; !over; rounds++) await fixture.exec("client1", ...scan);
      return rounds;
    })();
    for (const kind of await client.close("few")) expectWhole(kind, "closed", "vm-a");
    await fixture
      .follow(id, ({ phase }) => phase === "completed", strangersMs)
      .finally(() => {
        over = true;
      });
    expect(await scanning).toBeGreaterThan(1);
    await fixture.remap("vm-a", "completed");
  });

  it("the address goes to and fro and on to a third, and every connection stays where it was opened", async () => {
    const moves = [
      { to: "vm-b", way: "direct" },
      { to: "vm-a", way: "direct" },
      { to: "vm-b", way: "channel" },
      { to: "vm-c", way: "direct" },
      { to: "vm-a", way: "direct" },
      { to: "vm-b", way: "direct" },
    ] as const;
    const servers = new Map([["from-start", "vm-a"]]);
    const open = async (group: string) => {
      await client.open({ group, kind: "push", to: publicAddress, count: 10, intervalMs: 20 });
      await client.open({ group, kind: "echo", to: publicAddress, count: 5 });
      await client.open({ group, kind: "download", to: publicAddress, count: 1, bytesPerSecond: 2_000_000 });
    };
    await open("from-start");
    const ids: string[] = [];
    for (const [index, { to, way }] of moves.entries()) {
      ids.push((await fixture.remap(to, "draining", "--return", way)).id);
      servers.set(`move-${index}`, to);
      await open(`move-${index}`);
      for (const group of servers.keys()) await client.ping(group);
      await client.mark();
      const live = (await client.report()).kinds.filter(({ group }) => servers.has(group));
      for (const kind of live) expectWhole(kind, "open", servers.get(kind.group) ?? "");
    }
    for (const group of servers.keys()) await client.close(group);
    const closed = (await client.report()).kinds.filter(({ group }) => servers.has(group));
    expect(closed).toHaveLength(3 * servers.size);
    for (const kind of closed) expectWhole(kind, "closed", servers.get(kind.group) ?? "");
    for (const id of ids)
      await until(`${id} completes`, 30_000, async () => (await fixture.show(id)).phase === "completed");
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });
});

function expectWhole(kind: KindSummary, state: "open" | "closed", server: string): void {
  expect(kind).toMatchObject({ states: { [state]: kind.count }, servers: { [server]: kind.count }, failures: {} });
}
