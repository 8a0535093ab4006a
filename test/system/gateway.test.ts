/**
 * The real gateway between a client and two instances: kernel, process and stream; only the coordinator is the test's.
 * Tests build on each other, in order, as one gateway's life does.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseIpAddress, parsePrefix } from "../../src/flow/address.ts";
import type { Accept, GatewayState } from "../../src/node/state.ts";
import type { NodeStatus } from "../../src/node/status.ts";
import { digestOfState } from "../../src/rpc/fields.ts";
import { type DesiredState, gatewayStateBytes } from "../../src/rpc/node-codec.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { FakeCoordinator } from "../support/fake-coordinator.ts";
import { Hosts, type Script } from "./gateway/hosts.ts";

interface TrafficReport {
  readonly sent: number;
  readonly lost: number;
  readonly byServer: Readonly<Record<string, number>>;
  readonly sources: readonly string[];
  readonly tcpSent: number;
  readonly tcpReceived: number;
  readonly tcpFault: string;
}

const publicText = "203.0.113.10";
const adminUrl = "127.0.0.1:9100";

const bare: GatewayState = {
  fabric: [prefix("10.77.0.0/24")],
  publicPrefixes: [prefix("203.0.113.0/24")],
  probeSource: ip("192.0.2.1"),
  mappings: [],
  accepts: [],
  proofs: [],
};
const atA: GatewayState = {
  ...bare,
  mappings: [{ address: ip(publicText), private: ip("10.77.0.11"), generation: 1n }],
};
const atB: GatewayState = {
  ...bare,
  mappings: [{ address: ip(publicText), private: ip("10.77.0.12"), generation: 2n }],
};
const acceptA: Accept = { address: ip(publicText), private: ip("10.77.0.11"), retiring: false };
const acceptB: Accept = { ...acceptA, private: ip("10.77.0.12") };

let directory: string;
let hosts: Hosts;
let coordinator: FakeCoordinator;
let gateway: Script;
let generation = 0n;
let rulesetBefore: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "baton-gateway-"));
  hosts = new Hosts("gateway");
  coordinator = await FakeCoordinator.open(`unix:${join(directory, "coordinator")}`);
  writeFileSync(
    join(directory, "gateway.yaml"),
    [
      "name: gw1",
      `coordinators: ["${coordinator.endpoint}"]`,
      "publicDevice: eth0",
      "fabricDevice: eth1",
      "publicPrefixes: [203.0.113.0/24]",
      `stateDirectory: ${join(directory, "state")}`,
      `admin: { listen: "${adminUrl}" }`,
      "",
    ].join("\n"),
  );
  // The operator's own rules, to see that they stay.
  hosts.exec(
    "gw",
    "nft",
    "add table inet operator; add chain inet operator input { type filter hook input priority 0; }",
  );
  hosts.exec(
    "client",
    "nft",
    [
      "add table inet judge",
      "add chain inet judge input { type filter hook prerouting priority raw; }",
      "add rule inet judge input ip saddr { 10.77.0.0/24, 192.0.2.1 } counter",
    ].join("; "),
  );
  for (const host of ["a", "b"] as const) await hosts.start(host, "echo-server.script.ts", host);
  rulesetBefore = hosts.exec("gw", "nft", "list", "ruleset");
  await startGateway();
});

afterAll(async () => {
  await hosts?.[Symbol.asyncDispose]();
  await coordinator?.[Symbol.asyncDispose]();
  rmSync(directory, { recursive: true, force: true });
});

describe("before its first state", () => {
  test("a gateway says what it is", async () => {
    const hello = await coordinator.node();
    expect(hello).toMatchObject({ name: "gw1", kind: "gateway", publicMtu: 1500, privateAddresses: [], channels: [] });
    expect(hello.held).toBeUndefined();
    expect(hello.devices.map((device) => device.name)).toEqual(expect.arrayContaining(["eth0", "eth1"]));
  });

  test("it forwards nothing, and is not ready", () => {
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", publicText)).toBe(false);
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "10.77.0.11")).toBe(false);
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "198.51.100.2")).toBe(false);
    expect(counter("dropped_unmapped")).toBe(1);
    expect(admin("readyz")).toContain("no coordinator has sent a state yet");
  });

  test("it can itself be reached, from both sides", () => {
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "198.51.100.1")).toBe(true);
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "10.77.0.1")).toBe(true);
  });
});

describe("with a state", () => {
  test("it translates both ways, and says that it has applied it", async () => {
    await give({ ...atA, accepts: [acceptB] });
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", publicText)).toBe(true);
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "198.51.100.2")).toBe(true);
    expect(admin("readyz")).toContain("200 OK");
    const metrics = admin("metrics");
    expect(metrics).toContain("baton_gateway_generation 1");
    expect(metrics).toContain("baton_gateway_stream_up 1");
    expect(metrics).toMatch(/baton_gateway_packets_total\{fate="translated_in"\} [1-9]/);
  });

  test("it drops what has no mapping, what is forged, and what would pass it by (G3)", () => {
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "203.0.113.99")).toBe(false);
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "10.77.0.11")).toBe(false);
    hosts.exec("client", "ip", "addr", "add", "10.77.0.99/32", "dev", "lo");
    hosts.exec("client", "ip", "addr", "add", "192.0.2.1/32", "dev", "lo");
    for (const source of ["10.77.0.99", "192.0.2.1"])
      expect(hosts.succeeds("client", "ping", "-c1", "-W1", "-I", source, publicText)).toBe(false);
    hosts.exec("client", "ip", "addr", "flush", "dev", "lo");
    expect(counter("dropped_unmapped")).toBe(2);
    expect(counter("dropped_bypass")).toBe(1);
    expect(counter("dropped_spoofed")).toBe(2);
  });

  test("it keeps a private source without a mapping from the public side", async () => {
    hosts.exec("a", "ip", "addr", "add", "10.77.0.111/24", "dev", "eth0");
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "-I", "10.77.0.111", "198.51.100.2")).toBe(false);
    hosts.exec("a", "ip", "addr", "del", "10.77.0.111/24", "dev", "eth0");
    expect(counter("dropped_foreign")).toBe(1);
    expect(leaks()).toBe(0);
  });

  test("it routes nothing else, where the host did not before", () => {
    hosts.exec("gw", "ip", "route", "add", "198.18.0.0/15", "via", "10.77.0.11");
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "198.18.0.1")).toBe(false);
    hosts.exec("gw", "ip", "route", "del", "198.18.0.0/15");
    expect(counter("dropped_foreign")).toBeGreaterThan(0);
  });
});

describe("under traffic", () => {
  test("twenty flips to and fro lose no packet, and none leaves with a private source (G4)", async () => {
    await give({ ...bare, accepts: [acceptA, acceptB], mappings: atA.mappings });
    const report = await underTraffic({ tcp: false }, async () => {
      for (let flip = 1; flip <= 20; flip++) {
        const { mappings } = flip % 2 === 1 ? atB : atA;
        await give({ ...bare, accepts: [acceptA, acceptB], mappings });
      }
    });
    expect(report).toMatchObject({ lost: 0, sources: [publicText] });
    expect(Object.keys(report.byServer).sort()).toEqual(["a", "b"]);
    expect(leaks()).toBe(0);
  });

  test("killed and started again it loses no packet and no connection, and knows what it has (G1, G2, D6)", async () => {
    await give(atA);
    const { applied } = lastStatus();
    const report = await underTraffic({ tcp: true }, async () => {
      expect(await gateway.end("SIGKILL")).toBe("SIGKILL");
      const hellos = coordinator.hellos.length;
      await startGateway();
      await until("the next hello", () => coordinator.hellos.length > hellos && coordinator.connected);
      expect(coordinator.hellos.at(-1)?.held).toEqual(applied);
      await until("readiness", () => admin("readyz").includes("200 OK"));
      await give({ ...atA, publicPrefixes: [prefix("203.0.112.0/23")] });
    });
    expect(report).toMatchObject({ lost: 0, tcpFault: "", byServer: { a: report.sent } });
    expect(report.tcpReceived).toBe(report.tcpSent);
  });

  test("rules of another run, whose state is not on disk, forward on until the next state", async () => {
    await give(atA);
    const report = await underTraffic({ tcp: true }, async () => {
      await gateway.end("SIGKILL");
      rmSync(join(directory, "state", "gateway.state"));
      const hellos = coordinator.hellos.length;
      await startGateway();
      await until("the next hello", () => coordinator.hellos.length > hellos && coordinator.connected);
      expect(admin("readyz")).toContain("rules of an earlier run forward");
      coordinator.send(ordered(atA));
      await until("readiness", () => admin("readyz").includes("200 OK"));
    });
    expect(report).toMatchObject({ lost: 0, tcpFault: "" });
  });

  test("told to stop it leaves the packets alone", async () => {
    const report = await underTraffic({ tcp: true }, async () => {
      expect(await gateway.end("SIGTERM")).toBe(0);
      await startGateway();
      await until("the next hello", () => coordinator.connected);
    });
    expect(report).toMatchObject({ lost: 0, tcpFault: "" });
  });
});

describe("orders that it must not follow", () => {
  test.each<[string, (next: DesiredState) => DesiredState["fence"], RegExp]>([
    ["a lower generation", ({ fence }) => ({ ...fence, generation: fence.generation - 2n }), /generation \d+ is below/],
    ["a lower term", ({ fence }) => ({ ...fence, term: 0n }), /term 0 is below 1/],
    ["another leader of the same term", ({ fence }) => ({ ...fence, leader: "c2" }), /belongs to c1, not to c2/],
    ["other content under a generation that it has", ({ fence }) => ({ ...fence, generation }), /with other content/],
  ])("%s is answered with a fault, and no byte of the kernel changes", async (_, forge, reason) => {
    await give(atA);
    const standing = rules();
    const next: DesiredState = { kind: "gateway", state: atB, fence: fenceOf(atB, generation + 1n) };
    const fence = forge(next);
    coordinator.send({ ...next, fence });
    const matches = (status: NodeStatus): boolean => status.faults.some((fault) => sameFence(fault.fence, fence));
    const { faults } = await coordinator.status("the refusal", matches);
    expect(faults[0]?.message).toMatch(reason);
    expect(rules()).toBe(standing);
    expect(lastStatus().applied?.generation).toBe(generation);
  });

  test("a state that contradicts itself is refused whole", async () => {
    await give(atA);
    const standing = rules();
    const twice = { ...atA, mappings: [...atA.mappings, ...atB.mappings] };
    const fence = fenceOf(twice, generation + 1n);
    coordinator.send({ kind: "gateway", state: twice, fence });
    const { faults } = await coordinator.status("the refusal", (status) => sameFence(status.faults[0]?.fence, fence));
    expect(faults[0]?.message).toBe("203.0.113.10 is mapped twice");
    expect(rules()).toBe(standing);
  });

  test("the newest leader's next state clears the fault", async () => {
    await give(atA);
    expect(lastStatus().faults).toEqual([]);
  });
});

describe("a translation on its way out", () => {
  test("stays while packets use it, goes a second after the last one, and is reported", async () => {
    const retiring: GatewayState = { ...atB, accepts: [{ ...acceptA, retiring: true }] };
    await give({ ...atB, accepts: [acceptA] });
    const ping = hosts.launch("a", "ping", "-i", "0.2", "198.51.100.2");
    const begin = performance.now();
    await give(retiring);
    await until("two seconds of use", () => performance.now() - begin > 2_000);
    expect(lastStatus().retired).toEqual([]);
    await ping[Symbol.asyncDispose]();
    const lastUse = performance.now();
    const { retired } = await coordinator.status("the retirement", (status) => status.retired.length > 0);
    const waitedMs = performance.now() - lastUse;
    expect(retired).toEqual(["10.77.0.11"]);
    expect(waitedMs).toBeGreaterThan(800);
    expect(waitedMs).toBeLessThan(3_000);
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "198.51.100.2")).toBe(false);
    expect(leaks()).toBe(0);
    await give(atB);
    expect(lastStatus().retired).toEqual([]);
  });
});

describe("a channel proof", () => {
  test("goes out as a full-size segment, comes back, and is reported; then no more are sent", async () => {
    const answers = await hosts.start("b", "answer-proofs.script.ts", "10.77.0.12", "5");
    const proofs = [{ id: "r1/5", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 1500 }];
    await give({ ...atB, proofs });
    const seen = await answers.line((line) => typeof line === "object");
    expect(seen).toEqual({
      bytes: 1500,
      sourcePort: 7703,
      destinationPort: 5,
      flags: 0x18,
      intact: true,
      sent: { ok: true },
    });
    const status = await coordinator.status("the proof", (candidate) => candidate.proofs.length > 0);
    expect(status.proofs).toEqual([{ id: "r1/5", sender: "gw1", mtu: 1500 }]);
    expect(leaks()).toBe(0);

    // Another proof, which nobody answers, shows that time passes.
    hosts.exec(
      "a",
      "nft",
      [
        "add table inet judge",
        "add chain inet judge input { type filter hook input priority 0; }",
        "add rule inet judge input ip saddr 192.0.2.1 counter drop",
      ].join("; "),
    );
    const unanswered = { id: "r2/6", link: 6, targetPrivate: ip("10.77.0.11"), mtu: 1500 };
    await give({ ...atB, proofs: [...proofs, unanswered] });
    await until("some tries", () => counted("a") >= 2);
    const returned = counter("proofs_returned");
    await until("more tries", () => counted("a") >= 5);
    expect(counter("proofs_returned")).toBe(returned);
    expect(lastStatus().proofs).toEqual(status.proofs);
    await give(atB);
    expect(lastStatus().proofs).toEqual([]);
  });

  test("that is larger than the gateway's own device takes is a fault", async () => {
    await give({ ...atB, proofs: [{ id: "jumbo", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 9000 }] });
    const { faults } = await coordinator.status("the fault", (status) =>
      status.faults.some((fault) => /jumbo/.test(fault.message)),
    );
    expect(faults[0]).toMatchObject({ code: "MTU_TOO_SMALL" });
  });
});

describe("in the end", () => {
  test("cleaning up leaves the host as it was", async () => {
    await gateway.end("SIGTERM");
    expect(hosts.exec("gw", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").trim()).toBe("1");
    await runCleanUp();
    expect(hosts.exec("gw", "nft", "list", "ruleset")).toBe(rulesetBefore);
    for (const device of ["eth0", "eth1"])
      expect(hosts.exec("gw", "cat", `/proc/sys/net/ipv4/conf/${device}/forwarding`).trim()).toBe("0");
  });
});

describe("on a host that forwarded before", () => {
  test("a gateway leaves other traffic alone, and lets no private source out", async () => {
    const forwarding = ["eth0", "eth1"].map((device) => `net.ipv4.conf.${device}.forwarding=1`);
    hosts.exec("gw", "sysctl", "-q", ...forwarding);
    hosts.exec("gw", "ip", "route", "add", "198.18.0.0/15", "via", "10.77.0.12");
    hosts.exec("b", "ip", "addr", "add", "198.18.0.1/32", "dev", "lo");
    const hellos = coordinator.hellos.length;
    await startGateway();
    await until("a hello", () => coordinator.hellos.length > hellos && coordinator.connected);
    expect(coordinator.hellos.at(-1)?.held).toBeUndefined();
    await give(atB);
    expect(hosts.succeeds("client", "ping", "-c1", "-W1", "198.18.0.1")).toBe(true);
    expect(hosts.succeeds("a", "ping", "-c1", "-W1", "198.51.100.2")).toBe(false);
    expect(counter("dropped_leak")).toBe(1);
    expect(leaks()).toBe(0);
    await gateway.end("SIGTERM");
    await runCleanUp();
    expect(hosts.exec("gw", "nft", "list", "ruleset")).toBe(rulesetBefore);
    expect(hosts.exec("gw", "cat", "/proc/sys/net/ipv4/conf/eth0/forwarding").trim()).toBe("1");
  });
});

describe("a state that moves one of 10,000 addresses", () => {
  test("takes less than a fifth of what the whole table takes in the kernel", async () => {
    const speed = await hosts.start("fabric", "speed.script.ts", "10000");
    const { wholeMs, flipMs } = await speed.line<{ wholeMs: number; flipMs: number[] }>(() => true);
    // The best of them: a busy machine adds to the others. Against the same machine's own time for the whole table,
    // for milliseconds alone say more of the machine than of the change.
    expect(Math.min(...flipMs)).toBeLessThan(wholeMs / 5);
  });
});

async function startGateway(): Promise<void> {
  gateway = await hosts.start("gw", "gateway.script.ts", join(directory, "gateway.yaml"));
  await gateway.line<{ msg: string }>((line) => line.msg === "started");
}

async function runCleanUp(): Promise<void> {
  const cleaning = await hosts.start("gw", "gateway.script.ts", join(directory, "gateway.yaml"), "cleanup");
  await cleaning.line<{ msg: string }>((line) => /removed all/.test(line.msg));
  await until("the end of the clean-up", () => !/baton/.test(rules()));
}

/** Sends a state as the next generation and waits until the gateway has applied it. */
async function give(state: GatewayState): Promise<void> {
  const desired = ordered(state);
  await until("a connected gateway", () => coordinator.connected);
  coordinator.send(desired);
  await coordinator.status(`generation ${generation}`, (status) => sameFence(status.applied, desired.fence));
}

function ordered(state: GatewayState): DesiredState {
  generation++;
  return { kind: "gateway", state, fence: fenceOf(state, generation) };
}

function fenceOf(state: GatewayState, at: bigint): DesiredState["fence"] {
  return { term: 1n, leader: "c1", generation: at, digest: digestOfState(gatewayStateBytes(state)) };
}

function sameFence(left: DesiredState["fence"] | undefined, right: DesiredState["fence"]): boolean {
  return left !== undefined && Object.entries(right).every(([key, value]) => left[key as keyof typeof left] === value);
}

function lastStatus(): NodeStatus {
  if (coordinator.last === undefined) throw new Error("the gateway has not reported yet");
  return coordinator.last;
}

async function underTraffic({ tcp }: { readonly tcp: boolean }, act: () => Promise<void>): Promise<TrafficReport> {
  const traffic = await hosts.start("client", "traffic.script.ts", publicText, tcp ? "tcp" : "udp");
  await act();
  traffic.tell("stop");
  return await traffic.line<TrafficReport>((line) => typeof line === "object");
}

function counter(name: string): number {
  return Number(/packets (\d+)/.exec(hosts.exec("gw", "nft", "list", "counter", "inet", "baton", name))?.[1]);
}

/** Packets with a private source that have reached the client. */
function leaks(): number {
  return counted("client");
}

/** What the counter has seen that a test has put there. */
function counted(host: "a" | "client"): number {
  return Number(/counter packets (\d+)/.exec(hosts.exec(host, "nft", "list", "ruleset"))?.[1]);
}

/** The gateway's, without what counts. */
function rules(): string {
  return hosts.exec("gw", "nft", "list", "ruleset").replaceAll(/packets \d+ bytes \d+/g, "");
}

function admin(path: string): string {
  return hosts.exec(
    "gw",
    "bash",
    "-c",
    `exec 3<>/dev/tcp/127.0.0.1/9100; printf 'GET /${path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`,
  );
}

async function until(what: string, holds: () => boolean): Promise<void> {
  await waitFor(holds, { signal: AbortSignal.timeout(10_000), timeoutMs: 10_000, what });
}

function ip(text: string) {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

function prefix(text: string) {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}
