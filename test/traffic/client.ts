/**
 * The measuring client: opens connections and writes down what each one saw.
 *
 *   node test/traffic/client.ts
 *
 * Reads one command of protocol.ts a line from stdin, `{"id":1, "do":…}`, and answers each with one line,
 * `{"id":1, "ok":true, "result":…}`. Ends when stdin ends.
 */
import { createInterface } from "node:readline";
import { monotonicMs, OwnDelay } from "./clock.ts";
import { Connection } from "./connection.ts";
import type { Command, Kind, OpenCommand, Report } from "./protocol.ts";
import { summarize } from "./summary.ts";
import { Visitor } from "./visitor.ts";

/** SYNs at once, so that a burst does not overflow a listener's queue. */
const openBurst = 64;
const mostConnections = 65_536;

const connections: Connection[] = [];
const ownDelay = new OwnDelay();
let visitor: Visitor | undefined;

async function open(command: OpenCommand): Promise<void> {
  if (connections.length + command.count > mostConnections) throw new Error(`more than ${mostConnections} connections`);
  const burst = command.eager === true ? command.count : openBurst;
  for (let index = 0; index < command.count; index += burst) {
    const size = Math.min(burst, command.count - index);
    const opened = Array.from({ length: size }, (_, i) => new Connection(connections.length + i, command, index + i));
    connections.push(...opened);
    if (command.eager !== true) await Promise.all(opened.map((one) => one.until(() => one.settled)));
  }
}

function report(group: string | undefined, withRecords: boolean): Report {
  const records = inGroup(group).map((connection) => connection.record());
  return {
    nowMs: monotonicMs(),
    kinds: summarize(records),
    records: withRecords ? records : [],
    visits: visitor?.visits ?? [],
    ownDelayMs: Math.round(ownDelay.longestMs * 10) / 10,
  };
}

function inGroup(group: string | undefined, kind?: Kind): Connection[] {
  return connections.filter(
    (connection) => (group ?? connection.group) === connection.group && (kind ?? connection.kind) === connection.kind,
  );
}

async function obey(command: Command): Promise<unknown> {
  switch (command.do) {
    case "open":
      await open(command);
      return report(command.group, false).kinds;
    case "ping":
      await Promise.all(inGroup(command.group).map((connection) => connection.ping()));
      return report(command.group, false).kinds;
    case "close":
      await Promise.all(inGroup(command.group, command.kind).map((connection) => connection.close()));
      return report(command.group, false).kinds;
    case "reset":
      for (const connection of inGroup(command.group)) connection.reset();
      return report(command.group, false).kinds;
    case "mark":
      for (const connection of connections) connection.mark();
      ownDelay.mark();
      return { nowMs: monotonicMs() };
    case "visit":
      await visitor?.rest();
      visitor = new Visitor(command.to, command.everyMs);
      return {};
    case "rest":
      await visitor?.rest();
      return visitor?.visits ?? [];
    case "report":
      return report(command.group, command.records ?? false);
    default:
      command satisfies never;
      throw new Error("unknown command");
  }
}

async function answer(line: string): Promise<void> {
  const { id, ...command } = JSON.parse(line) as Command & { id: number };
  const reply = await obey(command as Command).then(
    (result) => ({ id, ok: true, result }),
    (error: unknown) => ({ id, ok: false, error: error instanceof Error ? error.message : String(error) }),
  );
  process.stdout.write(`${JSON.stringify(reply)}\n`);
}

const input = createInterface({ input: process.stdin });
input.on("line", (line) => void answer(line));
input.on("close", () => process.exit(0));
