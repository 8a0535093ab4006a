/** Hosts that lose all kernel state while connections are followed, and no coordinator is there (SPEC D14, F2). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { hostOf, powerCycle, serviceOf, untilReady } from "../../services/lab/lab.ts";
import { startService, stopService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const timeoutMs = 30_000;
const connections = 20;
/** Of messages that each connection must get after the host is back, at one every 20 ms. */
const messagesAfter = 20;

describe("a reboot without a coordinator", () => {
  let fixture: LabFixture;
  let client: Client;
  let remap: RemapJson;

  beforeAll(async () => {
    fixture = await LabFixture.start("boot");
    client = fixture.client();
    await client.open({ group: "old", kind: "echo", to: publicAddress, count: connections, intervalMs: 20 });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    // The policy that would hurt most: whatever the target does not know is reset.
    remap = await fixture.remap("vm-b", "draining", "--unknown", "reset");
    for (const name of ["coordinator1", "tracker1"]) await stop(name);
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  const signal = (): AbortSignal => AbortSignal.timeout(timeoutMs);
  const stop = (name: string): Promise<void> => stopService(fixture.lab, serviceOf(fixture.lab, name), signal());
  const start = (name: string): void => startService(fixture.lab, serviceOf(fixture.lab, name));
  const tables = (host: string): Promise<string> => fixture.nft(host, "list tables");

  async function gateCount(host: string, counter: string): Promise<number> {
    const listing = await fixture.nft(host, `list counter inet baton_gate ${counter}`);
    return Number(/packets (\d+)/.exec(listing)?.[1]);
  }

  async function goOn(): Promise<void> {
    const records = async () => (await client.report({ records: true })).records;
    const seen = await records();
    await until(`all connections go on\n${fixture.logs()}`, timeoutMs, async () =>
      (await records()).every((record, i) => record.messages >= (seen[i]?.messages ?? 0) + messagesAfter),
    );
  }

  async function nothingBroken(): Promise<void> {
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    for (const kind of (await client.report()).kinds) expect(kind).toMatchObject({ failures: {} });
  }

  describe("of the target", () => {
    it("answers packets that it does not know yet with nothing", async () => {
      await powerCycle(fixture.lab, hostOf(fixture.lab, "vm-b"), signal());
      await fixture.server("vm-b");
      expect(await tables("vm-b")).toBe("table inet baton_gate\n");
      await until("refusals that the gate has held back", timeoutMs, async () => {
        return (await gateCount("vm-b", "refusals")) >= connections;
      });
      await nothingBroken();
    });

    it("brings back the last state from the disk, which takes the gate's place", async () => {
      start("agent-vm-b");
      await until("the end of the gate", timeoutMs, async () => !(await tables("vm-b")).includes("baton_gate"));
      expect(await tables("vm-b")).toBe("table inet baton\ntable inet baton_fence\n");
      await goOn();
      await nothingBroken();
    });

    it("resets nothing by policy before the tracker has said again which flows are the source's", async () => {
      const chain = () => fixture.nft("vm-b", "list chain inet baton unknown_10_77_0_112");
      expect(await chain()).not.toContain("reject");
      start("tracker1");
      await until("the policy to rule again", timeoutMs, async () => (await chain()).includes("reject"));
      await goOn();
      await nothingBroken();
    });
  });

  describe("of the gateway", () => {
    it("lets nothing pass, and answers nothing in others' names", async () => {
      await powerCycle(fixture.lab, hostOf(fixture.lab, "gw1"), signal());
      await until("packets that the gate has held back", timeoutMs, async () => {
        return (await gateCount("gw1", "passing")) >= connections;
      });
      const ping = ["ping", "-c", "1", "-W", "1", publicAddress];
      expect(await fixture.exec("client1", "sh", "-c", `${ping.join(" ")} || true`)).not.toMatch(/unreachable/i);
      await nothingBroken();
    });

    it("brings back the last state from the disk, and new connections with it", async () => {
      start("gateway-gw1");
      await until("the end of the gate", timeoutMs, async () => !(await tables("gw1")).includes("baton_gate"));
      await goOn();
      const opened = await client.open({ group: "new", kind: "push", to: publicAddress, count: 5, intervalMs: 20 });
      for (const kind of opened) expect(kind).toMatchObject({ servers: { "vm-b": 5 }, failures: {} });
      await nothingBroken();
    });
  });

  it("is over when the coordinator is back, and the remap completes", async () => {
    start("coordinator1");
    const services = ["coordinator1", "agent-vm-a", "agent-vm-b", "gateway-gw1"];
    await untilReady(
      fixture.lab,
      services.map((name) => serviceOf(fixture.lab, name)),
      signal(),
    );
    for (const group of ["old", "new"]) for (const kind of await client.close(group)) expect(kind.failures).toEqual({});
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed" });
    await nothingBroken();
  });
});
