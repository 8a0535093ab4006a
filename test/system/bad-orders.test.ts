/**
 * A real agent and the orders that it must not follow, with a coordinator of the test's (SPEC F1, F2, H14).
 * Tests build on each other, in order, as one agent's life does.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import type { Fence } from "../../src/node/fence.ts";
import type { AgentState } from "../../src/node/state.ts";
import { digestOfState } from "../../src/rpc/fields.ts";
import { agentStateBytes } from "../../src/rpc/node-codec.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { FakeCoordinator } from "../support/fake-coordinator.ts";
import { states } from "../unit/dataplane/agent-states.ts";
import { runToEnd, Service } from "./bad-service.ts";
import { Hosts } from "./gateway/hosts.ts";

const waitMs = 15_000;
const generation = 7n;

let directory: string;
let hosts: Hosts;
let coordinator: FakeCoordinator;
let agent: Service;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "baton-t-orders-"));
  hosts = new Hosts("orders");
  coordinator = await FakeCoordinator.open(`unix:${join(directory, "coordinator")}`);
  writeFileSync(join(directory, "agent.yaml"), stringify(config()));
  await startAgent();
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await hosts?.[Symbol.asyncDispose]();
  await coordinator?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

function config(): object {
  return {
    name: "vm-a",
    coordinators: [coordinator.endpoint],
    trackers: ["127.0.0.1:7410"],
    nats: { servers: ["127.0.0.1:4222"] },
    privateAddresses: ["10.77.0.11"],
    stateDirectory: join(directory, "state"),
  };
}

async function startAgent(): Promise<void> {
  agent = new Service(["ip", "netns", "exec", hosts.nameOf("a")], "agent", "--config", join(directory, "agent.yaml"));
  await agent.says("agent started");
}

function fenceOf(state: AgentState, change: Partial<Fence> = {}): Fence {
  const digest = digestOfState(agentStateBytes(state));
  return { term: 5n, leader: "c1", generation, digest, ...change };
}

/** Everything that an agent writes into a kernel. */
function kernel(): string {
  const commands = [
    "nft -s list ruleset",
    "ip rule",
    "ip route show table all",
    "ip -o link",
    "grep -rs . /proc/sys/net/ipv4/conf /proc/sys/net/netfilter | grep -v nf_conntrack_count | sort",
  ];
  return commands.map((command) => hosts.exec("a", "sh", "-c", command)).join("\n");
}

function isFence(left: Fence | undefined, right: Fence): boolean {
  return left?.term === right.term && left.generation === right.generation && left.digest === right.digest;
}

async function give(state: AgentState, fence = fenceOf(state)): Promise<void> {
  await until("a connected agent", () => coordinator.connected);
  coordinator.send({ kind: "agent", state, fence });
  await coordinator.status("the acknowledgement", ({ applied }) => isFence(applied, fence));
}

async function until(what: string, condition: () => boolean): Promise<void> {
  await waitFor(condition, { signal: AbortSignal.timeout(waitMs), timeoutMs: waitMs, what });
}

async function refusalOf(fence: Fence): Promise<string> {
  const { faults } = await coordinator.status("the refusal", (status) =>
    status.faults.some((fault) => fault.fence?.leader === fence.leader && isFence(fault.fence, fence)),
  );
  return faults[0]?.message ?? "";
}

const forged: readonly [string, Partial<Fence>, RegExp][] = [
  ["a lower term", { term: 4n, generation: 8n }, /^term 4 is below 5/],
  ["another leader of the same term", { leader: "c2", generation: 8n }, /^term 5 belongs to c1, not to c2/],
  ["a lower generation", { generation: 6n }, /^generation 6 is below 7/],
  ["a lower generation under a newer term", { term: 6n, generation: 6n }, /^generation 6 is below 7/],
  ["other content under a generation that it has", {}, /^generation 7 was applied before, with other content/],
];

describe("an agent in a state", () => {
  test("has it in the kernel when it says so", async () => {
    await give(states.sourceSwitched);
    expect(kernel()).toContain("egress_10_77_0_11");
  });

  test.each(forged)("answers %s with a fault, and changes no byte of the kernel", async (_, change, reason) => {
    const standing = kernel();
    const fence = fenceOf(states.steady, change);
    coordinator.send({ kind: "agent", state: states.steady, fence });
    expect(await refusalOf(fence)).toMatch(reason);
    expect(kernel()).toBe(standing);
  });

  test("told to stop ends with 0, and leaves the kernel as it is", async () => {
    const standing = kernel();
    expect(await agent.end("SIGTERM")).toMatchObject({ code: 0, stderr: "" });
    await until("the end of its stream", () => !coordinator.connected);
    expect(kernel()).toBe(standing);
  });

  test("started again says what it holds, and refuses the same", async () => {
    const standing = kernel();
    const hellos = coordinator.hellos.length;
    await startAgent();
    await until("a hello", () => coordinator.hellos.length > hellos && coordinator.connected);
    expect(coordinator.hellos.at(-1)?.held).toEqual(fenceOf(states.sourceSwitched));
    expect(kernel()).toBe(standing);
    const fence = fenceOf(states.steady, { leader: "c3" });
    coordinator.send({ kind: "agent", state: states.steady, fence });
    expect(await refusalOf(fence)).toMatch(/belongs to c1, not to c3/);
    expect(kernel()).toBe(standing);
  });
});

describe("an agent whose host has lost all kernel state", () => {
  test("has the state and the fence from the disk before it speaks to a coordinator", async () => {
    const standing = hosts.exec("a", "nft", "-s", "list", "ruleset");
    await agent.end("SIGKILL");
    hosts.exec("a", "nft", "flush ruleset");
    const hellos = coordinator.hellos.length;
    await startAgent();
    await until("a hello", () => coordinator.hellos.length > hellos && coordinator.connected);
    expect(coordinator.hellos[hellos]?.held).toEqual(fenceOf(states.sourceSwitched));
    expect(hosts.exec("a", "nft", "-s", "list", "ruleset")).toBe(standing);
    const fence = fenceOf(states.steady, { leader: "c4" });
    coordinator.send({ kind: "agent", state: states.steady, fence });
    expect(await refusalOf(fence)).toMatch(/belongs to c1, not to c4/);
  });

  test("says so when the state on the disk is damaged, keeps the boot's gate, and takes the next state", async () => {
    await agent.end("SIGKILL");
    hosts.exec("a", "nft", "flush ruleset");
    const gate = new URL("../../packaging/systemd/agent-gate.nft", import.meta.url).pathname;
    hosts.exec("a", "nft", "-f", gate);
    const file = join(directory, "state", "state");
    writeFileSync(file, readFileSync(file).subarray(0, -1));
    const hellos = coordinator.hellos.length;
    await startAgent();
    expect(agent.stdout).toContain(`${file} can't be used: its checksum does not match`);
    await until("a hello", () => coordinator.hellos.length > hellos && coordinator.connected);
    expect(coordinator.hellos[hellos]?.held).toBeUndefined();
    expect(hosts.exec("a", "nft", "list", "tables")).toContain("baton_gate");
    await give(states.steady, fenceOf(states.steady, { generation: 8n }));
    expect(hosts.exec("a", "nft", "list", "tables")).not.toContain("baton_gate");
  });

  test("waits for its own address, then has the state from the disk", async () => {
    await until("the state on the disk", () => readFileSync(join(directory, "state", "state")).length > 0);
    await agent.end("SIGTERM");
    hosts.exec("a", "nft", "flush ruleset");
    hosts.exec("a", "ip", "addr", "del", "10.77.0.11/24", "dev", "eth0");
    await startAgent();
    await agent.says("no device of this host carries 10.77.0.11");
    expect(hosts.exec("a", "nft", "list", "tables")).not.toContain("baton_fence");
    hosts.exec("a", "ip", "addr", "add", "10.77.0.11/24", "dev", "eth0");
    await agent.says("state applied");
    expect(hosts.exec("a", "nft", "list", "tables")).toContain("baton_fence");
  });

  test("and whose gossip's port is taken, has the state from the disk before it ends with 1 (H14)", async () => {
    await agent.end("SIGTERM");
    hosts.exec("a", "nft", "flush ruleset");
    const listener = "require('net').createServer().listen(7420, '10.77.0.11')";
    await using _ = hosts.launch("a", process.execPath, "-e", listener);
    await until("the other listener", () => hosts.exec("a", "ss", "-Htln").includes(":7420"));
    const file = join(directory, "hosting.yaml");
    writeFileSync(file, stringify({ ...config(), hosting: true }));
    const hellos = coordinator.hellos.length;
    const { code, stderr } = await runToEnd(["ip", "netns", "exec", hosts.nameOf("a")], "agent", "--config", file);
    expect(stderr).toMatch(/^baton agent: gossip\.listen 10\.77\.0\.11:7420: another process .*EADDRINUSE/);
    expect(code).toBe(1);
    const tables = hosts.exec("a", "nft", "list", "tables");
    for (const table of ["table inet baton\n", "baton_fence"]) expect(tables).toContain(table);
    expect(coordinator.hellos).toHaveLength(hellos);
  });
});
