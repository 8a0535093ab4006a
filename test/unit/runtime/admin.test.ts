import { Counter, Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { serveAdmin } from "../../../src/runtime/admin.ts";

const listen = { host: "127.0.0.1", port: 0 };

describe("the admin port", () => {
  it("says why the service is not ready, and once it is, that it is", async () => {
    const reasons = ["no coordinator", "no tracker"];
    await using admin = await serveAdmin({ listen, ready: () => reasons, registry: new Registry() });
    const unready = await fetch(`http://127.0.0.1:${admin.port}/readyz`);
    expect([unready.status, await unready.text()]).toEqual([503, "not ready: no coordinator\nnot ready: no tracker\n"]);
    reasons.length = 0;
    expect((await fetch(`http://127.0.0.1:${admin.port}/readyz`)).status).toBe(200);
    expect((await fetch(`http://127.0.0.1:${admin.port}/healthz`)).status).toBe(200);
  });

  it("shows the metrics of its registry", async () => {
    const registry = new Registry();
    new Counter({ name: "baton_flips_total", help: "Flips.", registers: [registry] }).inc(3);
    await using admin = await serveAdmin({ listen, ready: () => [], registry });
    const text = await (await fetch(`http://127.0.0.1:${admin.port}/metrics`)).text();
    expect(text).toContain("baton_flips_total 3");
  });

  it("answers nothing else, and changes nothing", async () => {
    await using admin = await serveAdmin({ listen, ready: () => [], registry: new Registry() });
    expect((await fetch(`http://127.0.0.1:${admin.port}/x`)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${admin.port}/healthz`, { method: "POST" })).status).toBe(405);
  });

  it("refuses a port that is taken", async () => {
    await using first = await serveAdmin({ listen, ready: () => [], registry: new Registry() });
    const second = serveAdmin({
      listen: { host: "127.0.0.1", port: first.port },
      ready: () => [],
      registry: new Registry(),
    });
    await expect(second).rejects.toThrow("EADDRINUSE");
  });
});
