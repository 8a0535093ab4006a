/** `baton cluster`: its members, and where the shards are. */
import type { Command } from "commander";
import { action, addCommand, addGroup, type Host, integerArgument } from "../command.ts";
import { exitCodes } from "../exit-code.ts";
import { memberJson, memberTable, shardJson, shardTable } from "../render/cluster.ts";
import { type CommonOptions, withCoordinators } from "../shell.ts";

interface MoveOptions extends CommonOptions {
  readonly to: string;
}

const shardMax = 65_535;

export function registerCluster(program: Command, host: Host): void {
  const { shell } = host;
  const { terminal } = shell;
  const group = addGroup(program, {
    usage: "cluster",
    summary: "members of the cluster and where the flow shards are",
    examples: [
      { command: "baton cluster", what: "members" },
      { command: "baton cluster shards", what: "who holds which shard" },
    ],
  });

  addCommand(
    group,
    {
      usage: "members",
      summary: "list the members",
      examples: [{ command: "baton cluster members --json", what: "for a script" }],
    },
    { isDefault: true },
  ).action(
    action(host, (options: CommonOptions) =>
      withCoordinators(shell, options, async (coordinators) => {
        const members = await coordinators.listMembers();
        if (options.json) terminal.json(members.map(memberJson));
        else terminal.lines(memberTable(members));
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "begin-anew",
    summary: "give orders to nodes that are held back, as after the loss of the store",
    examples: [
      { command: "baton cluster begin-anew", what: "when baton addresses is right; whatever else they pass on ends" },
    ],
  }).action(
    action(host, (options: CommonOptions) =>
      withCoordinators(shell, options, async (coordinators) => {
        const nodes = await coordinators.beginAnew();
        if (options.json) terminal.json({ nodes: [...nodes] });
        else terminal.lines([[`${nodes.join(", ")}: no longer held back`]]);
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "shards",
    summary: "list the shards: primary, standby, how far behind",
    examples: [{ command: "baton cluster shards", what: "all of them" }],
  }).action(
    action(host, (options: CommonOptions) =>
      withCoordinators(shell, options, async (coordinators) => {
        const shards = await coordinators.listShards();
        if (options.json) terminal.json(shards.map(shardJson));
        else terminal.lines(shardTable(shards));
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "move",
    summary: "move a shard to another member",
    examples: [{ command: "baton cluster move 7 --to tracker2", what: "with all that it knows" }],
  })
    .argument("<shard>", "number of the shard", integerArgument(shardMax))
    .requiredOption("--to <member>", "member that is to be its primary")
    .action(
      action(host, (shard: number, options: MoveOptions) =>
        withCoordinators(shell, options, async (coordinators) => {
          const epoch = await coordinators.moveShard(shard, options.to);
          if (options.json) terminal.json({ shard, primary: options.to, epoch: Number(epoch) });
          else terminal.lines([[`Shard ${shard} is at ${options.to} from epoch ${epoch} on`]]);
          return exitCodes.done;
        }),
      ),
    );
}
