import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { states } from "../unit/dataplane/agent-states.ts";
import { Actor } from "./kernel/actor.ts";
import type { AgentKernelCalls } from "./kernel/agent-kernel.script.ts";
import { Namespace } from "./kernel/namespace.ts";

type StateName = keyof typeof states;

const followed = "198.51.100.2 . 40000 . 80";

describe("the agent's hands on the kernel", () => {
  let host: Namespace;
  let other: Namespace;
  let directory: string;
  let agent: Actor<AgentKernelCalls>;

  beforeEach(async () => {
    host = new Namespace("agk-a");
    other = new Namespace("agk-b");
    // No link-local address, which comes by itself a second after its device: it would change the picture meanwhile.
    host.exec("sysctl", "-q", "-w", "net.ipv6.conf.default.addr_gen_mode=1");
    host.connect("eth0", "10.77.0.11/24", other, "eth0", "10.77.0.1/24");
    directory = mkdtempSync(join(tmpdir(), "baton-t-agk-"));
    agent = await start();
  });
  afterEach(async () => {
    await agent?.[Symbol.asyncDispose]();
    host?.[Symbol.dispose]();
    other?.[Symbol.dispose]();
    rmSync(directory, { recursive: true });
  });

  async function start(): Promise<Actor<AgentKernelCalls>> {
    const actor = await Actor.start<AgentKernelCalls>(host, "agent-kernel.script.ts");
    await actor.call("open", join(directory, "sysctls.json"));
    return actor;
  }

  /** Applies a state on the host that it is for: source and target are two hosts, and this one plays either. */
  async function apply(name: StateName, generation: number): Promise<void> {
    const own = name.startsWith("target") ? "10.77.0.12" : "10.77.0.11";
    host.ip("-4 addr flush dev eth0");
    host.ip(`addr add ${own}/24 dev eth0`);
    await agent.call("apply", name, generation);
  }

  /** Everything in the kernel that an agent touches. */
  function picture(): string {
    const sysctls =
      "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/netfilter | grep -v nf_conntrack_count | grep -v /baton | sort";
    const parts = ["nft -s list ruleset", "ip rule", "ip route show table all", "ip -o link", sysctls];
    return parts.map((command) => host.exec("sh", "-c", `${command} || true`)).join("\n");
  }

  function rules(): string {
    return host.exec("sh", "-c", "nft -s list ruleset; ip rule; ip route show table all; ip -o link");
  }

  test("leave nothing behind after a cleanup, and touch nothing that is not baton's (D11, D12)", async () => {
    await agent.call("cleanup");
    host.exec("nft", "add table inet mine; add chain inet mine c; add rule inet mine c counter");
    host.ip("rule add pref 5000 fwmark 0x1 lookup 100");
    host.ip("route add 192.0.2.0/24 dev lo table 100");
    const before = picture();
    await agent.call("open", join(directory, "sysctls.json"));
    for (const [index, name] of (["targetArmedByVxlan", "sourceSwitched"] as StateName[]).entries())
      await apply(name, index + 1);
    expect(picture()).not.toBe(before);
    await apply("steady", 9);
    await agent.call("cleanup");
    expect(picture()).toBe(before);
  });

  test.each<StateName>(["targetArmed", "targetArmedByVxlan", "sourceSwitched", "sourceSwitchedByVxlan", "steady"])(
    "bring %s about once, however often it is applied (R5)",
    async (name) => {
      await apply(name, 1);
      const once = rules();
      await apply(name, 1);
      expect(rules()).toBe(once);
    },
  );

  test("keep what the kernel has learnt when a state is applied again, by this process or the next (D6)", async () => {
    await apply("targetArmed", 1);
    await agent.call("run", `add element inet baton learnt_5 { ${followed} }`);
    await apply("targetDraining", 2);
    expect(host.exec("nft", "list", "set", "inet", "baton", "learnt_5")).toContain(followed);
    await agent[Symbol.asyncDispose]();
    expect(host.exec("nft", "list", "set", "inet", "baton", "learnt_5")).toContain(followed);
    agent = await start();
    expect(await agent.call("generation")).toBe(2);
    await apply("targetDraining", 2);
    expect(host.exec("nft", "list", "set", "inet", "baton", "learnt_5")).toContain(followed);
  });

  test("take everything of a link away when its state is over", async () => {
    const sysctl = () => host.exec("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").trim();
    await apply("steady", 1);
    const before = rules();
    const forwarding = sysctl();
    for (const [index, name] of (["targetArmed", "targetArmedByVxlan", "sourceSwitched"] as StateName[]).entries())
      await apply(name, index + 2);
    await apply("steady", 1);
    expect(rules()).toBe(before);
    expect(sysctl()).toBe(forwarding);
    expect(await agent.call("counters")).toEqual([]);
  });

  test("make the host a router for baton's own packets only (trap 11)", async () => {
    host.exec("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding");
    await apply("targetArmed", 1);
    expect(host.exec("cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").trim()).toBe("1");
    const guard = 'iifname "eth0" meta mark & 0x0fff0000 == 0x00000000 drop';
    expect(host.exec("nft", "list", "chain", "inet", "baton", "forward")).toContain(guard);
    await agent[Symbol.asyncDispose]();
    agent = await start();
    await apply("targetArmed", 1);
    expect(host.exec("nft", "list", "chain", "inet", "baton", "forward")).toContain(guard);
  });

  test("put the fence into the kernel with the rules (F2)", async () => {
    await apply("targetArmed", 41);
    expect(await agent.call("generation")).toBe(41);
  });
});
