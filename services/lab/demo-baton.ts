/** Runs `bin/baton` against a lab, as any user would, and reads its JSON. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { outsideEndpoints } from "./config-files.ts";
import { repositoryRoot } from "./directory.ts";
import type { OpenLab } from "./lab.ts";

/** A remap as the command line prints it. */
export interface RemapJson {
  readonly id: string;
  readonly address: string;
  readonly source: string;
  readonly sourcePrivate: string;
  readonly target: string;
  readonly targetPrivate: string;
  readonly generation: number;
  readonly phase: string;
  readonly outcome?: string;
  readonly phaseAt: Readonly<Record<string, string>>;
  readonly channel?: { readonly kind: string; readonly mtu: number; readonly provenMtu: number };
  readonly flows: {
    readonly atSwitch: number;
    readonly remaining: number;
    readonly closed: number;
    readonly superseded: number;
    readonly cut: number;
    readonly lost: number;
    readonly newAtTarget: number;
  };
  readonly followed: { readonly packets: number; readonly bytes: number };
  readonly switchMs?: number;
  readonly longestSilenceMs?: number;
  readonly waitingFor: readonly { readonly node: string; readonly since: string; readonly what: string }[];
  readonly error?: { readonly code: string; readonly message: string };
  readonly offline?: { readonly outcome: string; readonly message: string };
}

export interface BatonResult {
  readonly code: number;
  /** One value for each line of JSON. */
  readonly json: readonly unknown[];
  readonly stderr: string;
}

export interface BatonOptions {
  readonly signal: AbortSignal;
  /** Called for each line of JSON as it comes. */
  readonly onJson?: (value: unknown) => void;
}

const mostErrorBytes = 65_536;

/** Adds `--json`. Resolves with the exit code, whichever it is; rejects when the signal aborts. */
export async function runBaton(lab: OpenLab, args: readonly string[], options: BatonOptions): Promise<BatonResult> {
  options.signal.throwIfAborted();
  const child = spawn(join(repositoryRoot, "bin/baton"), [...args, "--json"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, BATON_ENDPOINT: outsideEndpoints(lab.plan, lab.directory).join(",") },
    signal: options.signal,
    detached: true,
  });
  const json: unknown[] = [];
  let stderr = "";
  child.stderr.on("data", (piece: Buffer) => {
    stderr = `${stderr}${piece.toString()}`.slice(-mostErrorBytes);
  });
  let wrongLine: string | undefined;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const value = parseLine(line);
    if (value === undefined) {
      wrongLine ??= line;
      return;
    }
    json.push(value);
    options.onJson?.(value);
  });
  const code = await exitCode(child);
  if (wrongLine !== undefined)
    throw new Error(
      `baton ${args.join(" ")}: ${wrongLine.length} characters that are no JSON, …${wrongLine.slice(-60)}`,
    );
  return { code, json, stderr: stderr.trim() };
}

/** Undefined: not JSON, or not all of it. */
function parseLine(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}

function exitCode(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? 1));
  });
}
