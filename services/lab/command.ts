/** Runs other programs to their end. */
import { execFile } from "node:child_process";
import { LabError } from "./lab-error.ts";

const outputBytesMax = 4 * 1_048_576;
const commandTimeoutMs = 30_000;

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The outcome, whatever the exit code; a program that can't be started or takes too long is an error. */
export async function tryCommand(
  file: string,
  args: readonly string[],
  options: { readonly timeoutMs?: number } = {},
): Promise<CommandResult> {
  return await new Promise((resolve, reject) => {
    const limits = { maxBuffer: outputBytesMax, timeout: options.timeoutMs ?? commandTimeoutMs };
    execFile(file, [...args], limits, (error, stdout, stderr) => {
      if (error === null) return resolve({ code: 0, stdout, stderr });
      if (typeof error.code === "number") return resolve({ code: error.code, stdout, stderr });
      const cause = error.killed ? "took too long" : error.message;
      return reject(new LabError(`${file} ${args.join(" ")}: ${cause}. Is it installed? Try  sh bin/setup lab`));
    });
  });
}

export async function runCommand(file: string, args: readonly string[]): Promise<string> {
  const result = await tryCommand(file, args);
  if (result.code === 0) return result.stdout;
  throw new LabError(`${file} ${args.join(" ")} failed: ${result.stderr.trim() || `exit code ${result.code}`}`);
}
