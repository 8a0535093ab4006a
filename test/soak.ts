/**
 * `npm run soak`: what takes too long for `npm test`, and a table of what came of it. Exit code 1: a figure is missed or
 * an invariant broken. `-- --only NAME` runs one line of it, `--seeds N` fewer or more than the usual.
 */
import { parseArgs } from "node:util";
import { type SoakLine, soakList } from "./simulation/soak-list.ts";
import { processorMs } from "./simulation/stopwatch.ts";

const wrongUsage = 2;
const seedsMax = 10_000;

function usage(): string {
  const names = soakList.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`);
  return `usage: npm run soak [-- --only NAME] [-- --seeds N]\n\n${names.join("\n")}\n`;
}

/** Undefined: not to be understood. */
function readArguments(): { readonly lines: readonly SoakLine[]; readonly seeds: number | undefined } | undefined {
  try {
    const { values } = parseArgs({ options: { only: { type: "string" }, seeds: { type: "string" } } });
    const lines = soakList.filter(({ name }) => values.only === undefined || name === values.only);
    const seeds = values.seeds === undefined ? undefined : Number(values.seeds);
    if (lines.length === 0) return undefined;
    if (seeds !== undefined && !(Number.isInteger(seeds) && seeds >= 1 && seeds <= seedsMax)) return undefined;
    return { lines, seeds };
  } catch {
    return undefined;
  }
}

function main(): number {
  const wanted = readArguments();
  if (wanted === undefined) {
    process.stderr.write(usage());
    return wrongUsage;
  }
  let failed = 0;
  for (const line of wanted.lines) {
    const seeds = wanted.seeds ?? line.seeds;
    process.stdout.write(`\n${line.name}: ${line.about}, ${seeds} seeds\n`);
    const { figures, violations } = line.measure(seeds, processorMs, (text) => process.stderr.write(`  ${text}\n`));
    for (const { what, value, unit, limit, isWithin } of figures) {
      if (!isWithin) failed++;
      const outcome = isWithin ? "ok" : "MISSED";
      process.stdout.write(`  ${what.padEnd(46)} ${`${value} ${unit}`.padStart(14)}  ${limit.padEnd(12)} ${outcome}\n`);
    }
    for (const violation of violations) process.stdout.write(`  ${violation}\n`);
    if (violations.length > 0) failed++;
  }
  process.stdout.write(`soak: ${wanted.lines.length} measured, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
