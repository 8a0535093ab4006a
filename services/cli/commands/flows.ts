/** `baton flows`: the open connections of a public address, and who owns them. */
import type { Command } from "commander";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import type { FlowFilter } from "../../../src/rpc/coordinators.ts";
import { action, addCommand, addressArgument, type Host, integerArgument } from "../command.ts";
import { type ExitCode, exitCodes } from "../exit-code.ts";
import { flowJson, flowTable } from "../render/flows.ts";
import { type CommonOptions, type Shell, withCoordinators } from "../shell.ts";

interface FlowsOptions extends CommonOptions {
  readonly owner?: string;
  readonly peer?: IpAddress;
  readonly limit?: number;
}

const limitMax = 10_000_000;
/** Of a table, where no --limit is given: more would scroll away unread. */
const tableRowsDefault = 1_000;

export function registerFlows(program: Command, host: Host): void {
  addCommand(program, {
    usage: "flows",
    summary: "open connections of a public address, and who owns them",
    examples: [
      { command: "baton flows 203.0.113.10", what: `the first ${tableRowsDefault}` },
      { command: "baton flows 203.0.113.10 --owner vm-a --limit 20", what: "20 of those that vm-a owns" },
      { command: "baton flows 203.0.113.10 --json", what: "all of them, for a script" },
    ],
  })
    .argument("<address>", "public address", addressArgument)
    .option("--owner <instance>", "only connections that this instance owns")
    .option("--peer <address>", "only connections with this client", addressArgument)
    .option("--limit <number>", "at most this many; 0: all", integerArgument(limitMax))
    .action(
      action(host, (address: IpAddress, options: FlowsOptions) =>
        withCoordinators(host.shell, options, (coordinators) => {
          const limit = options.limit ?? (options.json ? 0 : tableRowsDefault);
          const filter: FlowFilter = {
            address,
            limit,
            ...(options.owner !== undefined && { owner: options.owner }),
            ...(options.peer !== undefined && { peer: options.peer }),
          };
          const pages = coordinators.listFlows(filter);
          return options.json ? printJson(host.shell, pages) : printTable(host.shell, pages, limit);
        }),
      ),
    );
}

/** One list, written page by page: a million flows need not fit into memory. */
async function printJson({ terminal }: Shell, pages: AsyncIterable<readonly Flow[]>): Promise<ExitCode> {
  let before = "[";
  for await (const page of pages)
    for (const flow of page) {
      terminal.write(`${before}${JSON.stringify(flowJson(flow))}`);
      before = ",";
    }
  terminal.write(before === "[" ? "[]\n" : "]\n");
  return exitCodes.done;
}

async function printTable(
  { terminal, clock }: Shell,
  pages: AsyncIterable<readonly Flow[]>,
  limit: number,
): Promise<ExitCode> {
  const flows: Flow[] = [];
  for await (const page of pages) flows.push(...page);
  terminal.lines(flowTable(flows, clock.nowMs()));
  if (limit > 0 && flows.length >= limit) terminal.note(`These are the first ${limit}; see more with --limit`);
  return exitCodes.done;
}
