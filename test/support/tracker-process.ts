/** Trackers in processes of their own, for tests that kill them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../src/runtime/retry.ts";
import { freePort } from "./nats-server.ts";
import type { TestDirectory } from "./tracker.ts";

const startTimeoutMs = 30_000;
const defaultSettleMs = 500;

export interface ProcessOptions {
  readonly name: string;
  readonly endpoint: string;
  readonly socket: string;
  readonly admin: string;
  readonly data: string;
  readonly configFile: string;
  /** What it is run by: `ip netns exec …`. */
  readonly inside: readonly string[];
}

export class TrackerProcess implements AsyncDisposable {
  readonly name: string;
  readonly endpoint: string;
  /** Where it answers this machine, whatever its network. */
  readonly socket: string;
  /** host:port */
  readonly admin: string;
  /** Directory of its database. */
  readonly data: string;
  readonly #options: ProcessOptions;
  readonly #lines: string[] = [];
  #process: ChildProcess | undefined;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.name = options.name;
    this.endpoint = options.endpoint;
    this.socket = options.socket;
    this.admin = options.admin;
    this.data = options.data;
  }

  async start(): Promise<void> {
    const script = fileURLToPath(new URL("../system/tracker.process.ts", import.meta.url));
    const { inside, configFile } = this.#options;
    const [program = process.execPath, ...args] = [...inside, process.execPath, script, configFile];
    const started = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
    started.stdout.on("data", (data: Buffer) => this.#lines.push(data.toString()));
    this.#process = started;
    await this.ready();
  }

  async ready(): Promise<void> {
    const signal = AbortSignal.timeout(startTimeoutMs);
    const what = `${this.name} to be ready`;
    await waitFor(async () => await this.#isReady(), { signal, timeoutMs: startTimeoutMs, what });
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://${this.admin}/metrics`)).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))].map(([, value]) =>
      Number(value),
    );
    return values.reduce((sum, value) => sum + value, 0);
  }

  /** As when its machine is replaced: whatever it has stored is gone. */
  async lose(): Promise<void> {
    await this.end("SIGKILL");
    await rm(this.data, { recursive: true, force: true });
  }

  log(): string {
    return this.#lines.join("");
  }

  /** It lives, and does nothing. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Tells it to give its shards away. */
  drain(): void {
    this.#process?.kill("SIGUSR2");
  }

  async end(how: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return null;
    const exited = once(running, "exit");
    running.kill(how);
    const [code] = await exited;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`http://${this.admin}/readyz`)).ok;
    } catch {
      return false;
    }
  }
}

export interface TrackersOptions {
  readonly servers: readonly string[];
  readonly shards?: number;
  /** Whom each one's configuration lists: what a cluster begins with. Default: itself alone. */
  readonly listed?: readonly string[];
  /** Section of its configuration. */
  readonly gossip?: object;
  /** How long instances that nobody knows of have to answer. */
  readonly settleMs?: number;
  /** Name → where others reach it; by default a socket in the directory. Its own one is at `host`. */
  readonly endpointOf?: (name: string) => string;
  /** Address that it listens at for its figures. */
  readonly host?: string;
  readonly inside?: readonly string[];
}

/** Configured and not started; its data are in the directory. */
export async function trackerProcess(
  directory: TestDirectory,
  name: string,
  options: TrackersOptions,
): Promise<TrackerProcess> {
  const { servers, shards = 32, listed = [name], gossip, settleMs = defaultSettleMs } = options;
  const { host = "127.0.0.1", inside = [] } = options;
  const socketOf = (of: string): string => `unix:${join(directory.path, `${of}.sock`)}`;
  const { endpointOf = socketOf } = options;
  const [endpoint, admin, data] = [endpointOf(name), `${host}:${await freePort()}`, join(directory.path, name)];
  const configFile = join(directory.path, `${name}.yaml`);
  const config = {
    name,
    listen: [...new Set([endpoint, socketOf(name)])],
    trackers: [...new Set([...listed, name])].map((of) => ({ name: of, endpoint: endpointOf(of) })),
    nats: { servers },
    dataDirectory: data,
    shards,
    rebuild: { settleMs },
    ...(gossip !== undefined && { gossip }),
    admin: { listen: admin },
  };
  await writeFile(configFile, JSON.stringify(config));
  return new TrackerProcess({ name, endpoint, socket: socketOf(name), admin, data, configFile, inside });
}
