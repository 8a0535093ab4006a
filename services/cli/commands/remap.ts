/** `baton remap`: move a public address. */
import { type Command, Option } from "commander";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { ChannelKind, ReturnPath, UnknownPolicy } from "../../../src/node/state.ts";
import type { OnDeadline, RemapPolicy } from "../../../src/remap/remap.ts";
import { remapToJson } from "../../../src/remap/report.ts";
import type { Coordinators, RemapWish } from "../../../src/rpc/coordinators.ts";
import { action, addCommand, addressArgument, durationArgument, type Example, type Host } from "../command.ts";
import { type ExitCode, exitCodes } from "../exit-code.ts";
import { previewDetails, previewJson } from "../render/remap.ts";
import { type CommonOptions, type Shell, withCoordinators } from "../shell.ts";
import { type WatchGoal, watchRemap } from "../watch.ts";

interface RemapOptions extends CommonOptions {
  readonly to: string;
  readonly deadline?: number;
  readonly onDeadline?: OnDeadline;
  readonly linger?: number;
  readonly unknown?: UnknownPolicy;
  readonly return?: ReturnPath;
  readonly channel?: ChannelKind | "auto";
  readonly follow: boolean;
  readonly offlineSource?: true;
  readonly dryRun?: true;
  readonly wait?: WatchGoal;
  readonly yes?: true;
}

const examples: readonly Example[] = [
  { command: "baton remap 203.0.113.10 --to vm-b", what: "start it" },
  { command: "baton remap 203.0.113.10 --to vm-b --dry-run", what: "see what it would do" },
  { command: "baton remap 203.0.113.10 --to vm-b --wait completed", what: "and watch until the old machine is free" },
  { command: "baton remap 203.0.113.10 --to vm-b --deadline 30m --on-deadline cut", what: "for 30 minutes at most" },
  { command: "baton remap 203.0.113.10 --to vm-b --return direct", what: "replies by-pass the new machine" },
  { command: "baton remap 203.0.113.10 --to vm-b --yes --json --wait draining", what: "for a script" },
];

export function registerRemap(program: Command, host: Host): void {
  addCommand(program, {
    usage: "remap",
    summary: "move a public address; open connections stay where they are",
    examples,
  })
    .argument("<address>", "public address", addressArgument)
    .requiredOption("--to <instance>", "instance that is to have it")
    .option("--deadline <duration>", "end the drain after this (default: none)", durationArgument)
    .addOption(
      choice("--on-deadline <what>", "reset what is left, go on, or keep the channel", ["cut", "wait", "keep"]),
    )
    .option("--linger <duration>", "how long all must stand at zero (default: 10s)", durationArgument)
    .addOption(choice("--unknown <what>", "packets of connections that nobody knows", ["follow", "drop", "reset"]))
    .addOption(
      choice(
        "--return <path>",
        "replies of old connections leave through the target, or the source answers the gateways itself",
        ["channel", "direct"],
      ),
    )
    .addOption(
      choice("--channel <kind>", "between the instances", ["auto", "direct", "vxlan", "ipip", "gre", "wireguard"]),
    )
    .option("--no-follow", "cut over at once: existing connections break")
    .option("--offline-source", "take the source offline afterwards")
    .option("--dry-run", "only say what would happen")
    .addOption(choice("--wait <phase>", "watch until it has come this far", ["draining", "completed"]))
    .option("--yes", "don't ask")
    .action(
      action(host, (address: IpAddress, options: RemapOptions) =>
        withCoordinators(host.shell, options, (coordinators) => {
          const wish = { address, target: options.to, policy: policyOf(options) };
          return options.dryRun
            ? preview(host.shell, coordinators, wish, options)
            : start(host.shell, coordinators, wish, options);
        }),
      ),
    );
}

function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices);
}

/** What was not asked for is left to the coordinator's defaults. */
function policyOf(options: RemapOptions): Partial<RemapPolicy> {
  return {
    ...(options.deadline !== undefined && { deadlineMs: options.deadline }),
    ...(options.onDeadline !== undefined && { onDeadline: options.onDeadline }),
    ...(options.linger !== undefined && { lingerMs: options.linger }),
    ...(options.unknown !== undefined && { unknown: options.unknown }),
    ...(options.return !== undefined && { returnPath: options.return }),
    ...(options.channel !== undefined && { channel: options.channel }),
    ...(!options.follow && { follow: false }),
    ...(options.offlineSource && { offlineSource: true }),
  };
}

async function preview(
  { terminal }: Shell,
  coordinators: Coordinators,
  wish: RemapWish,
  options: CommonOptions,
): Promise<ExitCode> {
  const found = await coordinators.previewRemap(wish);
  if (options.json) terminal.json(previewJson(found));
  else terminal.lines(previewDetails(found));
  return found.refusals.length > 0 ? exitCodes.refused : exitCodes.done;
}

async function start(
  shell: Shell,
  coordinators: Coordinators,
  wish: RemapWish,
  options: RemapOptions,
): Promise<ExitCode> {
  const { terminal, signal } = shell;
  if (terminal.interactive && !options.yes && !options.json) {
    const code = await preview(shell, coordinators, wish, options);
    if (code !== exitCodes.done) return code;
    if (!(await terminal.confirm("Start it?", signal))) {
      terminal.note("Nothing was begun.");
      return exitCodes.failed;
    }
  }
  const remap = await coordinators.createRemap(wish, shell.idempotencyKey);
  if (options.wait !== undefined)
    return await watchRemap(shell, coordinators, { id: remap.id, goal: options.wait, json: options.json === true });
  if (options.json) terminal.json(remapToJson(remap));
  else
    terminal.lines([
      [`Remap ${remap.id} has started: ${remap.address} from ${remap.source} to ${remap.target}.`],
      [`Watch it: baton remaps watch ${remap.id}`],
    ]);
  return exitCodes.done;
}
