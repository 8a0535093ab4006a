import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { Registry } from "prom-client";
import { describe, expect, it } from "vitest";
import { gossipField } from "../../../src/cluster/config.ts";
import { ClusterMembership, type MembershipChange } from "../../../src/cluster/membership.ts";
import { type GossipConfig, lanConfig } from "../../../src/gossip/config.ts";
import { createLog } from "../../../src/runtime/log.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { ServiceError } from "../../../src/runtime/service-error.ts";

/** Faster than in a network: these wait in real time. */
const config: GossipConfig = {
  ...lanConfig,
  probeIntervalMs: 100,
  probeTimeoutMs: 50,
  gossipIntervalMs: 10,
  pushPullIntervalMs: 300,
  reconnectIntervalMs: 100,
  streamTimeoutMs: 500,
  reclaimMs: 500,
};
const log = createLog({ service: "test", name: "test", level: "error" });
const key = Buffer.alloc(32, 1).toString("base64");

interface Wish {
  readonly seeds?: readonly string[];
  readonly resolve?: (host: string) => Promise<readonly string[]>;
  readonly [setting: string]: unknown;
}

async function join(name: string, wish: Wish = {}): Promise<ClusterMembership> {
  const member = await open(name, wish);
  member.join();
  return member;
}

function open(
  name: string,
  { resolve, ...section }: Wish = {},
  loadElsewhere: () => number = () => 0,
): Promise<ClusterMembership> {
  const parsed = gossipField.parse(section);
  return ClusterMembership.open({
    name,
    roles: ["tracker"],
    services: { grpc: `${name}:7410` },
    section: parsed,
    log,
    config,
    loadElsewhere,
    ...(resolve && { resolve }),
  });
}

/** In a process of its own, so that it can crash. */
async function startMember(name: string, seed: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["test/system/gossip-member.ts", name, "baton", seed], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return child;
}

const soon = (what: string, condition: () => boolean): Promise<boolean> =>
  waitFor(condition, { signal: AbortSignal.timeout(20_000), timeoutMs: 15_000, what });
const stateAt = (at: ClusterMembership, name: string): string | undefined =>
  at.members().find((member) => member.name === name)?.state;
const portOf = (member: ClusterMembership): string => member.self.gossip.split(":")[1] ?? "";

describe("the membership", { timeout: 30_000 }, () => {
  it("knows what each member offers and can do, from itself alone up", async () => {
    await using one = await join("one", { labels: { zone: "a" } });
    expect(one.members()).toEqual([one.self]);
    expect(one.self).toMatchObject({ name: "one", roles: ["tracker"], state: "alive", labels: { zone: "a" } });
    await using two = await join("two", { seeds: [one.self.gossip] });
    await soon("both to know both", () => stateAt(one, "two") === "alive" && stateAt(two, "one") === "alive");
    expect(two.members().find(({ name }) => name === "one")).toMatchObject({
      services: { grpc: "one:7410" },
      labels: { zone: "a" },
      characteristics: { cpus: expect.any(Number), memoryMiB: expect.any(Number) },
      gossip: one.self.gossip,
    });
    for (const { characteristics } of two.members()) expect(characteristics?.memoryMiB).toBeGreaterThan(64);
  });

  it("joins through whichever seed is there, also by a name that is found only later", async () => {
    await using one = await join("one");
    let asked = 0;
    const resolve = (): Promise<readonly string[]> =>
      ++asked < 2 ? Promise.reject(new Error("no such name")) : Promise.resolve(["127.0.0.1"]);
    const seeds = ["127.0.0.1:1", `late.example:${portOf(one)}`];
    await using _two = await join("two", { seeds, resolve });
    await soon("two at one", () => stateAt(one, "two") === "alive");
  });

  it("is told of by nobody until it joins, though it has its ports (M14)", async () => {
    await using one = await join("one");
    await using two = await open("two", { seeds: [one.self.gossip] });
    await using three = await join("three", { seeds: [two.self.gossip, one.self.gossip] });
    await soon("one and three to know each other", () =>
      [stateAt(one, "three"), stateAt(three, "one")].every((state) => state === "alive"),
    );
    expect([stateAt(one, "two"), stateAt(three, "two")]).toEqual([undefined, undefined]);
    two.join();
    await soon("two at one", () => stateAt(one, "two") === "alive");
    await using never = await open("never", { seeds: [one.self.gossip] });
    expect(never.members()).toEqual([never.self]);
  });

  it("tells what it offers otherwise than before, also what it was to tell before it joined", async () => {
    await using one = await join("one");
    await using two = await open("two", { seeds: [one.self.gossip] });
    const [roles, services] = [["tracker"] as const, { grpc: "two:7410" }];
    two.offer({ roles, services, hosting: "draining" });
    two.join();
    const atOne = () => one.members().find(({ name }) => name === "two");
    await soon("two to drain", () => atOne()?.hosting === "draining");
    two.offer({ roles: [], services: {} });
    await soon("two to offer nothing", () => atOne()?.roles.length === 0);
    expect(atOne()).toMatchObject({ state: "alive", hosting: "ready", services: {} });
  });

  it("is as busy as what works for it in other processes", async () => {
    await using busy = await open("busy", { load: ["delay"] }, () => 1);
    busy.join();
    await soon("its load to be told", () => busy.self.load > 0);
  });

  it("tells what holds first, then what changes: a join, a load, a leave", async () => {
    await using one = await join("one");
    const stop = new AbortController();
    const changes: MembershipChange[] = [];
    const reading = (async () => {
      for await (const change of one.changes(stop.signal)) changes.push(change);
    })().catch(() => undefined);
    {
      await using two = await join("two", { seeds: [one.self.gossip] });
      await soon("the join", () => changes.some(({ kind }) => kind === "joined"));
      await soon("one at two", () => stateAt(two, "one") === "alive");
    }
    await soon("the leave", () => changes.some(({ kind }) => kind === "left"));
    stop.abort();
    await reading;
    expect(changes[0]).toMatchObject({ kind: "members", members: [{ name: "one" }] });
    expect(changes.map(({ kind }) => kind).filter((kind) => kind !== "load" && kind !== "updated")).toEqual([
      "members",
      "joined",
      "left",
    ]);
    expect(stateAt(one, "two")).toBe("left");
  });

  it("measures its own load and tells the others", async () => {
    await using one = await join("one");
    await using two = await join("two", { seeds: [one.self.gossip] });
    const registry = new Registry();
    one.register(registry);
    const measured = async (): Promise<number> =>
      Number(/^baton_gossip_load (\S+)$/m.exec(await registry.metrics())?.[1]);
    const endMs = performance.now() + 10_000;
    while ((await measured()) < 0.5 && performance.now() < endMs) await new Promise(setImmediate);
    expect(await measured()).toBeGreaterThanOrEqual(0.5);
    await soon("a load of one at two", () => (two.members().find(({ name }) => name === "one")?.load ?? 0) > 0);
  });

  it("takes a member that left back from another address at once", async () => {
    await using one = await join("one");
    const addresses: string[] = [];
    for (let turn = 0; turn < 2; turn++) {
      await using two = await join("two", { seeds: [one.self.gossip] });
      addresses.push(two.self.gossip);
      await soon("one at two", () => stateAt(two, "one") === "alive");
      await soon("two at one", () => {
        const known = one.members().find(({ name }) => name === "two");
        return known?.state === "alive" && known.gossip === two.self.gossip;
      });
    }
    expect(addresses[0]).not.toBe(addresses[1]);
  });

  it("takes a member that crashed back from another address, some time after its death, and names the clash", async () => {
    await using one = await join("one");
    const stop = new AbortController();
    const conflicts: string[] = [];
    const reading = (async () => {
      for await (const change of one.changes(stop.signal))
        if (change.kind === "conflict") conflicts.push(change.claimant);
    })().catch(() => undefined);
    const crashed = await startMember("two", one.self.gossip);
    await soon("two at one", () => stateAt(one, "two") === "alive");
    await using two = await join("two", { seeds: [one.self.gossip] });
    await soon("the clash", () => conflicts.includes(two.self.gossip));
    expect(one.members().find(({ name }) => name === "two")?.gossip).not.toBe(two.self.gossip);
    crashed.kill("SIGKILL");
    await soon("two from its new address", () => {
      const known = one.members().find(({ name }) => name === "two");
      return known?.state === "alive" && known.gossip === two.self.gossip;
    });
    stop.abort();
    await reading;
  });

  it("keeps members of another label or another key apart", async () => {
    const section = { label: "ours", encryption: { mode: "require", keys: [key] } };
    await using one = await join("one", section);
    const seeds = [one.self.gossip];
    await using _stranger = await join("stranger", { ...section, seeds, label: "theirs" });
    await using _plain = await join("plain", { ...section, seeds, encryption: { mode: "off" } });
    await using two = await join("two", { ...section, seeds });
    await soon("two at one", () => stateAt(one, "two") === "alive");
    const registry = new Registry();
    one.register(registry);
    const refused = async (fault: string): Promise<boolean> =>
      !(await registry.metrics()).includes(`baton_gossip_refused_total{fault="${fault}"} 0`);
    await waitFor(async () => (await refused("label")) && (await refused("plain")), {
      signal: AbortSignal.timeout(20_000),
      timeoutMs: 15_000,
      what: "both to be refused",
    });
    await soon("one at two", () => stateAt(two, "one") === "alive");
    expect(one.members().map(({ name }) => name)).toEqual(["one", "two"]);
  });

  it("says which port it can't have, and refuses labels that don't fit", async () => {
    await using one = await join("one");
    await expect(join("two", { listen: one.self.gossip })).rejects.toThrow(ServiceError);
    await expect(join("two", { listen: one.self.gossip })).rejects.toThrow(/^gossip\.listen .*another process listens/);
    const labels = Object.fromEntries([..."abcdefgh"].map((name) => [name.repeat(32), "x".repeat(32)]));
    await expect(join("two", { labels })).rejects.toThrow(/^gossip\.labels: metadata of \d+ bytes, and 512/);
  });
});
