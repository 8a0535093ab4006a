/** Processes that die and come back while connections are followed (SPEC D6, R2, F2). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { killService, startService, stopService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const readyTimeoutMs = 30_000;
const connections = 40;
/** Of messages that each connection must get while a process is away, at one every 20 ms. */
const messagesWhileAway = 20;

describe("a drain amid crashes", () => {
  let fixture: LabFixture;
  let client: Client;
  let remap: RemapJson;

  beforeAll(async () => {
    fixture = await LabFixture.start("crash");
    client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count: connections, intervalMs: 20 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    remap = await fixture.remap("vm-b", "draining");
    await client.open({ group: "new", kind: "push", to: publicAddress, count: connections, intervalMs: 20 });
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  /** Begun together, for most of them are ready only when others are. */
  async function start(...names: readonly string[]): Promise<void> {
    const services = names.map((name) => serviceOf(fixture.lab, name));
    for (const service of services) startService(fixture.lab, service);
    await untilReady(fixture.lab, services, AbortSignal.timeout(readyTimeoutMs));
  }

  async function goOn(what: string): Promise<void> {
    const counts = async () => (await client.report({ records: true })).records;
    const seen = await counts();
    await until(`all connections go on, ${what}`, 10_000, async () =>
      (await counts()).every(
        (record, index) =>
          record.state === "failed" || record.messages >= (seen[index]?.messages ?? 0) + messagesWhileAway,
      ),
    );
    for (const kind of (await client.report()).kinds) {
      const server = kind.group === "old" ? "vm-a" : "vm-b";
      expect(kind, what).toMatchObject({
        states: { open: kind.count },
        servers: { [server]: kind.count },
        failures: {},
      });
    }
  }

  it.each(["agent-vm-a", "agent-vm-b", "gateway-gw1", "tracker1", "coordinator1", "nats1"])(
    "goes on while %s is dead, and when it is back",
    async (name) => {
      await killService(fixture.lab, serviceOf(fixture.lab, name), AbortSignal.timeout(readyTimeoutMs));
      await goOn(`without ${name}`);
      await start(name);
      await goOn(`with ${name} again`);
    },
  );

  it.each(["agent-vm-a", "agent-vm-b", "gateway-gw1"])(
    "goes on while %s stops in order, and starts again",
    async (name) => {
      await stopService(fixture.lab, serviceOf(fixture.lab, name), AbortSignal.timeout(readyTimeoutMs));
      await goOn(`without ${name}`);
      await start(name);
      await goOn(`with ${name} again`);
    },
  );

  it("opens new connections at the target while the whole control plane is dead", async () => {
    const control = ["coordinator1", "tracker1", "nats1", "agent-vm-a", "agent-vm-b"];
    const signal = AbortSignal.timeout(readyTimeoutMs);
    for (const name of control) await killService(fixture.lab, serviceOf(fixture.lab, name), signal);
    const opened = await client.open({ group: "fresh", kind: "push", to: publicAddress, count: 10, intervalMs: 20 });
    for (const kind of opened) expect(kind).toMatchObject({ servers: { "vm-b": 10 }, failures: {} });
    await goOn("without a control plane");
    await start(...control);
    for (const kind of await client.close("fresh")) expect(kind.failures).toEqual({});
  });

  it("completes all the same, and has shown the client no reset and no private source", async () => {
    for (const kind of await client.close("old")) expect(kind.failures).toEqual({});
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed" });
    expect(done.flows.remaining).toBe(0);
    for (const kind of await client.close("new")) expect(kind.failures).toEqual({});
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });
});
