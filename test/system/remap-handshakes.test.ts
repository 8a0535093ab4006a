/** Handshakes that the flip catches half-way (trap 6; SPEC D1, decision rules 2 and 4). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "../traffic/driver.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const waves = 8;
const perWave = 10;
const firstPort = 50_000;
/** SYNs are sent again after 1, 3 and 7 s. */
const handshakeMs = 10_000;

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
  });
});
