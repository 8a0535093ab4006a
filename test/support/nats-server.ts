/** A NATS server with JetStream of a test's own: loopback, a free port, a store in a temporary directory. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "../../src/runtime/retry.ts";
import { killed } from "./killed.ts";

const startTimeoutMs = 10_000;

export const natsServerInstalled = spawnSync("nats-server", ["--version"]).status === 0;

export async function startNatsServer(host = "127.0.0.1"): Promise<TestNatsServer> {
  if (!natsServerInstalled) throw new Error("nats-server is not installed; run `npm run setup`");
  const directory = await mkdtemp(join(tmpdir(), "baton-nats-"));
  const server = new TestNatsServer(directory, host, await freePort());
  await server.start();
  return server;
}

export class TestNatsServer implements AsyncDisposable {
  readonly host: string;
  readonly port: number;
  readonly #directory: string;
  #process: ChildProcess | undefined;

  constructor(directory: string, host: string, port: number) {
    this.host = host;
    this.#directory = directory;
    this.port = port;
  }

  get servers(): string[] {
    return [`${this.host}:${this.port}`];
  }

  async start(): Promise<void> {
    const args = ["-a", this.host, "-p", String(this.port), "-js", "-sd", this.#directory];
    this.#process = spawn("nats-server", args, { stdio: "ignore" });
    const signal = AbortSignal.timeout(startTimeoutMs);
    await waitFor(() => accepts(this.host, this.port), {
      signal,
      timeoutMs: startTimeoutMs,
      what: "nats-server to listen",
    });
  }

  /** SIGKILL: as when the machine's power fails, but for what the kernel had taken already. */
  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    await killed(running);
  }

  /** Kills the server and throws away all that it stored. */
  async wipe(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.wipe();
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

async function accepts(host: string, port: number): Promise<boolean> {
  const socket = connect(port, host);
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
