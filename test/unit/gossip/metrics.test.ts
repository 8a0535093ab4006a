import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { lanConfig } from "../../../src/gossip/config.ts";
import { MemoryNetwork } from "../../../src/gossip/edge/memory-network.ts";
import { registerGossipMetrics } from "../../../src/gossip/edge/metrics.ts";
import { Gossip } from "../../../src/gossip/edge/node.ts";
import { systemClock } from "../../../src/runtime/clock.ts";

describe("a node's metrics", () => {
  it("tell members, traffic, health, and what was refused by its fault", async () => {
    const network = new MemoryNetwork();
    const envelope = { label: "", mode: "off", keyring: undefined } as const;
    const options = { config: lanConfig, metadata: new Uint8Array(), seeds: [], envelope };
    await using gossip = new Gossip(
      { ...options, name: "one", clock: systemClock, random: Math.random },
      network.transport("10.0.0.1:1"),
    ).start();
    const stranger = network.transport("10.0.0.2:1");
    stranger.send("10.0.0.1:1", Buffer.from("nonsense"));
    await Promise.resolve();
    const registry = new Registry();
    registerGossipMetrics(gossip, registry);
    const text = await registry.metrics();
    expect(text).toContain('baton_gossip_members{state="alive"} 1');
    expect(text).toContain('baton_gossip_refused_total{fault="magic"} 1');
    expect(text).toContain("baton_gossip_health_score 0");
    expect(await registry.metrics()).toBe(text);
  });
});
