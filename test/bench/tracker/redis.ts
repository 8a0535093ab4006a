/** A redis-server of a measurement's own, in a temporary directory, and as much of its protocol (RESP2) as that needs. */

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { waitFor } from "../../../src/runtime/retry.ts";
import { killed } from "../../support/killed.ts";

/** Nothing of a value but that it was there, and an error in its words. */
export type Answer = "value" | "nothing" | Error;

const startTimeoutMs = 60_000;
const lineEnd = "\r\n";

export function redisVersion(): string {
  const { stdout, error } = spawnSync("redis-server", ["--version"], { encoding: "utf8" });
  if (error !== undefined) throw new Error(`redis-server can't be run: ${error.message}; next: sh bin/setup bench`);
  return /v=(\S+)/.exec(stdout)?.[1] ?? "of unknown version";
}

export class RedisServer implements AsyncDisposable {
  readonly #directory: string;
  #process: ChildProcess | undefined;

  /** An empty directory, or one of a server before. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Returns when it answers from all that it had stored. */
  async start(signal: AbortSignal): Promise<RedisClient> {
    const socket = join(this.#directory, "redis.sock");
    const settings = ["--port", "0", "--unixsocket", socket, "--dir", this.#directory, "--save", ""];
    const durability = ["--appendonly", "yes", "--appendfsync", "everysec"];
    this.#process = spawn("redis-server", [...settings, ...durability], { stdio: "ignore" });
    let client: RedisClient | undefined;
    const answers = async (): Promise<boolean> => {
      client ??= await RedisClient.connect(socket).catch(() => undefined);
      const [answer] = (await client?.ask([command("GET", "nothing")])) ?? [];
      return answer === "nothing";
    };
    await waitFor(answers, { signal, timeoutMs: startTimeoutMs, intervalMs: 5, what: "redis-server to answer" });
    if (client === undefined) throw new Error("redis-server answered nobody");
    return client;
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

interface Asked {
  readonly answers: Answer[];
  readonly wanted: number;
  readonly done: PromiseWithResolvers<Answer[]>;
}

export class RedisClient implements Disposable {
  readonly #socket: Socket;
  readonly #asked: Asked[] = [];
  #rest: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (data) => this.#read(data));
    socket.on("close", () => {
      for (const { done } of this.#asked.splice(0)) done.reject(new Error("redis-server closed the connection"));
    });
    socket.on("error", () => socket.destroy());
  }

  static async connect(path: string): Promise<RedisClient> {
    const socket = connect(path);
    await once(socket, "connect");
    return new RedisClient(socket);
  }

  /** Sends all commands at once; an array among the answers counts as its entries. */
  async ask(commands: readonly Buffer[], wanted = commands.length): Promise<Answer[]> {
    const asked = { answers: [], wanted, done: Promise.withResolvers<Answer[]>() };
    this.#asked.push(asked);
    this.#socket.write(Buffer.concat(commands));
    return await asked.done.promise;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  #read(data: Buffer): void {
    const buffer = this.#rest.length === 0 ? data : Buffer.concat([this.#rest, data]);
    let at = 0;
    for (;;) {
      const end = buffer.indexOf(lineEnd, at);
      if (end < 0) break;
      const line = buffer.toString("latin1", at, end);
      const length = line.startsWith("$") ? Number(line.slice(1)) : -1;
      const next = end + 2 + (length < 0 ? 0 : length + 2);
      if (next > buffer.length) break;
      at = next;
      if (!line.startsWith("*")) this.#take(line);
    }
    this.#rest = buffer.subarray(at);
  }

  #take(line: string): void {
    const [asked] = this.#asked;
    if (asked === undefined) throw new Error(`redis-server said ${line} unasked`);
    asked.answers.push(line.startsWith("-") ? new Error(line.slice(1)) : line === "$-1" ? "nothing" : "value");
    if (asked.answers.length < asked.wanted) return;
    this.#asked.shift();
    asked.done.resolve(asked.answers);
  }
}

/** As RESP's array of bulk strings. */
export function command(...words: readonly (string | Buffer)[]): Buffer {
  const parts = words.flatMap((word) => {
    const bytes = Buffer.from(word);
    return [Buffer.from(`$${bytes.length}${lineEnd}`), bytes, Buffer.from(lineEnd)];
  });
  return Buffer.concat([Buffer.from(`*${words.length}${lineEnd}`), ...parts]);
}
