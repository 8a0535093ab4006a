/** Starts the measuring client and the measured server as processes of their own, where they are told to run. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Command, Kind, KindSummary, OpenCommand, Report, Visit } from "./protocol.ts";

type Process = ChildProcessByStdio<Writable, Readable, Readable>;

const clientProgram = fileURLToPath(new URL("client.ts", import.meta.url));
const serverProgram = fileURLToPath(new URL("server.ts", import.meta.url));
const startTimeoutMs = 15_000;
const mostErrorBytes = 65_536;

/** `prefix`: what runs a command at the right place, such as `ip netns exec NAME`. */
export async function startServer(prefix: readonly string[], name: string, address?: string): Promise<AsyncDisposable> {
  const child = start([...prefix, process.execPath, serverProgram, name, ...(address === undefined ? [] : [address])]);
  const errors = collectErrors(child);
  const ready = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`server ${name} is not ready`)), startTimeoutMs);
    createInterface({ input: child.stdout }).once("line", () => {
      clearTimeout(timer);
      resolve();
    });
    child.once("exit", (code) => {
      clearTimeout(timer);
      reject(new Error(`server ${name} ended with ${code}: ${errors()}`));
    });
    child.once("error", reject);
  });
  await ready.catch(async (error: unknown) => {
    await ended(child);
    throw error;
  });
  return { [Symbol.asyncDispose]: () => ended(child) };
}

export class Client implements AsyncDisposable {
  readonly #child: Process;
  readonly #errors: () => string;
  readonly #waiting = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  constructor(prefix: readonly string[]) {
    this.#child = start([...prefix, process.execPath, clientProgram]);
    this.#errors = collectErrors(this.#child);
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#answered(line));
    this.#child.once("exit", (code) => this.#failAll(`the client ended with ${code}: ${this.#errors()}`));
    this.#child.once("error", (error) => this.#failAll(error.message));
    this.#child.stdin.on("error", (error) => this.#failAll(error.message));
  }

  /** Resolves when all are greeted, or have failed; with `eager` at once. */
  open(command: Omit<OpenCommand, "do">): Promise<readonly KindSummary[]> {
    return this.#ask({ do: "open", ...command }) as Promise<readonly KindSummary[]>;
  }

  ping(group: string): Promise<readonly KindSummary[]> {
    return this.#ask({ do: "ping", group }) as Promise<readonly KindSummary[]>;
  }

  close(group: string, kind?: Kind): Promise<readonly KindSummary[]> {
    return this.#ask({ do: "close", group, ...(kind === undefined ? {} : { kind }) }) as Promise<
      readonly KindSummary[]
    >;
  }

  reset(group: string): Promise<readonly KindSummary[]> {
    return this.#ask({ do: "reset", group }) as Promise<readonly KindSummary[]>;
  }

  async mark(): Promise<void> {
    await this.#ask({ do: "mark" });
  }

  async visit(to: string, everyMs: number): Promise<void> {
    await this.#ask({ do: "visit", to, everyMs });
  }

  rest(): Promise<readonly Visit[]> {
    return this.#ask({ do: "rest" }) as Promise<readonly Visit[]>;
  }

  report(options: { readonly group?: string; readonly records?: boolean } = {}): Promise<Report> {
    return this.#ask({ do: "report", ...options }) as Promise<Report>;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return ended(this.#child);
  }

  #ask(command: Command): Promise<unknown> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null) return reject(new Error(`the client has ended: ${this.#errors()}`));
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, ...command })}\n`);
      return undefined;
    });
  }

  #answered(line: string): void {
    const reply = JSON.parse(line) as { id: number; ok: boolean; result?: unknown; error?: string };
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if (reply.ok) waiting?.resolve(reply.result);
    else waiting?.reject(new Error(reply.error));
  }

  #failAll(reason: string): void {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
  }
}

function start(command: readonly string[]): Process {
  const [program = "", ...args] = command;
  // A group of its own: Ctrl-C at the terminal is for whoever started us, who then ends this process in order.
  return spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], detached: true });
}

function collectErrors(child: Process): () => string {
  let text = "";
  child.stderr.on("data", (piece: Buffer) => {
    text = `${text}${piece.toString()}`.slice(-mostErrorBytes);
  });
  return () => text.trim();
}

/** Both programs end when their stdin does. */
function ended(child: Process): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.stdin.end();
    child.kill("SIGTERM");
  });
}
