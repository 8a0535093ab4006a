/** Connections of client1 to an instance of a lab that come and go, until they are told to stay as they are. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { waitFor } from "../../../src/runtime/retry.ts";
import type { LabFixture } from "../lab-fixture.ts";

const script = fileURLToPath(new URL("churn.script.ts", import.meta.url));
const startTimeoutMs = 20_000;

export class Churn implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;
  #output = "";

  private constructor(inside: readonly string[], args: readonly string[]) {
    const [program = "", ...before] = inside;
    this.#child = spawn(program, [...before, process.execPath, script, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    this.#ended = new Promise((resolve) => this.#child.once("close", () => resolve()));
  }

  static async serve(lab: LabFixture, host: string, port: number): Promise<Churn> {
    return await Churn.#start(lab.inside(host), ["serve", String(port)], "listening");
  }

  static async connect(
    lab: LabFixture,
    address: string,
    port: number,
    perSecond: number,
    held: number,
  ): Promise<Churn> {
    const args = ["connect", address, String(port), String(perSecond), String(held)];
    return await Churn.#start(lab.inside("client1"), args, "churning");
  }

  static async #start(inside: readonly string[], args: readonly string[], word: string): Promise<Churn> {
    const churn = new Churn(inside, args);
    await churn.#hear(word);
    return churn;
  }

  async stay(): Promise<void> {
    this.#child.stdin.write("\n");
    await this.#hear("still");
  }

  async #hear(word: string): Promise<void> {
    const signal = AbortSignal.timeout(startTimeoutMs);
    await waitFor(() => this.#output.includes(word), { signal, timeoutMs: startTimeoutMs, what: `"${word}"` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}
