/** A service of baton as a process of its own, started from a configuration that the test writes. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";

const program = new URL("../../services/cli/main.ts", import.meta.url).pathname;
const linesMax = 2_000;

export class ServiceProcess implements AsyncDisposable {
  readonly #directory: string;
  readonly #kind: string;
  readonly #inside: readonly string[];
  #process: ChildProcess | undefined;
  /** What it has written, a line each. */
  readonly output: string[] = [];

  private constructor(kind: string, directory: string, inside: readonly string[]) {
    this.#inside = inside;
    this.#kind = kind;
    this.#directory = directory;
  }

  /** `inside`: what it is run by, as `ip netns exec …`. */
  static async create(kind: string, config: object, inside: readonly string[] = []): Promise<ServiceProcess> {
    const directory = await mkdtemp(join(tmpdir(), `baton-${kind}-`));
    await writeFile(join(directory, "config.yaml"), stringify(config));
    return new ServiceProcess(kind, directory, inside);
  }

  start(): void {
    const service = [process.execPath, program, this.#kind, "--config", join(this.#directory, "config.yaml")];
    const [command = process.execPath, ...args] = [...this.#inside, ...service];
    const child = spawn(command, args);
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        this.output.push(...text.split("\n").filter((line) => line !== ""));
        this.output.splice(0, this.output.length - linesMax);
      });
    this.#process = child;
  }

  get running(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  async end(signal: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined) return null;
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
    return child.exitCode;
  }

  /** SIGSTOP: it lives, and does nothing. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
    await rm(this.#directory, { recursive: true, force: true });
  }
}
