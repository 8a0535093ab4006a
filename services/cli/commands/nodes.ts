/** `baton instances` and `baton gateways`: the nodes, and giving up a dead one. */
import type { Command } from "commander";
import type { Json } from "../../../src/remap/report.ts";
import type { Coordinators } from "../../../src/rpc/coordinators.ts";
import { action, addCommand, addGroup, type Host } from "../command.ts";
import { exitCodes } from "../exit-code.ts";
import { gatewayJson, gatewayTable, instanceJson, instanceTable } from "../render/inventory.ts";
import type { Line } from "../render/text.ts";
import { type CommonOptions, withCoordinators } from "../shell.ts";

/** What differs between the two kinds. */
interface NodeGroup<View> {
  readonly name: string;
  readonly noun: string;
  readonly example: string;
  readonly condition: string;
  list(coordinators: Coordinators): Promise<View[]>;
  remove(coordinators: Coordinators, name: string): Promise<void>;
  json(view: View): Json;
  table(views: readonly View[], nowMs: number): Line[];
}

export function registerInstances(program: Command, host: Host): void {
  registerGroup(program, host, {
    name: "instances",
    noun: "instance",
    example: "vm-a",
    condition: "refused while an address is mapped to it",
    list: (coordinators) => coordinators.listInstances(),
    remove: (coordinators, name) => coordinators.removeInstance(name),
    json: instanceJson,
    table: instanceTable,
  });
}

export function registerGateways(program: Command, host: Host): void {
  registerGroup(program, host, {
    name: "gateways",
    noun: "gateway",
    example: "gw1",
    condition: "refused while it is connected",
    list: (coordinators) => coordinators.listGateways(),
    remove: (coordinators, name) => coordinators.removeGateway(name),
    json: gatewayJson,
    table: gatewayTable,
  });
}

function registerGroup<View>(program: Command, host: Host, nodes: NodeGroup<View>): void {
  const { shell } = host;
  const { terminal } = shell;
  const { name, noun, example, condition } = nodes;
  const group = addGroup(program, {
    usage: name,
    summary: `${noun}s that were ever seen`,
    examples: [
      { command: `baton ${name}`, what: "all of them" },
      { command: `baton ${name} rm ${example}`, what: "give up a dead one" },
    ],
  });

  addCommand(
    group,
    {
      usage: "list",
      summary: `list the ${noun}s`,
      examples: [{ command: `baton ${name} list --json`, what: "for a script" }],
    },
    { isDefault: true },
  ).action(
    action(host, (options: CommonOptions) =>
      withCoordinators(shell, options, async (coordinators) => {
        const views = await nodes.list(coordinators);
        if (options.json) terminal.json(views.map(nodes.json));
        else terminal.lines(nodes.table(views, shell.clock.nowMs()));
        return exitCodes.done;
      }),
    ),
  );

  addCommand(group, {
    usage: "rm",
    summary: `give up a dead ${noun}: nothing waits for it any more`,
    examples: [{ command: `baton ${name} rm ${example}`, what: condition }],
  })
    .argument("<name>", `name of the ${noun}`)
    .action(
      action(host, (node: string, options: CommonOptions) =>
        withCoordinators(shell, options, async (coordinators) => {
          await nodes.remove(coordinators, node);
          if (options.json) terminal.json({ removed: node });
          else terminal.lines([[`${noun} ${node} is given up`]]);
          return exitCodes.done;
        }),
      ),
    );
}
