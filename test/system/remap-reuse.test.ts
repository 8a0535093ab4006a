/** Ports that clients use again after the switch (decision rules 3 and 4; SPEC D5). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import type { Client } from "../traffic/driver.ts";
import { ports } from "../traffic/protocol.ts";
import { setEntries } from "./kernel-state.ts";
import { clientAddress, LabFixture, publicAddress, until } from "./lab-fixture.ts";

const count = 10;
/** A SYN that the owner has answered for the old connection is sent again after a second. */
const retryMs = 8_000;
/** The owner asks the trackers every 2 s. */
const endMs = 15_000;

describe.each(["channel", "direct"] as const)("a port that is used again after the switch, with return %s", (way) => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("reuse");
    client = fixture.client();
    // So that a client's port is free again a second after it said good-bye.
    await fixture.exec("client1", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1");
    await client.open({ group: "polite", kind: "echo", to: publicAddress, count, fromPort: 51_000 });
    await client.open({ group: "vanished", kind: "echo", to: publicAddress, count, fromPort: 52_000 });
    await client.open({ group: "kept", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "unknown", kind: "echo", to: publicAddress, count, fromPort: 53_000 });
    await fixture.remap("vm-b", "draining", "--return", way);
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("leads to the target when the old connection had ended in order", async () => {
    await client.close("polite");
    let round = 0;
    await until("the ports can be used again", retryMs, async () => {
      const group = `polite-again-${round++}`;
      const options = { fromPort: 51_000, timeoutMs: retryMs };
      const kinds = await client.open({ group, kind: "echo", to: publicAddress, count, ...options });
      const all = kinds[0]?.servers["vm-b"] === count;
      if (!all) await client.reset(group);
      return all;
    });
  });

  it("leads to the target, after the owner has given the old connection up, when the client had vanished", async () => {
    await vanish("vanished");
    const options = { fromPort: 52_000, timeoutMs: retryMs };
    const [again] = await client.open({ group: "again", kind: "echo", to: publicAddress, count, ...options });
    expect(again).toMatchObject({ states: { open: count }, servers: { "vm-b": count }, failures: {} });
    expect((await client.ping("again"))[0]).toMatchObject({ messages: count, failures: {} });
  });

  it("leads to the target where that did not know the old connection, and the owner ends it without a word to the client", async () => {
    const [follow] = [...(await setEntries(fixture, "vm-b")).keys()].filter((name) => name.startsWith("follow_"));
    for (let port = 53_000; port < 53_000 + count; port++) {
      const tuple = `{ ${clientAddress} . ${port} . ${ports.echo} }`;
      await fixture.exec("vm-b", "nft", `delete element inet baton ${follow} ${tuple}`);
    }
    await vanish("unknown");
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    const options = { fromPort: 53_000, timeoutMs: retryMs };
    const [again] = await client.open({ group: "taken", kind: "echo", to: publicAddress, count, ...options });
    expect(again).toMatchObject({ states: { open: count }, servers: { "vm-b": count }, failures: {} });
    const peers = `( dport >= :53000 and dport < :${53_000 + count} )`;
    await until("the owner has ended what is superseded", endMs, async () => {
      return (await fixture.exec("vm-a", "ss", "-Htn", "state", "established", peers)).trim() === "";
    });
    expect((await client.ping("taken"))[0]).toMatchObject({ messages: count, failures: {} });
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });

  it("disturbs no other connection", async () => {
    const [kept] = (await client.report({ group: "kept" })).kinds;
    expect(kept).toMatchObject({ states: { open: count }, servers: { "vm-a": count }, failures: {} });
  });

  /** The clients forget their connections, and the servers don't hear of it. */
  async function vanish(group: string): Promise<void> {
    const dropResets =
      "table inet vanish { chain out { type filter hook output priority 0; tcp flags & rst == rst drop; }; }";
    await fixture.nft("client1", dropResets);
    await client.reset(group);
    await fixture.nft("client1", "delete table inet vanish");
  }
});
