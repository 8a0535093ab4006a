/**
 * A process in a network namespace that does what a test asks of it, call by call.
 *
 * The test's side is {@link Actor}; a script makes itself an actor with {@link serveCalls}.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { killed } from "../../support/killed.ts";
import type { Namespace } from "./namespace.ts";

// biome-ignore lint/suspicious/noExplicitAny: arguments and results cross a process boundary; each script names its own
export type Calls = Readonly<Record<string, (...args: any[]) => unknown>>;

type Request = { readonly id: number; readonly name: string; readonly args: readonly unknown[] };
type Answer =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly error: string };

const callTimeoutMs = 30_000;

/** With which bin/baton starts an agent. */
export const agentFlags = ["--max-semi-space-size=2"] as const;

export class Actor<C extends Calls> implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #lastId = 0;

  private constructor(process: ChildProcess) {
    this.#process = process;
    process.on("message", (answer: Answer) => {
      const call = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if (answer.ok) call?.resolve(answer.value);
      else call?.reject(new Error(answer.error));
    });
    process.once("exit", () => {
      for (const call of this.#waiting.values()) call.reject(new Error("the process in the namespace has ended"));
    });
  }

  /**
   * @param script beside this file; it is ready when this returns
   * @param flags of its Node
   */
  static async start<C extends Calls>(
    namespace: Namespace,
    script: string,
    flags: readonly string[] = [],
  ): Promise<Actor<C>> {
    const path = fileURLToPath(new URL(script, import.meta.url));
    const child = spawn("ip", ["netns", "exec", namespace.name, process.execPath, ...flags, path], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
      serialization: "advanced",
    });
    const actor = new Actor<C>(child);
    await Promise.race([once(child, "message"), once(child, "exit")]);
    if (child.exitCode !== null) throw new Error(`${script} ended at its start, with exit code ${child.exitCode}`);
    return actor;
  }

  async call<N extends keyof C & string>(name: N, ...args: Parameters<C[N]>): Promise<Awaited<ReturnType<C[N]>>> {
    const id = ++this.#lastId;
    const call = Promise.withResolvers<unknown>();
    this.#waiting.set(id, call);
    const timer = setTimeout(() => call.reject(new Error(`${name} took over ${callTimeoutMs} ms`)), callTimeoutMs);
    try {
      this.#process.send({ id, name, args } satisfies Request);
      return (await call.promise) as Awaited<ReturnType<C[N]>>;
    } finally {
      clearTimeout(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await killed(this.#process);
  }
}

export function serveCalls(calls: Calls): void {
  const answer = (message: Answer): void => void process.send?.(message);
  process.on("message", async ({ id, name, args }: Request) => {
    try {
      answer({ id, ok: true, value: await calls[name]?.(...args) });
    } catch (error) {
      answer({ id, ok: false, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    }
  });
  process.once("disconnect", () => process.exit(0));
  answer({ id: 0, ok: true, value: "ready" });
}
