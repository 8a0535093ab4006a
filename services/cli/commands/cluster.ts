/** `baton cluster`: its members, and where the shards are. */
import type { Command } from "commander";
import type { IpAddress } from "../../../src/flow/address.ts";
import { bucketsMax } from "../../../src/placement/layout.ts";
import type { ShardView } from "../../../src/rpc/cluster-codec.ts";
import type { Coordinators } from "../../../src/rpc/coordinators.ts";
import { sleep } from "../../../src/runtime/retry.ts";
import { action, addCommand, addGroup, addressArgument, type Host, integerArgument } from "../command.ts";
import { type ExitCode, exitCodes } from "../exit-code.ts";
import { CommandFailed } from "../failure.ts";
import { bucketTable, memberJson, memberTable, shardJson, shardTable } from "../render/cluster.ts";
import { type CommonOptions, type Shell, withCoordinators } from "../shell.ts";

interface MoveOptions extends CommonOptions {
  readonly to?: string;
  readonly unpin?: true;
  readonly wait?: true;
}

interface BucketOptions extends CommonOptions {
  readonly wait?: true;
}

const waitPollMs = 250;

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
        const view = await coordinators.shards();
        if (options.json) terminal.json(view.shards.map((shard) => shardJson(shard, view.addresses)));
        else terminal.lines([...shardTable(view.shards), ...bucketTable(view.addresses)]);
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "move",
    summary: "move a shard to another member, where it stays until it is moved again or unpinned",
    examples: [
      { command: "baton cluster move 7 --to tracker2", what: "tracker2 becomes its primary" },
      { command: "baton cluster move 7 --to tracker2 --wait", what: "returns when tracker2 serves it" },
      { command: "baton cluster move 7 --unpin", what: "it stays, and may be moved by itself again" },
    ],
  })
    .argument("<shard>", "number of the shard", integerArgument(shardMax))
    .option("--to <member>", "member that is to be its primary")
    .option("--unpin", "instead of moving it, let it be moved by itself again")
    .option("--wait", "return only when the new primary serves it")
    .action(action(host, (shard: number, options: MoveOptions) => move(shell, shard, options)));

  addCommand(group, {
    usage: "buckets",
    summary: "put the flows of a hot address into more shards, or into fewer again",
    examples: [
      { command: "baton cluster buckets 203.0.113.10 4", what: "its flows lie in four shards" },
      { command: "baton cluster buckets 203.0.113.10 1 --wait", what: "in one again; returns when all have moved" },
    ],
  })
    .argument("<address>", "public address", addressArgument)
    .argument("<count>", "number of buckets, each in a shard of its own", integerArgument(bucketsMax))
    .option("--wait", "return only when all flows have moved")
    .action(
      action(host, (address: IpAddress, count: number, options: BucketOptions) =>
        setBuckets(shell, address, count, options),
      ),
    );
}

async function setBuckets(shell: Shell, address: IpAddress, count: number, options: BucketOptions): Promise<ExitCode> {
  return await withCoordinators(shell, options, async (coordinators) => {
    const { epoch, layout } = await coordinators.setBuckets(address, count);
    const { buckets, generation } = layout;
    if (options.wait) await untilSettled(coordinators, address, generation, shell.signal);
    if (options.json) shell.terminal.json({ address, buckets, generation, epoch: Number(epoch) });
    else {
      const what = buckets === 1 ? "one bucket" : `${buckets} buckets`;
      shell.terminal.lines([[`${address} has ${what} from epoch ${epoch} on`]]);
    }
    return exitCodes.done;
  });
}

/** By this generation, or by a later one. */
async function untilSettled(
  coordinators: Coordinators,
  address: IpAddress,
  generation: number,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    const { addresses } = await coordinators.shards();
    const { layout } = addresses.find((it) => it.address === address) ?? {};
    if (layout?.before === undefined || layout.generation !== generation) return;
    await sleep(waitPollMs, signal);
  }
}

async function move(shell: Shell, shard: number, options: MoveOptions): Promise<ExitCode> {
  const { to, unpin = false, wait = false } = options;
  if ((to === undefined) !== unpin)
    throw new CommandFailed(exitCodes.wrongUsage, "expected either --to MEMBER or --unpin");
  return await withCoordinators(shell, options, async (coordinators) => {
    const epoch = to === undefined ? await coordinators.unpinShard(shard) : await coordinators.moveShard(shard, to);
    const view = wait ? await untilServed(coordinators, shard, shell.signal) : undefined;
    const what = to === undefined ? "may be moved by itself" : `is at ${to}`;
    if (options.json)
      shell.terminal.json({
        shard,
        ...(to !== undefined && { primary: to }),
        epoch: Number(epoch),
        ...(view && { state: view.state }),
      });
    else shell.terminal.lines([[`Shard ${shard} ${what} from epoch ${epoch} on`]]);
    return exitCodes.done;
  });
}

/** Whoever is its primary then: another move may have come between. */
async function untilServed(coordinators: Coordinators, shard: number, signal: AbortSignal): Promise<ShardView> {
  for (;;) {
    const view = (await coordinators.listShards()).find((it) => it.shard === shard);
    if (view?.state === "serving") return view;
    await sleep(waitPollMs, signal);
  }
}
