/** Real processes on loopback, at real speed: what a paused process does to the others, and they to it. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { waitFor } from "../../src/runtime/retry.ts";

interface Process {
  readonly child: ChildProcess;
  readonly lines: string[];
}

const running: Process[] = [];

function start(name: string, ...seeds: string[]): Process {
  const child = spawn(process.execPath, ["test/system/gossip-member.ts", name, "system-test", ...seeds], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  if (child.stdout !== null) createInterface(child.stdout).on("line", (line) => lines.push(line));
  const started = { child, lines };
  running.push(started);
  return started;
}

const soon = (what: string, timeoutMs: number, condition: () => boolean): Promise<boolean> =>
  waitFor(condition, { signal: AbortSignal.timeout(timeoutMs + 1_000), timeoutMs, what });

async function startCluster(count: number): Promise<Process[]> {
  const first = start("m0");
  await soon("the first to listen", 10_000, () => first.lines.length > 0);
  const seed = first.lines[0]?.split(" ")[1] ?? "";
  const others = Array.from({ length: count - 1 }, (_, index) => start(`m${index + 1}`, seed));
  const all = [first, ...others];
  const knows = ({ lines }: Process): boolean =>
    new Set(lines.filter((line) => /^(joined|resync) m/.test(line)).map((line) => line.split(" ")[1])).size === count;
  await soon("everybody to know everybody", 15_000, () => all.every(knows));
  return all;
}

afterEach(() => {
  for (const { child } of running.splice(0)) child.kill("SIGKILL");
});

describe("a member whose process is stopped by SIGSTOP", () => {
  it("until it is suspected refutes when it is let go, is not buried, and buries nobody itself", async () => {
    const all = await startCluster(5);
    const [paused, ...others] = all as [Process, ...Process[]];
    paused.child.kill("SIGSTOP");
    await soon("a suspicion", 8_000, () => others.some(({ lines }) => lines.includes("suspect m0")));
    paused.child.kill("SIGCONT");
    const isCleared = ({ lines }: Process): boolean =>
      lines.lastIndexOf("refuted m0") >= lines.lastIndexOf("suspect m0");
    await soon("the refutation everywhere", 10_000, () => others.every(isCleared));
    expect(all.flatMap(({ lines }) => lines.filter((line) => line.startsWith("dead ")))).toEqual([]);
  });

  it("for good is dead to all others, and comes back by itself when it is let go", async () => {
    const all = await startCluster(4);
    const [paused, ...others] = all as [Process, ...Process[]];
    paused.child.kill("SIGSTOP");
    await soon("its death everywhere", 45_000, () => others.every(({ lines }) => lines.includes("dead m0")));
    paused.child.kill("SIGCONT");
    const isBack = ({ lines }: Process): boolean => lines.lastIndexOf("joined m0") > lines.lastIndexOf("dead m0");
    await soon("its return everywhere", 30_000, () => others.every(isBack));
    const wronged = all.flatMap(({ lines }) => lines.filter((line) => /^dead m[1-3]$/.test(line)));
    expect(wronged).toEqual([]);
  }, 100_000);
});
