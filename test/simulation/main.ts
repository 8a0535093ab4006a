/** `npm run simulate -- WHAT`: scenarios in simulated time. Exit code 1: an invariant was broken; 2: wrong usage. */
import { gossipUsage, simulateGossip } from "./gossip-command.ts";
import { placementUsage, simulatePlacement } from "./placement/command.ts";

const commands: Readonly<Record<string, (args: readonly string[]) => boolean | undefined>> = {
  gossip: simulateGossip,
  placement: simulatePlacement,
};

function main([name = "", ...args]: readonly string[]): number {
  const isKept = Object.hasOwn(commands, name) ? commands[name]?.(args) : undefined;
  if (isKept !== undefined) return isKept ? 0 : 1;
  process.stderr.write(`usage, with one of the scenarios or  all :\n\n${gossipUsage}\n\n${placementUsage}\n`);
  return 2;
}

process.exitCode = main(process.argv.slice(2));
