/** `baton remaps`: those that run and those that ended. */
import { type Command, InvalidArgumentError } from "commander";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { Remap } from "../../../src/remap/remap.ts";
import { remapToJson } from "../../../src/remap/report.ts";
import type { Coordinators } from "../../../src/rpc/coordinators.ts";
import { action, addCommand, addGroup, addressArgument, durationArgument, type Host } from "../command.ts";
import { type ExitCode, exitCodes } from "../exit-code.ts";
import { remapDetails, remapTable } from "../render/remap.ts";
import { type CommonOptions, type Shell, withCoordinators } from "../shell.ts";
import { watchRemap } from "../watch.ts";

interface ListOptions extends CommonOptions {
  readonly address?: IpAddress;
  readonly open?: true;
}

interface OrderOptions extends CommonOptions {
  readonly yes?: true;
}

/** An order about one remap, which answers with a remap. */
interface Order {
  readonly name: "abort" | "cut" | "release";
  readonly summary: string;
  readonly what: string;
  /** Asked on a terminal; without it the order harms nobody. */
  readonly question?: string;
  give(coordinators: Coordinators, id: string): Promise<Remap>;
}

const orders: readonly Order[] = [
  {
    name: "abort",
    summary: "undo a remap: before its flip all of it, after it by a remap back",
    what: "prints the remap that is under way then",
    question: "Abort it?",
    give: (coordinators, id) => coordinators.abortRemap(id),
  },
  {
    name: "cut",
    summary: "while draining: reset the connections that are left, and finish",
    what: "resets connections",
    question: "Reset all connections that are left?",
    give: (coordinators, id) => coordinators.cutRemap(id),
  },
  {
    name: "release",
    summary: "past a deadline with --on-deadline keep: let go of what is left, and finish",
    what: "lets go of what is left",
    give: (coordinators, id) => coordinators.releaseRemap(id),
  },
];

export function registerRemaps(program: Command, host: Host): void {
  const group = addGroup(program, {
    usage: "remaps",
    summary: "remaps that run and remaps that ended",
    examples: [
      { command: "baton remaps", what: "newest first" },
      { command: "baton remaps watch 01HZX", what: "until it has ended" },
      { command: "baton remaps deadline 01HZX 1h", what: "one hour from now" },
    ],
  });
  addList(group, host);
  addShow(group, host);
  addWatch(group, host);
  for (const order of orders) addOrder(group, host, order);
  addDeadline(group, host);
}

function addList(group: Command, host: Host): void {
  const { shell } = host;
  addCommand(
    group,
    {
      usage: "list",
      summary: "list the remaps, newest first",
      examples: [{ command: "baton remaps list --open --json", what: "those that have not ended" }],
    },
    { isDefault: true },
  )
    .option("--address <address>", "only of this public address", addressArgument)
    .option("--open", "only those that have not ended")
    .action(
      action(host, (options: ListOptions) =>
        withCoordinators(shell, options, async (coordinators) => {
          const filter = { openOnly: options.open === true, ...(options.address && { address: options.address }) };
          const remaps = await coordinators.listRemaps(filter);
          if (options.json) shell.terminal.json(remaps.map(remapToJson));
          else shell.terminal.lines(remapTable(remaps, shell.clock.nowMs()));
          return exitCodes.done;
        }),
      ),
    );
}

function addShow(group: Command, host: Host): void {
  addCommand(group, {
    usage: "show",
    summary: "show one remap: its phase, what it measured, what it waits for",
    examples: [{ command: "baton remaps show 01HZX", what: "its report" }],
  })
    .argument("<id>", "id of the remap")
    .action(
      action(host, (id: string, options: CommonOptions) =>
        withCoordinators(host.shell, options, async (coordinators) =>
          showRemap(host.shell, await coordinators.getRemap(id), options),
        ),
      ),
    );
}

function addWatch(group: Command, host: Host): void {
  addCommand(group, {
    usage: "watch",
    summary: "watch a remap until it has ended; Ctrl-C stops watching, never the remap",
    examples: [
      { command: "baton remaps watch 01HZX", what: "exit code 0 completed, 1 aborted, 130 Ctrl-C" },
      { command: "baton remaps watch 01HZX --json", what: "one object a line, for each change" },
    ],
  })
    .argument("<id>", "id of the remap")
    .action(
      action(host, (id: string, options: CommonOptions) =>
        withCoordinators(host.shell, options, (coordinators) =>
          watchRemap(host.shell, coordinators, { id, goal: "completed", json: options.json === true }),
        ),
      ),
    );
}

function addOrder(group: Command, host: Host, order: Order): void {
  const { terminal, signal } = host.shell;
  addCommand(group, {
    usage: order.name,
    summary: order.summary,
    examples: [{ command: `baton remaps ${order.name} 01HZX`, what: order.what }],
  })
    .argument("<id>", "id of the remap")
    .option("--yes", "don't ask")
    .action(
      action(host, (id: string, options: OrderOptions) =>
        withCoordinators(host.shell, options, async (coordinators) => {
          const asks = order.question !== undefined && terminal.interactive && !options.yes && !options.json;
          if (asks && !(await terminal.confirm(order.question ?? "", signal))) {
            terminal.note("Nothing was changed.");
            return exitCodes.failed;
          }
          return showRemap(host.shell, await order.give(coordinators, id), options);
        }),
      ),
    );
}

function addDeadline(group: Command, host: Host): void {
  addCommand(group, {
    usage: "deadline",
    summary: "move the deadline of a remap",
    examples: [
      { command: "baton remaps deadline 01HZX 1h", what: "one hour from now" },
      { command: "baton remaps deadline 01HZX none", what: "take it away" },
    ],
  })
    .argument("<id>", "id of the remap")
    .argument("<duration>", "from now, or none", deadlineArgument)
    .action(
      action(host, (id: string, deadline: number | "none", options: CommonOptions) =>
        withCoordinators(host.shell, options, async (coordinators) => {
          const remap = await coordinators.setDeadline(id, deadline === "none" ? undefined : deadline);
          return showRemap(host.shell, remap, options);
        }),
      ),
    );
}

function deadlineArgument(text: string): number | "none" {
  if (text === "none") return text;
  try {
    return durationArgument(text);
  } catch (error) {
    throw error instanceof InvalidArgumentError ? new InvalidArgumentError(`${error.message} Or: none.`) : error;
  }
}

function showRemap({ terminal, clock }: Shell, remap: Remap, options: CommonOptions): ExitCode {
  if (options.json) terminal.json(remapToJson(remap));
  else terminal.lines(remapDetails(remap, clock.nowMs()));
  return exitCodes.done;
}
