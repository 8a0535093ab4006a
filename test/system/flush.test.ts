/** Somebody reloads the host's own rules with `nft flush ruleset`, and takes baton's along (SPEC D15). */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import type { Client } from "../traffic/driver.ts";
import { setEntries } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const readyTimeoutMs = 30_000;
const mendedWithinMs = 10_000;
const connections = 30;

describe("a drain on hosts whose ruleset is flushed", () => {
  let fixture: LabFixture;
  let client: Client;
  let id: string;

  beforeAll(async () => {
    fixture = await LabFixture.start("flush");
    client = fixture.client();
    await client.open({ group: "old", kind: "echo", to: publicAddress, count: connections });
    ({ id } = await fixture.remap("vm-b", "draining"));
    await client.open({ group: "new", kind: "echo", to: publicAddress, count: connections });
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  it.each([
    ["gateway-gw1", "gw1"],
    ["agent-vm-a", "vm-a"],
    ["agent-vm-b", "vm-b"],
  ])("goes on when %s has written its rules again", async (service, host) => {
    await fixture.nft(host, "flush ruleset");
    await until(`${service} to write its rules again`, mendedWithinMs, async () => {
      const tables = await fixture.nft(host, "list tables");
      return /^table inet baton$/m.test(tables) && tables.includes("table inet baton_fence");
    });
    await untilReady(fixture.lab, [serviceOf(fixture.lab, service)], AbortSignal.timeout(readyTimeoutMs));
    if (host === "vm-b")
      await until("the followed flows to be in their set again", mendedWithinMs, async () => {
        const sets = await setEntries(fixture, host);
        const followed = [...sets].filter(([name]) => name.startsWith("follow_")).map(([, count]) => count);
        return followed.reduce((sum, count) => sum + count, 0) >= connections;
      });
    for (const [group, server] of [
      ["old", "vm-a"],
      ["new", "vm-b"],
    ] as const)
      for (const kind of (await client.ping(group)).filter((one) => one.group === group))
        expect(kind).toMatchObject({
          states: { open: connections },
          servers: { [server]: connections },
          failures: {},
        });
    const opened = await client.open({ group: `after ${host}`, kind: "echo", to: publicAddress, count: 5 });
    for (const kind of opened.filter(({ group }) => group === `after ${host}`))
      expect(kind).toMatchObject({ servers: { "vm-b": 5 }, failures: {} });
  });

  it("ends when the last old connection does, and has been told of in every log", async () => {
    for (const kind of await client.close("old")) expect(kind.failures).toEqual({});
    const done = await fixture.follow(id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", flows: { remaining: 0 } });
    for (const service of ["gateway-gw1", "agent-vm-a", "agent-vm-b"])
      expect(readFileSync(fixture.lab.directory.log(service), "utf8")).toContain("from the kernel: writing them again");
  });
});
