/** Services of baton that are started where they can't run: in a namespace of a test, to their end. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../src/runtime/retry.ts";

const program = fileURLToPath(new URL("../../services/cli/main.ts", import.meta.url));
const waitMs = 15_000;

export interface Ending {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Service implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  stdout = "";
  stderr = "";

  /** `prefix`: what runs a command at the right place, such as `ip netns exec NAME`. */
  constructor(prefix: readonly string[], ...args: readonly string[]) {
    const [command = "", ...rest] = [...prefix, process.execPath, program, ...args];
    this.#child = spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
    this.#child.stdout?.on("data", (piece: Buffer) => {
      this.stdout += piece.toString();
    });
    this.#child.stderr?.on("data", (piece: Buffer) => {
      this.stderr += piece.toString();
    });
    this.#ended = once(this.#child, "close");
  }

  /** Until it has written this. */
  async says(text: string | RegExp): Promise<void> {
    const said = (): boolean =>
      typeof text === "string" ? this.stdout.includes(text) : text.test(`${this.stdout}${this.stderr}`);
    const what = `${String(text)} from the service; it wrote ${this.stdout}${this.stderr}`;
    await waitFor(() => said() || this.#child.exitCode !== null, {
      signal: AbortSignal.timeout(waitMs),
      timeoutMs: waitMs,
      what,
    });
    if (!said()) throw new Error(`no ${what}`);
  }

  /** Waits for its end, after `signal` where one is given. Code null: it went on for too long, or ended by a signal. */
  async end(signal?: NodeJS.Signals): Promise<Ending> {
    if (signal !== undefined) this.#child.kill(signal);
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), waitMs);
    await this.#ended;
    clearTimeout(timer);
    return { code: this.#child.exitCode, stdout: this.stdout, stderr: this.stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

/** What it ends with by itself. */
export async function runToEnd(prefix: readonly string[], ...args: readonly string[]): Promise<Ending> {
  await using service = new Service(prefix, ...args);
  return await service.end();
}
