/** Nodes that do not do their part: an agent that never answers, a gateway that is gone, two hosts with one name. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BatonResult } from "../../services/lab/demo-baton.ts";
import { hostOf, powerCycle, serviceOf, untilReady } from "../../services/lab/lab.ts";
import { pauseService, resumeService, startService, stopService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { Service } from "./bad-service.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const timeoutMs = 30_000;
const connections = 10;

interface Listed {
  readonly name: string;
  readonly instance?: string;
  readonly address?: string;
  readonly connected?: boolean;
}

describe("nodes that do not do their part", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("nodes", { instances: 3, gateways: 2 });
    client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count: connections, intervalMs: 20 });
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  const signal = (): AbortSignal => AbortSignal.timeout(timeoutMs);
  const service = (name: string) => serviceOf(fixture.lab, name);
  const remap = (...more: string[]): Promise<BatonResult> =>
    fixture.baton("remap", publicAddress, "--to", "vm-b", "--yes", "--linger", "200ms", ...more);

  async function start(name: string): Promise<void> {
    startService(fixture.lab, service(name));
    await untilReady(fixture.lab, [service(name)], signal());
  }

  async function list(what: "addresses" | "instances" | "gateways"): Promise<readonly Listed[]> {
    return (await fixture.baton(what, "list")).json.flat() as Listed[];
  }

  /** What the network's own routing does when a gateway's host is gone: without it, half of all paths lead to nowhere. */
  async function routeByFirstGateway(): Promise<void> {
    for (const host of ["client1", "vm-a", "vm-b", "vm-c"]) {
      const via = host === "client1" ? "198.51.100.1" : "10.77.0.1";
      await fixture.exec(host, "ip", "route", "replace", "default", "via", via);
    }
  }

  async function nothingBroken(): Promise<void> {
    for (const kind of (await client.report()).kinds)
      expect(kind).toMatchObject({ states: { open: connections }, servers: { "vm-a": connections }, failures: {} });
  }

  it("refuses a host that has another one's name, and goes on with the first (F6)", async () => {
    await stopService(fixture.lab, service("agent-vm-c"), signal());
    const file = join(fixture.lab.directory.data("vm-c"), "rival.yaml");
    const own = readFileSync(fixture.lab.directory.config("agent-vm-c"), "utf8");
    writeFileSync(file, own.replace(/^name: .*$/m, "name: vm-a"));
    await using rival = new Service(fixture.inside("vm-c"), "agent", "--config", file);
    await rival.says(
      "vm-a is connected from the host with 10.77.0.11, 10.77.0.111: give this node another name, or stop that one",
    );
    const instances = await list("instances");
    expect(instances.find(({ name }) => name === "vm-a")).toMatchObject({ connected: true });
    expect(await rival.end("SIGTERM")).toMatchObject({ code: 0 });
    await start("agent-vm-c");
    await nothingBroken();
  });

  it("aborts a remap whose target's agent never answers, says which, and leaves everything as it was", async () => {
    await pauseService(fixture.lab, service("agent-vm-b"), signal());
    const result = await remap("--wait", "draining");
    resumeService(fixture.lab, service("agent-vm-b"));
    expect(result.code, await fixture.explain(result)).toBe(1);
    expect(result.json.at(-1)).toMatchObject({
      phase: "aborted",
      outcome: "aborted",
      error: { code: "NODE_TIMEOUT", message: expect.stringContaining("vm-b") },
    });
    const mapped = (await list("addresses")).find(({ address }) => address === publicAddress);
    expect(mapped).toMatchObject({ instance: "vm-a" });
    await nothingBroken();
    await untilReady(fixture.lab, [service("agent-vm-b")], signal());
    await until("the target to be connected again", timeoutMs, async () => {
      return (await list("instances")).find(({ name }) => name === "vm-b")?.connected === true;
    });
  });

  it("refuses a remap while a gateway is gone, names it, and works as soon as it is removed", async () => {
    await stopService(fixture.lab, service("gateway-gw2"), signal());
    await powerCycle(fixture.lab, hostOf(fixture.lab, "gw2"), signal());
    await routeByFirstGateway();
    const refused = await remap("--wait", "draining");
    expect(refused.code, await fixture.explain(refused)).toBeGreaterThan(0);
    expect(refused.stderr).toContain("gw2");
    expect((await fixture.baton("gateways", "rm", "gw2")).code).toBe(0);
    const done = await remap("--wait", "draining");
    expect(done.code, await fixture.explain(done)).toBe(0);
  });

  it("takes the gateway back with what has changed since", async () => {
    await start("gateway-gw2");
    await until("the present mapping", timeoutMs, async () => {
      const rules = await fixture.nft("gw2", "list map inet baton to_private");
      return rules.includes(`${publicAddress} : 10.77.0.112`);
    });
    expect((await list("gateways")).map(({ name }) => name).toSorted()).toEqual(["gw1", "gw2"]);
  });
});
