/** `npm run bench -- NAME [--json]`: measurements on this machine. */
import { parseArgs } from "node:util";
import { benchEvents, eventsDefaults, eventsTable } from "./events.ts";
import { benchFollow, type FollowResult, gigabits } from "./follow.ts";
import { trackerTable } from "./tracker/report.ts";
import { benchTracker, trackerDefaults } from "./tracker.ts";

/** Many short ones: a machine that others use changes its pace within seconds. */
const defaultPairs = 21;
const defaultSeconds = 1;
const wrongUsage = 2;
const usage = `usage: npm run bench -- NAME [--json] [OPTIONS]

  follow   throughput of followed connections against plain routing over the same extra hop
             --pairs ${defaultPairs}  --seconds ${defaultSeconds}
  events   what short connections cost an agent: processor time, messages, events lost
             --rate ${eventsDefaults.rate} connections a second  --seconds ${eventsDefaults.seconds}
             --budget ${eventsDefaults.messagesPerSecond} messages a second of the cluster
  tracker  ingest, look-ups, memory and recovery of a tracker, beside LevelDB alone and redis-server
             --flows ${trackerDefaults.flows}  --pairs ${trackerDefaults.pairs}
`;

interface Surroundings {
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

interface Output {
  readonly result: unknown;
  readonly table: string;
}

type Measurement = (surroundings: Surroundings) => Promise<Output>;

function followTable(result: FollowResult): string {
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

type Values = Readonly<Record<string, string | undefined>>;

/** By name: which options it takes, and what they make it do. */
const measurements: Readonly<
  Record<string, { readonly options: readonly string[]; readonly of: (values: Values) => Measurement }>
> = {
  follow: {
    options: ["pairs", "seconds"],
    of: (values) => {
      const pairs = Math.trunc(within(values["pairs"] ?? defaultPairs, 1, 1_000));
      const seconds = within(values["seconds"] ?? defaultSeconds, 0.5, 600);
      return (surroundings) => follow(pairs, seconds, surroundings);
    },
  },
  events: {
    options: ["rate", "seconds", "budget"],
    of: (values) => {
      const rate = within(values["rate"] ?? eventsDefaults.rate, 1, 100_000);
      const seconds = within(values["seconds"] ?? eventsDefaults.seconds, 1, 600);
      const messagesPerSecond = within(values["budget"] ?? eventsDefaults.messagesPerSecond, 1, 1_000_000);
      return (surroundings) => events({ rate, seconds, messagesPerSecond, ...surroundings });
    },
  },
  tracker: {
    options: ["flows", "pairs"],
    of: (values) => {
      const flows = Math.trunc(within(values["flows"] ?? trackerDefaults.flows, 1_000, 10_000_000));
      const pairs = Math.trunc(within(values["pairs"] ?? trackerDefaults.pairs, 1, 100));
      return (surroundings) => tracker({ flows, pairs, ...surroundings });
    },
  },
};

/** Undefined: not to be understood. */
function readArguments(): { json: boolean; measure: Measurement } | undefined {
  try {
    const option = { type: "string" } as const;
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        json: { type: "boolean" },
        pairs: option,
        seconds: option,
        rate: option,
        budget: option,
        flows: option,
      },
    });
    const { json = false, ...given } = values;
    const [name = "", ...more] = positionals;
    const measurement = measurements[name];
    if (measurement === undefined || more.length > 0) return undefined;
    if (Object.keys(given).some((it) => !measurement.options.includes(it))) return undefined;
    return { json, measure: measurement.of(given) };
  } catch {
    return undefined;
  }
}

/** Throws when it is no number of that range. */
function within(text: string | number, min: number, max: number): number {
  const value = Number(text);
  if (!(value >= min && value <= max)) throw new RangeError(`${text}: expected ${min} to ${max}`);
  return value;
}

async function follow(pairs: number, seconds: number, surroundings: Surroundings): Promise<Output> {
  const result = await benchFollow({ pairs, seconds, ...surroundings });
  return { result, table: followTable(result) };
}

async function events(options: Parameters<typeof benchEvents>[0]): Promise<Output> {
  const result = await benchEvents(options);
  return { result, table: eventsTable(result) };
}

async function tracker(options: Parameters<typeof benchTracker>[0]): Promise<Output> {
  const result = await benchTracker(options);
  return { result, table: trackerTable(result) };
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
    const { result, table } = await wanted.measure({ say, signal: controller.signal });
    process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : `\n${table}\n`);
    return 0;
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n`);
    return 1;
  }
}

process.exitCode = await main();
