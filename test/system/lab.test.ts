import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repositoryRoot } from "../check/files.ts";

const name = "baton-t-lab";

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Status {
  readonly hosts: readonly { readonly name: string; readonly up: boolean }[];
  readonly services: readonly {
    readonly name: string;
    readonly state: string;
    readonly ready: boolean;
    readonly pid?: number;
  }[];
  readonly cuts: readonly (readonly [string, string])[];
}

async function run(file: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env): Promise<Outcome> {
  return await new Promise((resolve) => {
    execFile(file, [...args], { env }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
      resolve({ code, stdout, stderr });
    });
  });
}

async function lab(command: string, ...args: string[]): Promise<Outcome> {
  return await run(process.execPath, [join(repositoryRoot, "services/lab/main.ts"), command, "--name", name, ...args]);
}

async function mustLab(command: string, ...args: string[]): Promise<string> {
  const outcome = await lab(command, ...args);
  expect(outcome, `lab ${command} ${args.join(" ")}`).toMatchObject({ code: 0 });
  return outcome.stdout;
}

async function status(): Promise<Status> {
  return JSON.parse((await lab("status", "--json")).stdout) as Status;
}

async function serviceStatus(service: string): Promise<Status["services"][number] | undefined> {
  return (await status()).services.find((candidate) => candidate.name === service);
}

async function pings(from: string, to: string): Promise<boolean> {
  return (await lab("exec", from, "--", "ping", "-c", "1", "-W", "1", to)).code === 0;
}

function namespaces(): readonly string[] {
  return readdirSync("/run/netns").filter((entry) => entry.startsWith(`${name}-`));
}

/** What init has not collected yet is not alive. */
function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

async function baton(...args: string[]): Promise<Outcome> {
  const endpoint = /export BATON_ENDPOINT=(\S+)/.exec(await mustLab("env"))?.[1];
  return await run(join(repositoryRoot, "bin/baton"), args, { ...process.env, BATON_ENDPOINT: endpoint });
}

describe("the lab", () => {
  beforeAll(async () => {
    await lab("down");
    await mustLab("up");
  });

  afterAll(async () => {
    await lab("down");
  });

  it("has every host and service up and ready when `up` returns", async () => {
    const { hosts, services } = await status();
    expect(hosts.filter((host) => !host.up)).toEqual([]);
    expect(services.filter((service) => !service.ready)).toEqual([]);
    expect(services).toHaveLength(9);
  });

  it("maps the public addresses to the first two instances", async () => {
    const { stdout } = await baton("addresses", "list", "--json");
    const addresses = JSON.parse(stdout) as { readonly address: string }[];
    expect(addresses.toSorted((a, b) => (a.address < b.address ? -1 : 1))).toMatchObject([
      { address: "203.0.113.10", instance: "vm-a", private: "10.77.0.11" },
      { address: "203.0.113.11", instance: "vm-b", private: "10.77.0.12" },
    ]);
  });

  it("lets a client reach an instance by its public address", async () => {
    await expect.poll(async () => await pings("client1", "203.0.113.10"), { timeout: 5_000 }).toBe(true);
  });

  it("refuses to be put up twice, and stays as it is", async () => {
    const again = await lab("up");
    expect(again.code).toBe(1);
    expect(again.stderr).toContain("is up already");
    expect((await status()).services.every((service) => service.ready)).toBe(true);
  });

  it("lets no packet pass between two hosts that are cut apart, until they are healed", async () => {
    await mustLab("cut", "vm-a", "vm-b");
    expect(await pings("vm-a", "10.77.0.12")).toBe(false);
    expect(await pings("vm-a", "10.77.0.13")).toBe(true);
    expect((await status()).cuts).toEqual([["vm-a", "vm-b"]]);
    await mustLab("heal", "vm-b", "vm-a");
    // The neighbour is asked for once a second while it is not known.
    await expect.poll(async () => await pings("vm-a", "10.77.0.12"), { timeout: 5_000 }).toBe(true);
  });

  it("names the neighbours where two hosts have none in common", async () => {
    const { code, stderr } = await lab("cut", "client1", "vm-a");
    expect(code).toBe(1);
    expect(stderr).toContain("client1 and vm-a are no neighbours");
  });

  it("starts a killed service again", async () => {
    const before = await serviceStatus("agent-vm-c");
    await mustLab("kill", "agent-vm-c");
    expect(await serviceStatus("agent-vm-c")).toMatchObject({ state: "stopped", ready: false });
    await mustLab("start", "agent-vm-c");
    const after = await serviceStatus("agent-vm-c");
    expect(after).toMatchObject({ state: "running", ready: true });
    expect(after?.pid).not.toBe(before?.pid);
  });

  it("tells a service that died by itself from one that was stopped", async () => {
    process.kill((await serviceStatus("tracker3"))?.pid ?? Number.NaN, "SIGKILL");
    await expect.poll(async () => (await serviceStatus("tracker3"))?.state, { timeout: 5_000 }).toBe("dead");
    await mustLab("start", "tracker3");
  });

  it("stops a service that is paused", async () => {
    await mustLab("pause", "tracker2");
    expect(await serviceStatus("tracker2")).toMatchObject({ state: "paused", ready: false });
    await mustLab("stop", "tracker2");
    expect(await serviceStatus("tracker2")).toMatchObject({ state: "stopped" });
    await mustLab("start", "tracker2");
    expect((await lab("start", "tracker2")).stderr).toContain("running already");
  });

  it("takes all kernel state from a rebooted host, and brings it back into the cluster", async () => {
    await mustLab("exec", "vm-c", "--", "nft", "add table inet of_a_test");
    await mustLab("reboot", "vm-c");
    expect(await mustLab("exec", "vm-c", "--", "nft", "list tables")).not.toContain("of_a_test");
    expect(await serviceStatus("agent-vm-c")).toMatchObject({ state: "running", ready: true });
    expect(await pings("vm-a", "10.77.0.113")).toBe(true);
  });

  it("passes on the exit code of a command", async () => {
    expect((await lab("exec", "vm-a", "--", "sh", "-c", "exit 7")).code).toBe(7);
  });

  it("names the hosts and services there are when one is not", async () => {
    expect((await lab("exec", "vm-z", "--", "true")).stderr).toContain("vm-a, vm-b, vm-c");
    expect((await lab("logs", "agent")).stderr).toContain("agent-vm-a");
  });

  it("leaves nothing behind, even when it has forgotten what it made", async () => {
    const pids = (await status()).services.map((service) => service.pid);
    const directory = (await mustLab("env")).replace(/^.*unix:(.*)\/socket\/.*\n$/, "$1");
    rmSync(join(directory, "lab.json"));
    rmSync(join(directory, "process"), { recursive: true });
    await mustLab("down");
    expect(namespaces()).toEqual([]);
    expect(existsSync(directory)).toBe(false);
    expect(pids.filter((pid) => isAlive(pid ?? Number.NaN))).toEqual([]);
    expect(await mustLab("down")).toContain("was not there");
  });
});
