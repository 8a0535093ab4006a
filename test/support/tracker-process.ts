/** Trackers in processes of their own, for tests that kill them. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../src/runtime/retry.ts";
import { freePort } from "./nats-server.ts";
import type { TestDirectory } from "./tracker.ts";

const startTimeoutMs = 30_000;
const settleMs = 500;

export class TrackerProcess implements AsyncDisposable {
  readonly name: string;
  readonly endpoint: string;
  readonly adminPort: number;
  readonly #configFile: string;
  readonly #lines: string[] = [];
  #process: ChildProcess | undefined;

  constructor(name: string, endpoint: string, adminPort: number, configFile: string) {
    this.name = name;
    this.endpoint = endpoint;
    this.adminPort = adminPort;
    this.#configFile = configFile;
  }

  async start(): Promise<void> {
    const script = fileURLToPath(new URL("../system/tracker.process.ts", import.meta.url));
    const started = spawn(process.execPath, [script, this.#configFile], { stdio: ["ignore", "pipe", "inherit"] });
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
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))].map(([, value]) =>
      Number(value),
    );
    return values.reduce((sum, value) => sum + value, 0);
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
      return (await fetch(`http://127.0.0.1:${this.adminPort}/readyz`)).ok;
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
}

/** Configured and not started; its data are in the directory. */
export async function trackerProcess(
  directory: TestDirectory,
  name: string,
  { servers, shards = 32, listed = [name], gossip }: TrackersOptions,
): Promise<TrackerProcess> {
  const endpointOf = (of: string): string => `unix:${join(directory.path, `${of}.sock`)}`;
  const adminPort = await freePort();
  const configFile = join(directory.path, `${name}.yaml`);
  const config = {
    name,
    listen: [endpointOf(name)],
    trackers: [...new Set([...listed, name])].map((of) => ({ name: of, endpoint: endpointOf(of) })),
    nats: { servers },
    dataDirectory: join(directory.path, name),
    shards,
    rebuild: { settleMs },
    ...(gossip !== undefined && { gossip }),
    admin: { listen: `127.0.0.1:${adminPort}` },
  };
  await writeFile(configFile, JSON.stringify(config));
  return new TrackerProcess(name, endpointOf(name), adminPort, configFile);
}
