/**
 * `npm test`: every suite that this machine allows, one after the other, and what was left out.
 * Bounded by the suites' own limits below. With CI=true leaving something out is failing.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { repositoryRoot } from "./check/files.ts";
import {
  exitCode,
  failedFiles,
  lastLine,
  readLastLine,
  sum,
  type Tally,
  tallyOf,
  type VitestReport,
} from "./run/tally.ts";

const minuteMs = 60_000;
const checkTimeoutMs = 2 * minuteMs;
const unitTimeoutMs = 10 * minuteMs;
const systemTimeoutMs = 40 * minuteMs;
/** Projects of vitest.config.ts: one file at a time, then two. */
const system = "system*";
/** With more failed files than this, it is not the machine. */
const secondTriesMax = 4;

/** As bin/baton has it. The tests start hundreds of processes, which compile what they share once. */
const compileCache = process.env["NODE_COMPILE_CACHE"] ?? join(repositoryRoot, "node_modules/.cache/baton");

/** Between asking a suite to end and ending it. */
const killGraceMs = 10_000;

const oneFailure: Tally = { passed: 0, failed: 1, leftOut: [] };

async function runCheck(): Promise<Tally> {
  heading("checks");
  const { output } = await run(["test/check.ts"], checkTimeoutMs);
  return readLastLine(output) ?? oneFailure;
}

async function runVitest(project: string, timeoutMs: number): Promise<Tally> {
  heading(`${project.replace("*", "")} tests`);
  const { report, code } = await vitest(project, [], timeoutMs);
  if (report === undefined) return oneFailure;
  const again = project === system ? failedFiles(report) : [];
  if (again.length > 0 && again.length <= secondTriesMax) return await secondTry(project, report, again, timeoutMs);
  const tally = tallyOf(report);
  return code !== 0 && tally.failed === 0 ? sum([tally, oneFailure]) : tally;
}

/**
 * System tests measure milliseconds on machines that others use too. A few files that failed are run once more, by
 * themselves; what fails twice has failed, and what passed only then is named.
 */
async function secondTry(
  project: string,
  first: VitestReport,
  files: readonly string[],
  timeoutMs: number,
): Promise<Tally> {
  heading(`second try of ${files.map((file) => basename(file)).join(", ")}`);
  const { report, code } = await vitest(project, files, timeoutMs);
  if (report === undefined) return sum([tallyOf(first), oneFailure]);
  const others = { ...first, testResults: first.testResults.filter(({ name }) => !files.includes(name)) };
  const tally = sum([tallyOf(others), tallyOf(report)]);
  if (code !== 0 && tally.failed === 0) return sum([tally, oneFailure]);
  if (code === 0)
    process.stdout.write(`passed at the second try only: ${files.map((file) => basename(file)).join(", ")}\n`);
  return tally;
}

async function vitest(
  project: string,
  files: readonly string[],
  timeoutMs: number,
): Promise<{ report: VitestReport | undefined; code: number }> {
  const directory = mkdtempSync(join(tmpdir(), "baton-test-"));
  const path = join(directory, "report.json");
  try {
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${path}`];
    const program = join(repositoryRoot, "node_modules/vitest/vitest.mjs");
    const { code } = await run([program, "run", "--project", project, ...reporters, ...files], timeoutMs);
    const report = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as VitestReport) : undefined;
    return { report, code };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Why the system tests can't run here; empty: they can. */
function systemObstacles(): readonly string[] {
  const { status, stderr } = spawnSync("sh", [join(repositoryRoot, "bin/setup"), "check"], { encoding: "utf8" });
  if (status === 0) return [];
  return stderr
    .replaceAll(/\n\s+because/g, ", because")
    .split("\n")
    .filter((line) => line !== "");
}

async function runSystem(): Promise<Tally> {
  const obstacles = systemObstacles();
  if (obstacles.length === 0) return await runVitest(system, systemTimeoutMs);
  return { passed: 0, failed: 0, leftOut: obstacles.map((why) => `all system tests: ${why}`) };
}

/** Runs a script with this Node; shows what it prints, and keeps it. */
async function run(args: readonly string[], timeoutMs: number): Promise<{ code: number; output: string }> {
  const child = spawn(process.execPath, [...args], {
    cwd: repositoryRoot,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_COMPILE_CACHE: compileCache, ...(process.stdout.isTTY && { FORCE_COLOR: "1" }) },
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  const end = setTimeout(() => {
    process.stdout.write(`${args[0]} took longer than ${timeoutMs / minuteMs} minutes\n`);
    child.kill("SIGTERM");
    setTimeout(() => child.kill("SIGKILL"), killGraceMs).unref();
  }, timeoutMs);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on("error", reject);
  child.on("close", (code) => resolve(code ?? 1));
  try {
    return { code: await promise, output };
  } finally {
    clearTimeout(end);
  }
}

function heading(text: string): void {
  process.stdout.write(`\n== ${text}\n`);
}

const total = sum([await runCheck(), await runVitest("unit", unitTimeoutMs), await runSystem()]);
if (total.leftOut.length > 0) {
  heading("left out");
  for (const line of total.leftOut) process.stdout.write(`  ${line}\n`);
}
process.exitCode = exitCode(total, process.env["CI"] === "true");
process.stdout.write(`\n${lastLine(total)}\n`);
