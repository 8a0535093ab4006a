import { describe, expect, it } from "vitest";
import { Client, startServer } from "../../traffic/driver.ts";

/** Of loopback's own net, so that nothing else listens there. */
const address = "127.0.77.1";

describe("the measuring client with the measured server", () => {
  it("sees every kind of connection whole, from its greeting to its good-bye", async () => {
    await using _server = await startServer([], "vm-x", address);
    await using client = new Client([]);
    for (const kind of ["echo", "push", "websocket"] as const) {
      await client.open({ group: "all", kind, to: address, count: 5, intervalMs: 5 });
    }
    for (const kind of ["download", "upload"] as const) {
      await client.open({ group: "all", kind, to: address, count: 1 });
      await client.open({ group: "all", kind, to: address, count: 1, bytesPerSecond: 2_000_000 });
    }
    await expect.poll(async () => everyKindHeard(await client.report()), { timeout: 10_000 }).toBe(true);
    const kinds = await client.close("all");
    expect(kinds.map((kind) => [kind.kind, kind.states, kind.servers, kind.failures])).toEqual([
      ["echo", { closed: 5 }, { "vm-x": 5 }, {}],
      ["push", { closed: 5 }, { "vm-x": 5 }, {}],
      ["websocket", { closed: 5 }, { "vm-x": 5 }, {}],
      ["download", { closed: 2 }, { "vm-x": 2 }, {}],
      ["upload", { closed: 2 }, { "vm-x": 2 }, {}],
    ]);
  });

  it("says of a connection that broke that it did, and never opens it again", async () => {
    const server = await startServer([], "vm-x", address);
    await using client = new Client([]);
    await client.open({ group: "idle", kind: "echo", to: address, count: 3 });
    await client.open({ group: "busy", kind: "push", to: address, count: 3, intervalMs: 5 });
    await server[Symbol.asyncDispose]();
    await using _second = await startServer([], "vm-y", address);
    await expect
      .poll(async () => (await client.report()).kinds.map((kind) => kind.states))
      .toEqual([{ failed: 3 }, { failed: 3 }]);
    const { records } = await client.report({ records: true });
    expect(new Set(records.map((record) => record.server))).toEqual(new Set(["vm-x"]));
    expect(records.every((record) => record.failure === "reset" || record.failure === "ended by the server")).toBe(
      true,
    );
  });

  it("says of a short connection which server answered, or why none did", async () => {
    await using client = new Client([]);
    await client.visit(address, 5);
    await expect.poll(async () => (await client.report()).visits.length).toBeGreaterThan(2);
    await using _server = await startServer([], "vm-x", address);
    await expect.poll(async () => (await client.report()).visits.at(-1)?.server).toBe("vm-x");
    expect((await client.rest())[0]?.failure).toBe("ECONNREFUSED");
  });

  it("gives up on what is never answered, and says so", async () => {
    await using client = new Client([]);
    const kinds = await client.open({ group: "none", kind: "echo", to: address, count: 1, timeoutMs: 50 });
    expect(kinds[0]?.states).toEqual({ failed: 1 });
  });
});

function everyKindHeard(report: { kinds: readonly { messages: number; bytes: number }[] }): boolean {
  return report.kinds.length === 5 && report.kinds.every((kind) => kind.messages > 10 && kind.bytes > 0);
}
