/**
 * `npm run check`: types, style, layers, the wire contract, and whether what is generated is up to date.
 * Exit code 1 when a step fails. Each step can be run alone: `npm run check -- layers`.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { breakingChanges } from "./check/breaking.ts";
import { repositoryRoot, sourceFiles } from "./check/files.ts";
import { findViolations } from "./check/layers.ts";

interface Step {
  readonly name: string;
  readonly about: string;
  /** What is wrong; empty: nothing. */
  readonly run: () => string;
}

/** Longer files are seldom one thing; they are named, but fail nothing. */
const fileLinesMax = 400;

const steps: readonly Step[] = [
  { name: "types", about: "tsc, all strict flags", run: () => tool("tsc", ["-p", ".", "--noEmit"]) },
  { name: "style", about: "biome: format and lint", run: () => tool("biome", ["check", "--error-on-warnings", "."]) },
  { name: "layers", about: "who imports what", run: checkLayers },
  { name: "proto", about: "buf lint", run: () => tool("buf", ["lint"]) },
  { name: "breaking", about: "the wire contract keeps what it promised", run: checkBreaking },
  { name: "generated", about: "src/gen is what proto/ says", run: checkGenerated },
];

function tool(name: string, args: readonly string[]): string {
  const path = join(repositoryRoot, "node_modules/.bin", name);
  const env = { ...process.env, PATH: `${join(repositoryRoot, "node_modules/.bin")}:${process.env["PATH"]}` };
  const result = spawnSync(path, [...args], { cwd: repositoryRoot, env, encoding: "utf8" });
  if (result.error !== undefined) return `${name}: ${result.error.message}; try  sh bin/setup test`;
  return result.status === 0 ? "" : `${result.stdout}${result.stderr}`.trim() || `${name}: exit code ${result.status}`;
}

function checkLayers(): string {
  const violations = findViolations(sourceFiles(repositoryRoot, ["src", "services", "test"]));
  return violations.map(({ path, line, message }) => `${path}:${line}: ${message}`).join("\n");
}

function checkBreaking(): string {
  const broken = breakingChanges(repositoryRoot);
  return broken === "" ? "" : `${broken}\nsee "The wire contract" in CONTRIBUTING.md`;
}

function checkGenerated(): string {
  const directory = mkdtempSync(join(tmpdir(), "baton-generated-"));
  try {
    const failed = tool("buf", ["generate", "--include-imports", "--output", directory]);
    if (failed !== "") return failed;
    const pathOf = (path: string): string => path.slice("src/gen/".length);
    const wanted = new Map(sourceFiles(directory, ["src/gen"]).map(({ path, text }) => [pathOf(path), text]));
    const present = new Map(sourceFiles(repositoryRoot, ["src/gen"]).map(({ path, text }) => [pathOf(path), text]));
    const differing = [...new Set([...wanted.keys(), ...present.keys()])].filter(
      (path) => wanted.get(path) !== present.get(path),
    );
    return differing.map((path) => `src/gen/${path} is not what proto/ says: run  npm run generate`).join("\n");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function nameLongFiles(): void {
  for (const { path, text } of sourceFiles(repositoryRoot, ["src", "services"])) {
    const lines = text.split("\n").length - 1;
    if (lines > fileLinesMax && !path.startsWith("src/gen/"))
      process.stdout.write(`note: ${path} has ${lines} lines\n`);
  }
}

function main(only: readonly string[]): void {
  const unknown = only.filter((name) => !steps.some((step) => step.name === name));
  if (unknown.length > 0) {
    process.stderr.write(
      `check: no step ${unknown.join(", ")}; there are ${steps.map(({ name }) => name).join(", ")}\n`,
    );
    process.exitCode = 2;
    return;
  }
  const chosen = steps.filter((step) => only.length === 0 || only.includes(step.name));
  const results = chosen.map((step) => {
    const startMs = performance.now();
    const fault = step.run();
    if (fault !== "") process.stdout.write(`${fault}\n\n`);
    return { step, fault, seconds: ((performance.now() - startMs) / 1000).toFixed(1) };
  });
  nameLongFiles();
  for (const { step, fault, seconds } of results) {
    const outcome = fault === "" ? "ok" : "FAILED";
    process.stdout.write(`  ${step.name.padEnd(10)} ${outcome.padEnd(7)} ${seconds.padStart(5)} s  ${step.about}\n`);
  }
  const failed = results.filter(({ fault }) => fault !== "").length;
  process.stdout.write(`check: ${results.length - failed} passed, ${failed} failed\n`);
  process.exitCode = failed === 0 ? 0 : 1;
}

main(process.argv.slice(2));
