/** `npm run bench -- NAME [--json]`: measurements in pairs, on this machine, in network namespaces. */
import { parseArgs } from "node:util";
import { benchFollow, type FollowResult, gigabits } from "./follow.ts";

const defaultPairs = 7;
const defaultSeconds = 2;
const wrongUsage = 2;
const usage = `usage: npm run bench -- NAME [--json] [--pairs ${defaultPairs}] [--seconds ${defaultSeconds}]

  follow   throughput of followed connections against plain routing over the same extra hop
`;

function table(result: FollowResult): string {
  const lines = [`${result.subject}, against ${result.peer}`, ""];
  const head = ["", "pairs", "followed", "plain", "ratio: median", "min", "max"];
  lines.push(row(head));
  for (const { direction, pairs, subject, peer, ratio } of result.rows) {
    const ratios = [ratio.median, ratio.min, ratio.max].map((value) => value.toFixed(3));
    lines.push(row([direction, String(pairs), gigabits(subject.median), gigabits(peer.median), ...ratios]));
  }
  lines.push(
    "",
    `Each measurement lasts ${result.secondsEach} s; throughputs are medians; ratios are taken pair by pair.`,
  );
  return lines.join("\n");
}

function row(cells: readonly string[]): string {
  const widths = [18, 7, 15, 15, 15, 8, 8];
  return cells
    .map((cell, index) => (index === 0 ? cell.padEnd : cell.padStart).call(cell, widths[index] ?? 0))
    .join("");
}

/** Undefined: not to be understood. */
function readArguments(): { name: string; json: boolean; pairs: number; seconds: number } | undefined {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: { json: { type: "boolean" }, pairs: { type: "string" }, seconds: { type: "string" } },
    });
    const pairs = Number(values.pairs ?? defaultPairs);
    const seconds = Number(values.seconds ?? defaultSeconds);
    const [name, ...more] = positionals;
    if (name !== "follow" || more.length > 0) return undefined;
    if (!Number.isInteger(pairs) || pairs < 1 || pairs > 1_000 || !(seconds >= 0.5 && seconds <= 600)) return undefined;
    return { name, json: values.json ?? false, pairs, seconds };
  } catch {
    return undefined;
  }
}

async function main(): Promise<number> {
  const wanted = readArguments();
  if (wanted === undefined) {
    process.stderr.write(usage);
    return wrongUsage;
  }
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => controller.abort());
  const say = (line: string) => process.stderr.write(`${line}\n`);
  try {
    const { pairs, seconds } = wanted;
    const result = await benchFollow({ pairs, seconds, say, signal: controller.signal });
    process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : `\n${table(result)}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main();
