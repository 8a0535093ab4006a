/** The numbers that must hold with 1,000 connections, half of them busy, from captures at both ends. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import type { Client } from "../traffic/driver.ts";
import { type FlowDelay, flowDelays } from "../traffic/silence.ts";
import { Capture } from "./capture.ts";
import { LabFixture, privateOf, publicAddress } from "./lab-fixture.ts";

const busyEach = 250;
const idle = 500;
const rhythmMs = 20;
const longestSwitchMs = 50;
const longestSilenceMs = 100;

describe("a remap with 1,000 connections, half of them busy", () => {
  let fixture: LabFixture;
  let client: Client;
  let remap: RemapJson;
  let delays: readonly FlowDelay[];

  beforeAll(async () => {
    fixture = await LabFixture.start("load");
    client = fixture.client();
    const to = publicAddress;
    await client.open({ group: "old", kind: "echo", to, count: idle });
    await client.open({ group: "old", kind: "push", to, count: busyEach, intervalMs: rhythmMs });
    await client.open({ group: "old", kind: "websocket", to, count: busyEach, intervalMs: rhythmMs });
    await using atOwner = await Capture.start(fixture, "vm-a", "eth0", `tcp and src host ${privateOf["vm-a"]}`);
    await using atClient = await Capture.start(fixture, "client1", "eth0", `tcp and src host ${to}`);
    remap = await fixture.remap("vm-b", "draining");
    const heard = (await client.report()).kinds.map((kind) => kind.messages);
    await expect
      .poll(async () =>
        (await client.report()).kinds.every((kind, i) => i === 0 || kind.messages > (heard[i] ?? 0) + 25 * busyEach),
      )
      .toBe(true);
    const [client1, owner] = [await atClient.packets(), await atOwner.packets()];
    const ways = { ownerPrivate: privateOf["vm-a"], publicAddress: to, tailMs: 300 };
    delays = flowDelays({ atOwner: owner, atClient: client1, ...ways });
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it("switches within 50 ms", () => {
    expect(remap.switchMs).toBeLessThan(longestSwitchMs);
  });

  it("silences no flow for longer than 100 ms beyond its own rhythm", () => {
    expect(delays.length).toBeGreaterThanOrEqual(2 * busyEach);
    const longest = delays.toSorted((a, b) => b.longestDelayMs - a.longestDelayMs)[0];
    expect(longest?.longestDelayMs).toBeLessThan(longestSilenceMs);
  });

  it("loses no packet, so that nothing had to be sent again", () => {
    expect(delays.filter((flow) => flow.repeated > 0)).toEqual([]);
  });

  it("keeps all of them", async () => {
    const kinds = await client.ping("old");
    for (const kind of kinds) {
      expect(kind).toMatchObject({ states: { open: kind.count }, servers: { "vm-a": kind.count }, failures: {} });
    }
  });
});
