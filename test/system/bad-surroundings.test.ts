/** Agents and gateways where they can't work, or must not: each says why, how to go on, and leaves nothing half done. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { waitFor } from "../../src/runtime/retry.ts";
import { runToEnd, Service } from "./bad-service.ts";
import { Hosts } from "./gateway/hosts.ts";

type Kind = "agent" | "gateway";

const kinds: readonly Kind[] = ["agent", "gateway"];
const nobody = "127.0.0.1:7400";
const waitMs = 15_000;

let directory: string;
let hosts: Hosts;

beforeAll(() => {
  hosts = new Hosts("around");
});

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-t-around-"));
});

/** Nobody's rules are left for the next test. */
afterEach(() => {
  for (const host of Object.values(place)) hosts.exec(host, "nft", "flush", "ruleset");
  rmSync(directory, { recursive: true, force: true });
});

afterAll(async () => {
  await hosts?.[Symbol.asyncDispose]();
});

const stateDirectory = (): string => join(directory, "state");
const place = { agent: "a", gateway: "gw" } as const;

function write(kind: Kind, change: object = {}): string {
  const common = { coordinators: [nobody], stateDirectory: stateDirectory() };
  const config =
    kind === "agent"
      ? { name: "vm-a", trackers: [nobody], nats: { servers: [nobody] }, privateAddresses: ["10.77.0.11"], ...common }
      : { name: "gw1", publicDevice: "eth0", fabricDevice: "eth1", ...common };
  const file = join(directory, `${kind}.yaml`);
  writeFileSync(file, stringify({ ...config, ...change }));
  return file;
}

function inside(kind: Kind, ...more: readonly string[]): string[] {
  return ["ip", "netns", "exec", hosts.nameOf(place[kind]), ...more];
}

/** As the process sees the file system: `script` changes it, for this process alone. */
function withMounts(kind: Kind, script: string, ...args: readonly string[]): string[] {
  return inside(kind, "unshare", "--mount", "sh", "-c", `${script}; exec "$@"`, ...args, "sh");
}

function tables(kind: Kind): string {
  return hosts.exec(place[kind], "nft", "list", "tables");
}

describe.each(kinds)("%s", (kind) => {
  test("without the capability for it says which one it needs, and touches nothing", async () => {
    const prefix = inside(kind, "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin");
    const { code, stdout, stderr } = await runToEnd(prefix, kind, "--config", write(kind));
    expect(stderr).toBe(
      `baton ${kind}: work on this host's network: EPERM (without CAP_NET_ADMIN); run as root, or with the capabilities CAP_NET_ADMIN and CAP_NET_RAW\n`,
    );
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(existsSync(stateDirectory())).toBe(false);
    expect(tables(kind)).toBe("");
  });

  test("without libnftables says what to install", async () => {
    const libraries = execFileSync("ldconfig", ["-p"], { encoding: "utf8" });
    const library = realpathSync(/libnftables\.so\.1 .*=> (\S+)/.exec(libraries)?.[1] ?? "");
    const prefix = withMounts(kind, `mount --bind /dev/null ${library}`);
    const { code, stderr } = await runToEnd(prefix, kind, "--config", write(kind));
    expect(stderr).toMatch(/^baton (agent|gateway): load libnftables: .*apt-get install libnftables1/);
    expect(code).toBe(1);
    expect(tables(kind)).toBe("");
  });

  test.each([
    ["is in the way", (path: string) => writeFileSync(path, ""), "true"],
    ["can't be written", (path: string) => mkdirSync(path), "mount -t tmpfs -o ro none"],
  ])("with a state directory that %s names it", async (_, prepare, mount) => {
    prepare(stateDirectory());
    const prefix = withMounts(kind, `${mount} ${stateDirectory()}`);
    const { code, stderr } = await runToEnd(prefix, kind, "--config", write(kind));
    expect(stderr).toMatch(
      new RegExp(`^baton ${kind}: stateDirectory ${stateDirectory()}: .*Choose another directory`),
    );
    expect(code).toBe(1);
    expect(tables(kind)).toBe("");
  });

  test("with its admin port taken names the port, and touches nothing", async () => {
    const listener = "require('net').createServer().listen(9100, '127.0.0.1')";
    await using _ = hosts.launch(place[kind], process.execPath, "-e", listener);
    await until("the other listener", () => hosts.exec(place[kind], "ss", "-Htln").includes(":9100"));
    const file = write(kind, { admin: { listen: "127.0.0.1:9100" } });
    const { code, stderr } = await runToEnd(inside(kind), kind, "--config", file);
    expect(stderr).toBe(
      `baton ${kind}: admin.listen 127.0.0.1:9100: another process listens there: stop it, or choose another port (EADDRINUSE)\n`,
    );
    expect(code).toBe(1);
    expect(tables(kind)).toBe("");
  });

  test("refuses a second one on its host, and to be cleaned up under its feet; once it has ended it is cleaned up (F5)", async () => {
    const args = [kind, "--config", write(kind)];
    await using first = new Service(inside(kind), ...args);
    await first.says("started");
    const standing = hosts.exec(place[kind], "nft", "-s", "list", "ruleset");
    for (const more of [[], ["--cleanup"]]) {
      const { code, stderr } = await runToEnd(inside(kind), ...args, ...more);
      expect(stderr).toMatch(
        /^baton \w+: (agent vm-a|gateway gw1), process \d+, works on this host's kernel already: stop it first\n$/,
      );
      expect(code).toBe(3);
    }
    expect(hosts.exec(place[kind], "nft", "-s", "list", "ruleset")).toBe(standing);
    expect(await first.end("SIGTERM")).toMatchObject({ code: 0 });
    expect(tables(kind)).toContain("inet baton");
    expect(await runToEnd(inside(kind), ...args, "--cleanup")).toMatchObject({ code: 0 });
    expect(tables(kind)).toBe("");
    expect(execFileSync("ls", [stateDirectory()], { encoding: "utf8" })).toBe("");
  });

  test("with remembered sysctls that can't be read sets them aside, says so, and works", async () => {
    mkdirSync(stateDirectory());
    const file = join(stateDirectory(), kind === "agent" ? "sysctls.json" : "gateway-sysctls.json");
    writeFileSync(file, '{"boot":');
    await using service = new Service(inside(kind), kind, "--config", write(kind));
    await service.says("started");
    expect(service.stdout).toContain(`${file} does not hold saved sysctls; it is now ${file}.damaged`);
    expect(readFileSync(`${file}.damaged`, "utf8")).toBe('{"boot":');
    expect(await service.end("SIGTERM")).toMatchObject({ code: 0 });
  });
});

describe("a gateway", () => {
  test("whose device is not there names it, and touches nothing", async () => {
    const file = write("gateway", { publicDevice: "wan9" });
    const { code, stderr } = await runToEnd(inside("gateway"), "gateway", "--config", file);
    expect(stderr).toMatch(/^baton gateway: .*wan9.*ENODEV.*ip link/);
    expect(code).toBe(1);
    expect(tables("gateway")).toBe("");
  });
});

describe("a server", () => {
  const servers = {
    coordinator: { fabric: ["10.77.0.0/24"], publicPrefixes: ["203.0.113.0/24"], probeSource: "198.18.0.1" },
    tracker: {},
  };

  test.each(Object.entries(servers))("%s whose port is taken names it", async (kind, more) => {
    const listener = "require('net').createServer().listen(7499, '127.0.0.1')";
    await using _ = hosts.launch("a", process.execPath, "-e", listener);
    await until("the other listener", () => hosts.exec("a", "ss", "-Htln").includes(":7499"));
    const own = { name: kind, endpoint: "127.0.0.1:7499" };
    const config = {
      name: kind,
      listen: [own.endpoint],
      trackers: kind === "tracker" ? [own] : [nobody],
      nats: { servers: [nobody] },
      ...(kind === "tracker" && { dataDirectory: join(directory, "data") }),
      ...more,
    };
    const file = join(directory, `${kind}.yaml`);
    writeFileSync(file, stringify(config));
    const { code, stderr } = await runToEnd(inside("agent"), kind, "--config", file);
    expect(stderr).toContain(
      `baton ${kind}: listen 127.0.0.1:7499: another process listens there: stop it, or choose another port (EADDRINUSE)\n`,
    );
    expect(code).toBe(1);
  });
});

async function until(what: string, condition: () => boolean): Promise<void> {
  await waitFor(condition, { signal: AbortSignal.timeout(waitMs), timeoutMs: waitMs, what });
}
