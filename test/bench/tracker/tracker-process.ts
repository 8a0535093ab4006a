/** A tracker as it is deployed: a process of its own, on a nats-server and a disk. */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { repositoryRoot } from "../../../services/lab/directory.ts";
import { connectBus } from "../../../src/bus/nats.ts";
import { flowSubject } from "../../../src/flow/events.ts";
import type { FlowKey } from "../../../src/flow/flow.ts";
import { TrackerClient } from "../../../src/rpc/tracker-client.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { killed } from "../../support/killed.ts";
import { freePort } from "../../support/nats-server.ts";
import { type Message, shards } from "./flows.ts";

const startTimeoutMs = 120_000;
const applyTimeoutMs = 240_000;

export class TrackerProcess implements AsyncDisposable {
  readonly endpoint: string;
  /** LevelDB's directory; the process's own while it runs. */
  readonly database: string;
  readonly #configFile: string;
  #process: ChildProcess | undefined;

  private constructor(endpoint: string, database: string, configFile: string) {
    this.endpoint = endpoint;
    this.database = database;
    this.#configFile = configFile;
  }

  static async configured(directory: string, natsServers: readonly string[]): Promise<TrackerProcess> {
    const endpoint = `127.0.0.1:${await freePort()}`;
    const configFile = join(directory, "tracker.yaml");
    const dataDirectory = join(directory, "tracker");
    const config = {
      name: "tracker1",
      listen: [endpoint],
      trackers: [{ name: "tracker1", endpoint }],
      nats: { servers: natsServers },
      dataDirectory,
      shards,
      log: { level: "error" },
    };
    // JSON is YAML.
    await writeFile(configFile, JSON.stringify(config));
    return new TrackerProcess(endpoint, join(dataDirectory, "flows"), configFile);
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Returns when it has answered a look-up, and how long that took. */
  async start(key: FlowKey, signal: AbortSignal): Promise<{ readonly ms: number; readonly found: boolean }> {
    const startMs = performance.now();
    const command = [join(repositoryRoot, "bin/baton"), "tracker", "--config", this.#configFile];
    this.#process = spawn("sh", command, { stdio: ["ignore", "ignore", "inherit"] });
    const server = this.#process;
    let found = false;
    const answers = async (): Promise<boolean> => {
      if (server.exitCode !== null) throw new Error(`the tracker ended with exit code ${server.exitCode}`);
      using client = new TrackerClient([this.endpoint]);
      const [answer] = await client.lookup([key], [], { signal, deadlineMs: 1_000 });
      found = answer?.kind === "owned";
      return answer?.kind === "owned" || answer?.kind === "absent";
    };
    await waitFor(answers, { signal, timeoutMs: startTimeoutMs, intervalMs: 20, what: "the tracker to answer" });
    return { ms: performance.now() - startMs, found };
  }

  /** Resident memory, and the part of it that is no file's. */
  memory(): { readonly residentBytes: number; readonly anonymousBytes: number } {
    return memoryOf(this.pid);
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    await killed(running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

export function memoryOf(pid: number): { readonly residentBytes: number; readonly anonymousBytes: number } {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const bytes = (field: string): number => 1_024 * Number(new RegExp(`^${field}:\\s*(\\d+) kB`, "m").exec(status)?.[1]);
  return { residentBytes: bytes("VmRSS"), anonymousBytes: bytes("RssAnon") };
}

/** Publishes all messages, those of one instance one after another, and returns when the tracker has stored them. */
export async function tell(
  natsServers: readonly string[],
  endpoint: string,
  messages: Iterable<Message>,
  signal: AbortSignal,
): Promise<void> {
  await using bus = connectBus({ servers: natsServers, name: "bench" });
  const ends = new Map<number, bigint>();
  const publish = async ({ shard, data }: Message, messageId: string): Promise<void> => {
    const sequence = await bus.publish(flowSubject(shard), data, { messageId, signal });
    if (sequence > (ends.get(shard) ?? 0n)) ends.set(shard, sequence);
  };
  const last = new Map<number, Promise<void>>();
  let id = 0;
  for (const message of messages) {
    const before = last.get(message.instance);
    await before;
    last.set(message.instance, publish(message, String(id++)));
  }
  await Promise.all(last.values());
  using client = new TrackerClient([endpoint]);
  const positions = [...ends].map(([shard, sequence]) => ({ shard, sequence }));
  const reached = async (): Promise<boolean> =>
    (await client.barrier(positions, { signal, deadlineMs: 20_000 })).reached;
  await waitFor(reached, { signal, timeoutMs: applyTimeoutMs, what: "the tracker to have stored all flows" });
}
