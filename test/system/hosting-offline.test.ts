/**
 * Trackers beside agents in a whole cluster: they get shards and serve them, end with their agents, and the shards of a
 * source that goes offline are elsewhere before its hook is run (SPEC R16, H11 to H14).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tryCommand } from "../../services/lab/command.ts";
import { outsideEndpoints } from "../../services/lab/config-files.ts";
import { labDirectory } from "../../services/lab/directory.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { defaultOptions } from "../../services/lab/options.ts";
import { planLab } from "../../services/lab/plan.ts";
import { killService, startService, stopService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { ports } from "../traffic/protocol.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const theme = "hosting";
const program = new URL("../../bin/baton", import.meta.url).pathname;
/** Of vm-b, from the beginning on. */
const otherAddress = "203.0.113.11";
const askMetrics = `exec 3<>/dev/tcp/127.0.0.1/9464; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
const [trackerPort, gossipPort] = [7410, 7420] as const;
/** Exit code of timeout(1): no answer came, and no refusal. */
const timedOut = 124;
const placedMs = 40_000;
const count = 6;

interface ShardJson {
  readonly shard: number;
  readonly primary: string;
  readonly standby: string | null;
  readonly state: string;
  readonly complete: boolean;
}

interface FlowJson {
  readonly peer: string;
  readonly peerPort: number;
  readonly port: number;
  readonly owner: string;
  readonly state: string;
}

describe("trackers beside agents", () => {
  let fixture: LabFixture;
  let client: Client;
  /** What the trackers say of connections that go on all the while. */
  let staying: readonly string[] = [];

  beforeAll(async () => {
    const options = { ...defaultOptions, instances: 2, trackers: 1, hosting: 2, name: `baton-t-${theme}` };
    const directory = labDirectory(options.name);
    const endpoint = outsideEndpoints(planLab(options), directory).join(",");
    // What the hook finds when it is run: how many shards are still its host's, and whether there is anything on its disk.
    const script =
      `shards=$(BATON_ENDPOINT=${endpoint} ${program} cluster shards --json) && ` +
      `echo "named $(echo "$shards" | grep -c "$BATON_INSTANCE");" && ` +
      `ls ${join(directory.data("vm-a"), "tracker")} | tr "\\n" " "`;
    process.env["BATON_OFFLINE_HOOK_COMMAND"] = JSON.stringify(["sh", "-c", script]);
    // Four are copied in one go; of 32 each such go takes its ten seconds.
    process.env["BATON_SHARDS"] = "4";
    fixture = await LabFixture.start(theme, options);
    client = fixture.client();
  });

  afterAll(async () => {
    delete process.env["BATON_OFFLINE_HOOK_COMMAND"];
    delete process.env["BATON_SHARDS"];
    await fixture?.[Symbol.asyncDispose]();
  });

  it("get shards and serve them", async () => {
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await client.open({ group: "staying", kind: "echo", to: otherAddress, count });
    await until("every shard has two copies, and both agents host some", placedMs, async () => {
      const shards = await shardsOf();
      const hosts = new Set(shards.flatMap(({ primary, standby }) => [primary, standby]));
      const isPlaced = shards.every(
        ({ standby, state, complete }) => standby !== null && state === "serving" && complete,
      );
      return isPlaced && hosts.has("vm-a") && hosts.has("vm-b");
    });
    expect(await membersOf()).toMatchObject({
      "vm-a": { roles: ["tracker", "agent"], state: "alive", hosting: "ready", address: "10.77.0.11:7410" },
      tracker1: { roles: ["tracker"], hosting: "ready" },
    });
    expect((await membersOf())["coordinator1"]).not.toHaveProperty("hosting");
    expect(await flowsOf(publicAddress)).toHaveLength(count);
    staying = await flowsOf(otherAddress);
    expect(staying).toHaveLength(count);
  });

  it("are told of by their agents' metrics, which docs/operations.md names", async () => {
    const documented = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
    const named = [...documented.matchAll(/`(baton_agent_hosting_[a-z_]+)`/g)].map(([, metric]) => metric);
    const served = await fixture.exec("vm-b", "timeout", "5", "bash", "--norc", "-c", askMetrics);
    const helped = [...served.matchAll(/^# HELP (baton_agent_hosting_\S+)/gm)].map(([, metric]) => metric);
    expect(helped.toSorted()).toEqual([...new Set(named)].toSorted());
    expect(served).toMatch(/^baton_agent_hosting_tracker_running 1$/m);
    expect(served).toMatch(/^baton_gossip_members\{state="alive"\} 4$/m);
  });

  it("are reached by the fabric alone, though a public address is mapped to theirs (H15)", async () => {
    const [hostPrivate, patienceSeconds] = ["10.77.0.11", 2];
    const connects = async (from: string, to: string, port: number): Promise<number> => {
      const [program = "", ...inside] = fixture.inside(from);
      const open = ["timeout", String(patienceSeconds), "bash", "--norc", "-c", `exec 3<>/dev/tcp/${to}/${port}`];
      return (await tryCommand(program, [...inside, ...open])).code;
    };
    const say = (from: string, to: string) =>
      fixture.exec(from, "bash", "--norc", "-c", `echo what > /dev/udp/${to}/${gossipPort}`);
    const gossipOf = async (): Promise<number> => {
      const text = await fixture.exec("vm-a", "timeout", "5", "bash", "--norc", "-c", askMetrics);
      return [...text.matchAll(/^baton_gossip_refused_total\{[^}]*\} (\d+)$/gm)].reduce(
        (sum, [, n]) => sum + Number(n),
        0,
      );
    };
    const before = await gossipOf();
    await say("client1", publicAddress);
    await until("the datagram to be dropped", 5_000, async () =>
      /udp dport 7420 counter packets [1-9]/.test(await fixture.nft("vm-a", "list chain inet baton input")),
    );
    await say("vm-b", hostPrivate);
    await until("what comes by the fabric to be read", 5_000, async () => (await gossipOf()) > before);
    expect(await gossipOf()).toBe(before + 1);
    expect(await connects("client1", publicAddress, ports.echo)).toBe(0);
    for (const port of [trackerPort, gossipPort]) {
      expect(await connects("vm-b", hostPrivate, port), `${port} from the fabric`).toBe(0);
      expect(await connects("client1", publicAddress, port), `${port} from outside`).toBe(timedOut);
    }
  });

  it("end with their agents, and are there again with them (H14)", async () => {
    expect(await hostedPids("vm-b")).toHaveLength(1);
    const agent = serviceOf(fixture.lab, "agent-vm-b");
    await killService(fixture.lab, agent, AbortSignal.timeout(10_000));
    await until("the tracker has ended", 5_000, async () => (await hostedPids("vm-b")).length === 0);
    startService(fixture.lab, agent);
    await untilReady(fixture.lab, [agent], AbortSignal.timeout(30_000));
    await until("it runs again", placedMs, async () => (await hostedPids("vm-b")).length === 1);
    expect(await flowsOf(publicAddress)).toHaveLength(count);
    expect(await flowsOf(otherAddress)).toEqual(staying);
  });

  it("give their shards away before their host is taken offline", async () => {
    const { id } = await fixture.remap("vm-b", "draining", "--offline-source");
    expect((await membersOf())["vm-a"]?.hosting).toBe("ready");
    await client.close("old");
    const waiting = await fixture.follow(id, (now) => now.waitingFor.some(({ what }) => what.includes("shards")));
    expect(waiting).toMatchObject({ phase: "finalizing", waitingFor: [{ node: "vm-a" }] });
    const done = await fixture.follow(id, (now) => now.phase === "completed", placedMs);
    expect(done.offline).toEqual({ outcome: "done", message: "exit code 0: named 0;" });
    expect(await hostedPids("vm-a")).toEqual([]);
    const shards = await shardsOf();
    expect(shards.filter(({ primary, standby }) => primary === "vm-a" || standby === "vm-a")).toEqual([]);
    expect(shards.filter(({ state, complete }) => state !== "serving" || !complete)).toEqual([]);
    expect((await membersOf())["vm-a"]).toMatchObject({ state: "alive", hosting: "draining" });
    expect(await flowsOf(otherAddress)).toEqual(staying);
    await client.open({ group: "new", kind: "echo", to: publicAddress, count });
    await until(
      "the trackers know of the new connections",
      10_000,
      async () => (await flowsOf(publicAddress)).length === count,
    );
    await stopService(fixture.lab, serviceOf(fixture.lab, "agent-vm-b"), AbortSignal.timeout(15_000));
    expect(await hostedPids("vm-b")).toEqual([]);
  });

  async function shardsOf(): Promise<readonly ShardJson[]> {
    const { code, json } = await fixture.baton("cluster", "shards");
    return code === 0 ? (json[0] as readonly ShardJson[]) : [];
  }

  async function membersOf() {
    const { json } = await fixture.baton("cluster", "members");
    const members = json[0] as readonly { name: string; roles: string[]; state: string; hosting?: string }[];
    return Object.fromEntries(members.map((member) => [member.name, member]));
  }

  /** But for when they were opened, which a new run of an agent does not know. */
  async function flowsOf(address: string): Promise<readonly string[]> {
    const { json } = await fixture.baton("flows", address);
    const flows = json[0] as readonly FlowJson[];
    return flows
      .map(({ peer, peerPort, port, owner, state }) => `${peer} ${peerPort} ${port} ${owner} ${state}`)
      .sort();
  }

  /** Processes of trackers beside the agent of a host. */
  async function hostedPids(host: string): Promise<string[]> {
    const pids = await fixture.exec(host, "sh", "-c", `ip netns pids ${fixture.namespace(host)}`);
    const lines = await Promise.all(
      pids
        .split("\n")
        .filter(Boolean)
        .map((pid) => fixture.exec(host, "sh", "-c", `tr "\\0" " " < /proc/${pid}/cmdline || true`)),
    );
    return lines.filter((line) => line.includes("hosted-main"));
  }
});
