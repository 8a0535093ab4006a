/** Handshakes that the flip catches half-way (trap 6; SPEC D1, decision rules 2 and 4). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf } from "../../services/lab/lab.ts";
import { pauseService, resumeService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { setEntries } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const waves = 8;
const perWave = 10;
const firstPort = 50_000;
/** SYNs are sent again after 1, 3 and 7 s. */
const handshakeMs = 10_000;
const lateFirstPort = 58_000;
const pauseMs = 10_000;
/** By then a SYN has been sent again after 15 s as well. */
const lateMs = 40_000;

const dropAnswers = [
  "table inet straddle {",
  "  chain arrivals {",
  "    type filter hook prerouting priority raw; policy accept;",
  "    tcp flags & (syn | ack) == (syn | ack) counter drop",
  "  }",
  "}",
].join("\n");

describe.each(["channel", "direct"] as const)("handshakes that the flip catches, with return %s", (way) => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("handshakes");
    client = fixture.client();
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("are all finished, by one server each, and none is reset", async () => {
    const old = await client.open({ group: "old", kind: "push", to: publicAddress, count: 5, intervalMs: 20 });
    expect(old[0]?.states).toEqual({ open: 5 });
    await fixture.nft("client1", dropAnswers);
    const remap = await fixture.remap("vm-b", "no", "--return", way);
    const flipped = fixture.follow(remap.id, (now) => now.phaseAt["draining"] !== undefined);
    let over = false;
    void flipped.then(() => {
      over = true;
    });
    for (let wave = 0; wave < waves || !over; wave++) {
      const fromPort = firstPort + wave * perWave;
      const options = { fromPort, timeoutMs: handshakeMs, eager: true } as const;
      await client.open({ group: "caught", kind: "echo", to: publicAddress, count: perWave, ...options });
      await fixture.exec("client1", "ss", "-Htn", "state", "syn-sent");
    }
    await flipped;
    await fixture.nft("client1", "delete table inet straddle");
    await until("all handshakes are over", handshakeMs, async () => {
      const [kind] = (await client.report({ group: "caught" })).kinds;
      return (kind?.states.connecting ?? 0) === 0;
    });
    const [caught] = await client.ping("caught");
    expect(caught).toMatchObject({ states: { open: caught?.count }, failures: {} });
    // Both sides of the flip were caught: otherwise nothing was proven.
    expect(caught?.count).toBeGreaterThanOrEqual(40);
    expect(Object.keys(caught?.servers ?? {}).sort()).toEqual(["vm-a", "vm-b"]);
    await client.close("caught");
    await client.close("old");
  });

  it("are the target's alone where it took them before it knew that the source had answered", async () => {
    const [group, kind, to, count] = ["both", "echo", publicAddress, perWave] as const;
    await fixture.nft("client1", dropAnswers);
    await client.open({ group, kind, to, count, fromPort: lateFirstPort, timeoutMs: lateMs, eager: true });
    await fixture.remap("vm-a", "draining", "--return", way);
    // The kernels alone must manage: an agent that sees that its handshakes are superseded would end them.
    const agent = serviceOf(fixture.lab, "agent-vm-b");
    await pauseService(fixture.lab, agent, AbortSignal.timeout(pauseMs));
    // As if the trackers told late of the source's handshakes: what they have told is forgotten, until the SYNs have come.
    const named = async (what: string) =>
      [...(await setEntries(fixture, "vm-a"))].find(([name]) => name.startsWith(what));
    const [half] = (await named("half_")) ?? [];
    await until("the target has taken all SYNs", lateMs, async () => {
      await fixture.nft("vm-a", `flush set inet baton ${half}`);
      return (await named("own_syn_"))?.[1] === count;
    });
    await until("it has refused an answer of the source's", lateMs, async () => {
      const counter = `refused_packets_${half?.slice("half_".length)}`;
      return !/packets 0 /.test(await fixture.exec("vm-a", "nft", "list", "counter", "inet", "baton", counter));
    });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    await fixture.nft("client1", "delete table inet straddle");
    await until("all handshakes are over", lateMs, async () => {
      const [now] = (await client.report({ group })).kinds;
      return (now?.states.connecting ?? 0) === 0;
    });
    const [all] = await client.ping(group);
    expect(all).toMatchObject({ states: { open: count }, servers: { "vm-a": count }, failures: {} });
    resumeService(fixture.lab, agent);
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });
});
