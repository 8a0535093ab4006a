/**
 * A client, a gateway and two instances, each in a namespace of its own, the last three on one bridge. Owns the
 * namespaces and every process that a test starts in them.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../../src/runtime/retry.ts";

export type HostName = "client" | "gw" | "fabric" | "a" | "b";

const hostNames: readonly HostName[] = ["client", "gw", "fabric", "a", "b"];
const waitMs = 10_000;
const commandMs = 10_000;

export class Hosts implements AsyncDisposable {
  readonly #label: string;
  readonly #children = new Set<ChildProcess>();

  /** @param label keeps the namespaces of tests apart */
  constructor(label: string) {
    this.#label = label;
    try {
      this.#build();
    } catch (error) {
      this.#removeNamespaces();
      throw error;
    }
  }

  nameOf(host: HostName): string {
    return `baton-t-${this.#label}-${host}-${process.pid}`;
  }

  /** Output of a command in a host; throws when it fails. */
  exec(host: HostName, ...command: readonly string[]): string {
    return execFileSync("ip", ["netns", "exec", this.nameOf(host), ...command], {
      encoding: "utf8",
      timeout: commandMs,
    });
  }

  /** True: the command ended well. */
  succeeds(host: HostName, ...command: readonly string[]): boolean {
    try {
      execFileSync("ip", ["netns", "exec", this.nameOf(host), ...command], { stdio: "ignore", timeout: commandMs });
      return true;
    } catch {
      return false;
    }
  }

  /** A script of this directory, once it has printed its first line. */
  async start(host: HostName, script: string, ...args: readonly string[]): Promise<Script> {
    const path = fileURLToPath(new URL(script, import.meta.url));
    const command = ["netns", "exec", this.nameOf(host), process.execPath, path, ...args];
    const child = spawn("ip", command, { stdio: ["pipe", "pipe", "inherit"] });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    const started = new Script(script, child);
    await started.line(() => true);
    return started;
  }

  /** A command that goes on until it is disposed of. */
  launch(host: HostName, ...command: readonly string[]): AsyncDisposable {
    const child = spawn("ip", ["netns", "exec", this.nameOf(host), ...command], { stdio: "ignore" });
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return { [Symbol.asyncDispose]: () => kill(child) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await kill(child);
    this.#removeNamespaces();
  }

  #build(): void {
    for (const host of hostNames) {
      ip(`netns add ${this.nameOf(host)}`);
      ip(`-n ${this.nameOf(host)} link set lo up`);
    }
    ip(`-n ${this.nameOf("fabric")} link add br0 type bridge`);
    ip(`-n ${this.nameOf("fabric")} link set br0 up`);
    this.#cable("gw", "eth1", "10.77.0.1/24");
    this.#cable("a", "eth0", "10.77.0.11/24");
    this.#cable("b", "eth0", "10.77.0.12/24");
    ip(`link add eth0 netns ${this.nameOf("gw")} type veth peer name eth0 netns ${this.nameOf("client")}`);
    this.#address("gw", "eth0", "198.51.100.1/24");
    this.#address("client", "eth0", "198.51.100.2/24");
    ip(`-n ${this.nameOf("client")} route add default via 198.51.100.1`);
    for (const host of ["a", "b"] as const) ip(`-n ${this.nameOf(host)} route add default via 10.77.0.1`);
  }

  #cable(host: HostName, device: string, address: string): void {
    const fabric = this.nameOf("fabric");
    ip(`link add ${device} netns ${this.nameOf(host)} type veth peer name port-${host} netns ${fabric}`);
    ip(`-n ${fabric} link set port-${host} master br0 up`);
    this.#address(host, device, address);
  }

  #address(host: HostName, device: string, address: string): void {
    ip(`-n ${this.nameOf(host)} addr add ${address} dev ${device}`);
    ip(`-n ${this.nameOf(host)} link set ${device} up`);
  }

  #removeNamespaces(): void {
    const there = execFileSync("ip", ["netns", "list"], { encoding: "utf8" });
    for (const host of hostNames) if (there.includes(this.nameOf(host))) ip(`netns del ${this.nameOf(host)}`);
  }
}

/** A process of a test, which prints JSON, one value a line. */
export class Script {
  readonly #name: string;
  readonly #child: ChildProcess;
  readonly #lines: unknown[] = [];

  constructor(name: string, child: ChildProcess) {
    this.#name = name;
    this.#child = child;
    if (child.stdout === null) throw new Error(`${name} has no output`);
    createInterface({ input: child.stdout }).on("line", (line) => this.#lines.push(JSON.parse(line)));
  }

  /** The first line, of all that came, for which it holds. */
  async line<T>(holds: (line: T) => boolean): Promise<T> {
    const find = (): { line: T } | undefined => {
      const line = (this.#lines as T[]).find(holds);
      return line === undefined ? undefined : { line };
    };
    const ended = (): boolean => this.#child.exitCode !== null || this.#child.signalCode !== null;
    const signal = AbortSignal.timeout(waitMs);
    const what = `a line of ${this.#name}`;
    const found = await waitFor(() => find() ?? (ended() ? "ended" : undefined), { signal, timeoutMs: waitMs, what });
    if (found === "ended") throw new Error(`${this.#name} ended before it had said what was waited for`);
    return found.line;
  }

  tell(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Sends a signal and waits for the end; the exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    const [code, killedBy] = (await exited) as [number | null, NodeJS.Signals | null];
    return code ?? killedBy;
  }
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

function ip(command: string): void {
  execFileSync("ip", command.split(" "), { timeout: commandMs });
}
