/** `baton addresses`: public addresses and the instances that they are mapped to. */
import type { Command } from "commander";
import type { IpAddress } from "../../../src/flow/address.ts";
import { action, addCommand, addGroup, addressArgument, type Host } from "../command.ts";
import { exitCodes } from "../exit-code.ts";
import { addressJson, addressTable } from "../render/inventory.ts";
import { type CommonOptions, withCoordinators } from "../shell.ts";

interface AddOptions extends CommonOptions {
  readonly instance: string;
  readonly private?: IpAddress;
}

export function registerAddresses(program: Command, host: Host): void {
  const { shell } = host;
  const { terminal } = shell;
  const group = addGroup(program, {
    usage: "addresses",
    summary: "public addresses and where they are mapped",
    examples: [
      { command: "baton addresses", what: "all of them" },
      { command: "baton addresses add 203.0.113.10 --instance vm-a", what: "map one" },
    ],
  });

  addCommand(
    group,
    {
      usage: "list",
      summary: "list the public addresses",
      examples: [{ command: "baton addresses list --json", what: "for a script" }],
    },
    { isDefault: true },
  ).action(
    action(host, (options: CommonOptions) =>
      withCoordinators(shell, options, async (coordinators) => {
        const views = await coordinators.listAddresses();
        if (options.json) terminal.json(views.map(addressJson));
        else terminal.lines(addressTable(views));
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "add",
    summary: "map a new public address to an instance",
    examples: [
      { command: "baton addresses add 203.0.113.10 --instance vm-a", what: "to its first free private address" },
      { command: "baton addresses add 203.0.113.10 --instance vm-a --private 10.77.0.11", what: "to this one" },
    ],
  })
    .argument("<address>", "public address", addressArgument)
    .requiredOption("--instance <name>", "instance that is to have it")
    .option("--private <address>", "the instance's private address for it", addressArgument)
    .action(
      action(host, (address: IpAddress, options: AddOptions) =>
        withCoordinators(shell, options, async (coordinators) => {
          const view = await coordinators.addAddress(address, options.instance, options.private);
          if (options.json) terminal.json(addressJson(view));
          else terminal.lines([[`${view.address} is mapped to ${view.instance} (${view.private})`]]);
          return exitCodes.done;
        }),
      ),
    );

  addCommand(group, {
    usage: "rm",
    summary: "take a public address away; its connections end",
    examples: [{ command: "baton addresses rm 203.0.113.10", what: "refused while a remap of it has not ended" }],
  })
    .argument("<address>", "public address", addressArgument)
    .action(
      action(host, (address: IpAddress, options: CommonOptions) =>
        withCoordinators(shell, options, async (coordinators) => {
          await coordinators.removeAddress(address);
          if (options.json) terminal.json({ removed: address });
          else terminal.lines([[`${address} is not mapped any more`]]);
          return exitCodes.done;
        }),
      ),
    );
}
