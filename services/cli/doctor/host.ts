/**
 * Checks of this host: what agents and gateways need of its kernel. Kernel features are tried out for real, in a network
 * namespace that is made for the trial and ends with it; nothing of the host is changed.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { promisify } from "node:util";
import koffi from "koffi";
import type { CheckResult } from "./check.ts";

const run = promisify(execFile);
const runTimeoutMs = 5_000;
const capNetAdminBit = 12n;
const nodeMajorMin = 24;

export async function checkNode(): Promise<CheckResult> {
  const name = "node";
  const found = process.version;
  if (Number(found.slice(1).split(".")[0]) >= nodeMajorMin) return { name, state: "ok", found };
  return { name, state: "failed", found, next: `baton needs Node ${nodeMajorMin} or newer: sh bin/setup` };
}

/** Capability sets as the kernel prints them (proc_pid_status(5)). */
export async function checkPrivileges(): Promise<CheckResult> {
  const name = "privileges";
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  if (effective === undefined)
    return { name, state: "failed", found: "no /proc/self/status", next: "baton needs Linux" };
  if ((BigInt(`0x${effective}`) >> capNetAdminBit) & 1n) return { name, state: "ok", found: "CAP_NET_ADMIN" };
  return {
    name,
    state: "failed",
    found: "no CAP_NET_ADMIN",
    next: "agents and gateways must run as root, or with CAP_NET_ADMIN and CAP_NET_RAW",
  };
}

export async function checkLibnftables(): Promise<CheckResult> {
  const name = "libnftables";
  try {
    koffi.load("libnftables.so.1").unload();
    return { name, state: "ok", found: "libnftables.so.1" };
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error);
    return { name, state: "failed", found, next: "install Debian's libnftables1, or your system's package of it" };
  }
}

/** Expressions that the rules are made of, each tried alone. */
const nftFeatures: readonly (readonly [feature: string, rule: string])[] = [
  ["raw translation", "ip daddr set 192.0.2.1 notrack"],
  ["socket match", "socket wildcard 0 counter"],
  ["dynamic sets", "update @peers { ip saddr . tcp dport }"],
  ["connection marks", "ct state new ct mark set 1"],
  ["nflog", "limit rate 10/second log group 7701"],
];

export async function checkNft(): Promise<CheckResult> {
  const name = "nftables";
  const set = "add set inet t peers { type ipv4_addr . inet_service; size 16; flags dynamic,timeout; timeout 1m; }";
  const base = `add table inet t; add chain inet t c { type filter hook prerouting priority raw; }; ${set}`;
  const results = await Promise.all(
    nftFeatures.map(async ([feature, rule]) => ({
      feature,
      failure: await inTrialNamespace("nft", [`${base}; add rule inet t c ${rule}`]),
    })),
  );
  const failed = results.filter(({ failure }) => failure !== undefined);
  if (failed.length === 0) return { name, state: "ok", found: nftFeatures.map(([feature]) => feature).join(", ") };
  const found = failed.map(({ feature, failure }) => `${feature}: ${failure}`).join("; ");
  const untried = failed.every(({ failure }) => failure?.includes("ENOENT") || failure?.includes("unshare"));
  if (untried) return { name, state: "unknown", found, next: "install nftables and util-linux, and run this as root" };
  return { name, state: "failed", found, next: "load the kernel's nft modules, or use a kernel that has them" };
}

export async function checkConntrack(): Promise<CheckResult> {
  const name = "conntrack";
  const max = await readFile("/proc/sys/net/netfilter/nf_conntrack_max", "utf8").catch(() => undefined);
  if (max !== undefined) return { name, state: "ok", found: `up to ${max.trim()} connections` };
  return { name, state: "failed", found: "nf_conntrack is not there", next: "modprobe nf_conntrack" };
}

export async function checkVxlan(): Promise<CheckResult> {
  const name = "vxlan";
  const trial = ["link", "add", "trial", "type", "vxlan", "id", "1", "dstport", "4789"];
  const failure = await inTrialNamespace("ip", trial);
  if (failure === undefined) return { name, state: "ok", found: "channels of kind vxlan" };
  return {
    name,
    state: "limited",
    found: failure,
    next: "without it only neighbours on one link can hand over (channel direct): modprobe vxlan",
  };
}

/** Resets a connection of this very process, over loopback. */
export async function checkSockDestroy(): Promise<CheckResult> {
  const name = "sock_destroy";
  using server = await listen();
  const client = connect(server.port, "127.0.0.1");
  const ended = new Promise<boolean>((resolve) => {
    client.once("error", () => resolve(true));
    setTimeout(() => resolve(false), runTimeoutMs / 5).unref();
  });
  try {
    await new Promise((resolve) => client.once("connect", resolve));
    await run("ss", ["-K", "dst", "127.0.0.1", "dport", "=", String(server.port)], { timeout: runTimeoutMs });
    if (await ended) return { name, state: "ok", found: "sockets can be closed from outside" };
    const next = "without it `remaps cut` can't reset connections: use a kernel with CONFIG_INET_DIAG_DESTROY, as root";
    return { name, state: "limited", found: "the kernel did not close the trial's socket", next };
  } catch (error) {
    return { name, state: "unknown", found: causeOf(error), next: "install iproute2 (ss)" };
  } finally {
    client.destroy();
  }
}

async function listen(): Promise<Disposable & { readonly port: number }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    sockets.push(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** The failure's text, or nothing when the command worked. */
async function inTrialNamespace(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    await run("unshare", ["--net", command, ...args], { timeout: runTimeoutMs });
    return undefined;
  } catch (error) {
    return causeOf(error);
  }
}

function causeOf(error: unknown): string {
  const text = error instanceof Error && "stderr" in error ? String(error.stderr) : "";
  const [line] = text.split("\n").filter((part) => part.trim() !== "");
  return line?.trim() ?? (error instanceof Error ? error.message : String(error));
}
