/** Runs bin/baton as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

export const launcher = fileURLToPath(new URL("../../../bin/baton", import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Running {
  readonly child: ChildProcess;
  out(): string;
  readonly ended: Promise<Ran>;
}

export function start(args: readonly string[], env: NodeJS.ProcessEnv = {}, program = launcher): Running {
  const child = spawn(program, args, { env: { PATH: process.env["PATH"], USER: "tester", ...env }, stdio: "pipe" });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  const ended = once(child, "close").then(([code]) => ({ code: code as number | null, out, err }));
  return { child, out: () => out, ended };
}

export async function baton(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ran> {
  return await start(args, env).ended;
}
