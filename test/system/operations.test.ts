/** What whoever runs baton relies on: configuration, metrics, health, logs, signals, and the command's helpers. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { type CommandResult, tryCommand } from "../../services/lab/command.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import type { ServiceKind } from "../../services/lab/plan.ts";
import { killService, readinessOf, startService, stopService } from "../../services/lab/services.ts";
import { checkHealth } from "../../src/rpc/health-client.ts";
import { askReflection } from "../support/reflection.ts";
import type { Client } from "../traffic/driver.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const program = new URL("../../bin/baton", import.meta.url).pathname;
const wrongUsage = 2;
const waitMs = 30_000;
/** Of a service that was told to stop (docs/operations.md). */
const graceMs = 10_000;
const count = 10;

const services = ["agent-vm-a", "gateway-gw1", "tracker1", "coordinator1"] as const;
const grpcServers = ["tracker1", "coordinator1"] as const;

describe("the services of a cluster", () => {
  let fixture: LabFixture;
  let client: Client;

  beforeAll(async () => {
    fixture = await LabFixture.start("operations");
    client = fixture.client();
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  describe.each(services)("%s", (name) => {
    it("prints its configuration as a file that means the same, with what the environment overrides", async () => {
      const printed = await printConfig(configOf(name), { BATON_LOG_LEVEL: "debug" });
      expect(printed).toMatchObject({ code: 0, stderr: "" });
      expect(parse(printed.stdout)).toMatchObject({ ...parse(configText(name)), log: { level: "debug" } });
      const file = join(fixture.lab.directory.path, `${name}.printed.yaml`);
      writeFileSync(file, printed.stdout);
      expect((await printConfig(file)).stdout).toBe(printed.stdout);
    });

    it("shows nobody's login", async () => {
      const env = { BATON_NATS_SERVERS: "nats://operator:hunter2@10.77.0.21:4222" };
      const { code, stdout } = await printConfig(configOf(name), env);
      expect(code).toBe(0);
      expect(stdout).not.toMatch(/hunter2|operator/);
    });

    // Other faults of a file are the same for all: bad-config.test.ts, and the unit tests of what reads it.
    it.each<[string, (text: string) => string, NodeJS.ProcessEnv, RegExp]>([
      ["an unknown setting", (text) => `${text}colour: blue\n`, {}, /:\d+:1: colour: unknown setting/],
      [
        "a wrong value in the environment",
        (text) => text,
        { BATON_LOG_LEVEL: "loud" },
        /BATON_LOG_LEVEL: log.level: .*"info"/,
      ],
    ])("refuses %s with file, line and expectation, and exit code 2", async (_what, change, env, says) => {
      const file = join(fixture.lab.directory.path, `${name}.wrong.yaml`);
      writeFileSync(file, change(configText(name)));
      const { code, stdout, stderr } = await tryCommand("env", [
        ...envArgs(env),
        program,
        kindOf(name),
        "--config",
        file,
      ]);
      expect({ code, stdout }).toEqual({ code: wrongUsage, stdout: "" });
      expect(stderr).toMatch(says);
      if (env["BATON_LOG_LEVEL"] === undefined) expect(stderr).toContain(file);
    });

    it("has metrics that are all in docs/operations.md, and the other way round", async () => {
      const documented = readFileSync(new URL("../../docs/operations.md", import.meta.url), "utf8");
      const kind = kindOf(name);
      const groups = [...documented.matchAll(/^\| ([a-z, ]+) \| `baton_[\s\S]*?(?=^\| [a-z]|^$)/gm)];
      const rows = groups.filter(([, kinds]) => kinds?.split(", ").includes(kind)).map(([text]) => text);
      const named = [...rows.join("\n").matchAll(/\| `(baton_[a-z_]+)/g)].map(([, metric]) => metric);
      const served = [...(await ask(name, "/metrics")).matchAll(/^# HELP (\S+)/gm)].map(([, metric]) => metric);
      expect(served.toSorted()).toEqual(named.toSorted());
      expect(served.length).toBeGreaterThan(3);
    });

    it("is alive and ready", async () => {
      expect(await ask(name, "/healthz")).toMatch(/^HTTP\/1\.1 200/);
      expect(await ask(name, "/readyz")).toMatch(/^HTTP\/1\.1 200/);
      expect(await ask(name, "/other")).toMatch(/^HTTP\/1\.1 404/);
    });
  });

  it.each(grpcServers)("%s answers for its health, and describes its services", async (name) => {
    const endpoint = `unix:${fixture.lab.directory.socket(name)}`;
    expect(await checkHealth(endpoint, bounds())).toEqual({ ok: true, serving: true });
    const { names, describes } = await askReflection(endpoint, "baton.v1.TrackerService");
    expect(names).toEqual(expect.arrayContaining(["baton.v1.TrackerService", "grpc.health.v1.Health"]));
    expect(describes).toBe(true);
  });

  it("say what they lack while NATS is away, stay alive, and are ready when it is back", async () => {
    await kill("nats1");
    for (const name of grpcServers) {
      await untilNotReady(name, /NATS/);
      const endpoint = `unix:${fixture.lab.directory.socket(name)}`;
      expect(await checkHealth(endpoint, bounds())).toEqual({ ok: true, serving: false });
    }
    for (const name of services) expect(await ask(name, "/healthz")).toMatch(/^HTTP\/1\.1 200/);
    await start("nats1", ...services);
  });

  it("say what they lack while no coordinator is there; a gateway forwards, and so is ready", async () => {
    await kill("coordinator1");
    await untilNotReady("agent-vm-a", /no connection to a coordinator/);
    expect(await ask("gateway-gw1", "/readyz")).toMatch(/^HTTP\/1\.1 200/);
    expect(await ask("gateway-gw1", "/metrics")).toContain("baton_gateway_stream_up 0");
    await start("coordinator1", ...services);
  });

  it("write logs of JSON alone, in which a remap can be followed by its id", async () => {
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await until("all nodes are back with the coordinator", waitMs, async () => {
      const [instances, gateways] = await Promise.all([fixture.baton("instances"), fixture.baton("gateways")]);
      const nodes = [...instances.json.flat(), ...gateways.json.flat()] as { connected: boolean; current?: boolean }[];
      return nodes.length > 2 && nodes.every((node) => node.connected && node.current !== false);
    });
    const remap = await fixture.remap("vm-b", "draining");
    for (const name of services)
      for (const line of logLines(name)) {
        expect(line).toMatchObject({ service: kindOf(name), level: expect.any(String), msg: expect.any(String) });
        expect(Date.parse(String(line["time"]))).not.toBeNaN();
      }
    const phases = logLines("coordinator1").flatMap((line) => (line["remap"] === remap.id ? [line["phase"]] : []));
    expect([...new Set(phases)]).toEqual(["preparing", "arming", "switching", "draining"]);
  });

  it.each([...services, "agent-vm-b"])("%s ends on SIGTERM with exit code 0, and nobody notices", async (name) => {
    await stopService(fixture.lab, serviceOf(fixture.lab, name), AbortSignal.timeout(waitMs));
    const service = serviceOf(fixture.lab, name);
    const [command = "", ...inside] = fixture.inside(service.host);
    const child = spawn(command, [...inside, program, kindOf(name), "--config", configOf(name)], { stdio: "ignore" });
    try {
      await until(
        `${name} to be ready`,
        waitMs,
        async () => (await readinessOf(fixture.lab, service)).kind === "ready",
      );
      expect(await endOf(child)).toMatchObject({ code: 0, within: true });
    } finally {
      child.kill("SIGKILL");
    }
    for (const kind of await client.ping("old")) expect(kind).toMatchObject({ states: { open: count }, failures: {} });
    await start(name);
  });

  it("tell a coordinator whose port is taken so, and end it with exit code 1", async () => {
    const [command = "", ...inside] = fixture.inside("coordinator1");
    const result = await tryCommand(command, [...inside, program, "coordinator", "--config", configOf("coordinator1")]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(
      /^baton coordinator: gossip\.listen 10\.77\.0\.41:7420: another process .*EADDRINUSE/m,
    );
    expect(await ask("coordinator1", "/readyz")).toMatch(/^HTTP\/1\.1 200/);
  });

  describe("baton doctor", () => {
    it("finds an instance's host fit, and what it needs within reach", async () => {
      const { code, stdout } = await doctor("10.77.0.41:7400", "10.77.0.21:4222");
      const checks = JSON.parse(stdout) as { name: string; state: string; next?: string }[];
      expect(checks.filter(({ state }) => state === "failed")).toEqual([]);
      expect(code).toBe(0);
      const states = new Map(checks.map(({ name, state }) => [name, state]));
      for (const name of ["node", "privileges", "libnftables", "nftables", "conntrack", "coordinator", "nats"])
        expect(states.get(name), name).toBe("ok");
    });

    it("says what is out of reach and what to do, with exit code 1", async () => {
      const { code, stdout } = await doctor("10.77.0.41:1", "10.77.0.21:1");
      expect(code).toBe(1);
      const checks = JSON.parse(stdout) as { name: string; state: string; found: string; next?: string }[];
      for (const name of ["coordinator", "nats"]) {
        const check = checks.find((candidate) => candidate.name === name);
        expect(check).toMatchObject({ state: "failed", next: expect.any(String) });
        expect(check?.found).toContain(":1");
      }
    });

    async function doctor(coordinator: string, nats: string): Promise<CommandResult> {
      const [command = "", ...inside] = fixture.inside("vm-a");
      return await tryCommand(command, [
        ...inside,
        program,
        "doctor",
        "--json",
        "--endpoint",
        coordinator,
        "--nats",
        nats,
      ]);
    }
  });

  describe("baton completion", () => {
    it.each(["bash", "zsh", "fish"])("is there for %s", async (shell) => {
      const { code, stdout } = await tryCommand(program, ["completion", shell]);
      expect(code).toBe(0);
      for (const word of ["remap", "doctor", "on-deadline"]) expect(stdout).toContain(word);
    });

    it("is a script that bash takes", async () => {
      const check = `source <(${program} completion bash) && complete -p baton`;
      const { code, stdout } = await tryCommand("bash", ["--norc", "-c", check]);
      expect({ code, stdout: stdout.trim() }).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^complete .* baton$/),
      });
    });

    it("is not there for another shell", async () => {
      const { code, stderr } = await tryCommand(program, ["completion", "tcsh"]);
      expect(code).toBe(wrongUsage);
      expect(stderr).toContain("bash, zsh, fish");
    });
  });

  function kindOf(name: string): ServiceKind {
    return serviceOf(fixture.lab, name).kind;
  }

  function configOf(name: string): string {
    return fixture.lab.directory.config(name);
  }

  function configText(name: string): string {
    return readFileSync(configOf(name), "utf8");
  }

  async function printConfig(file: string, env: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
    const kind = services.map(kindOf).find((candidate) => file.includes(`/${candidate}`)) ?? "agent";
    return await tryCommand("env", [...envArgs(env), program, kind, "--config", file, "--print-config"]);
  }

  /** Asks a service's admin port; the whole answer. */
  async function ask(name: string, path: string): Promise<string> {
    const script = `exec 3<>/dev/tcp/127.0.0.1/9464; printf 'GET ${path} HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3`;
    return await fixture.exec(serviceOf(fixture.lab, name).host, "timeout", "5", "bash", "--norc", "-c", script);
  }

  async function untilNotReady(name: string, reason: RegExp): Promise<void> {
    await until(`${name} to say ${reason}`, waitMs, async () => {
      const readiness = await readinessOf(fixture.lab, serviceOf(fixture.lab, name));
      return readiness.kind === "not-ready" && readiness.reasons.some((text) => reason.test(text));
    });
  }

  async function kill(name: string): Promise<void> {
    await killService(fixture.lab, serviceOf(fixture.lab, name), AbortSignal.timeout(waitMs));
  }

  async function start(name: string, ...others: readonly string[]): Promise<void> {
    startService(fixture.lab, serviceOf(fixture.lab, name));
    const ready = [name, ...others].map((each) => serviceOf(fixture.lab, each));
    await untilReady(fixture.lab, ready, AbortSignal.timeout(waitMs));
  }

  function logLines(name: string): Record<string, unknown>[] {
    const lines = readFileSync(fixture.lab.directory.log(name), "utf8").trimEnd().split("\n");
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  }
});

function envArgs(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

function bounds() {
  return { signal: AbortSignal.timeout(waitMs), deadlineMs: 5_000 };
}

async function endOf(child: ChildProcess): Promise<{ readonly code: number | null; readonly within: boolean }> {
  const startMs = performance.now();
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const [code] = (await exited) as [number | null];
  return { code, within: performance.now() - startMs < graceMs };
}
