/**
 * Processes of the lab: starting them in their namespaces, telling them from others, ending them.
 *
 * A pid alone may be reused, so a service is known by its pid and start time; any other process belongs to the lab
 * exactly when it lives in one of its namespaces.
 */
import { spawn } from "node:child_process";
import {
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { waitFor } from "../../src/runtime/retry.ts";
import { LabError } from "./lab-error.ts";
import { namespaceDirectory } from "./network.ts";

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from the machine's boot (proc(5), field 22 of stat). */
  readonly startTicks: string;
}

export type ProcessState = "running" | "paused" | "gone";

const goneTimeoutMs = 5_000;

export interface Launch {
  readonly namespace: string;
  readonly command: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly logFile: string;
  readonly processFile: string;
}

/** Starts a process that outlives this one. */
export function launch(options: Launch): ProcessIdentity {
  const log = openSync(options.logFile, "a");
  try {
    const child = spawn("ip", ["netns", "exec", options.namespace, ...options.command], {
      detached: true,
      stdio: ["ignore", log, log],
      env: options.env,
      cwd: "/",
    });
    child.on("error", () => child.unref());
    child.unref();
    const stat = child.pid === undefined ? undefined : readStat(child.pid);
    if (child.pid === undefined || stat === undefined)
      throw new LabError(`${options.command.join(" ")} did not start: see ${options.logFile}`);
    const identity = { pid: child.pid, startTicks: stat.startTicks };
    writeFileSync(options.processFile, `${JSON.stringify(identity)}\n`);
    return identity;
  } finally {
    closeSync(log);
  }
}

/** undefined: it was never started. */
export function readProcessFile(file: string): ProcessIdentity | undefined {
  if (!existsSync(file)) return undefined;
  return JSON.parse(readFileSync(file, "utf8")) as ProcessIdentity;
}

export function stateOf(identity: ProcessIdentity): ProcessState {
  const stat = readStat(identity.pid);
  if (stat === undefined || stat.startTicks !== identity.startTicks || stat.state === "Z") return "gone";
  return stat.state === "T" ? "paused" : "running";
}

/** Nothing happens when the process is gone already. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (stateOf(identity) === "gone") return;
  try {
    process.kill(identity.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Ends every process in these namespaces, at once. */
export async function killAllIn(namespaces: readonly string[], signal: AbortSignal): Promise<void> {
  const inodes = new Set(namespaces.flatMap((name) => inodeOf(join(namespaceDirectory, name))));
  await waitFor(
    () => {
      const found = processesIn(inodes);
      for (const identity of found) signalProcess(identity, "SIGKILL");
      return found.length === 0;
    },
    { signal, timeoutMs: goneTimeoutMs, what: `the end of all processes in ${namespaces.join(", ")}` },
  );
}

function processesIn(inodes: ReadonlySet<number>): readonly ProcessIdentity[] {
  return readdirSync("/proc").flatMap((entry) => {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid || !inodes.has(networkInodeOf(pid))) return [];
    const stat = readStat(pid);
    return stat === undefined || stat.state === "Z" ? [] : [{ pid, startTicks: stat.startTicks }];
  });
}

/** 0: gone, or not ours to see. The link reads "net:[4026531840]". */
function networkInodeOf(pid: number): number {
  try {
    return Number(/\[(\d+)\]/.exec(readlinkSync(`/proc/${pid}/ns/net`))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function inodeOf(path: string): number[] {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? [] : [stat.ino];
}

function readStat(pid: number): { state: string; startTicks: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The second field, the program's name in parentheses, may hold spaces and parentheses itself.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", startTicks: fields[19] ?? "" };
}
