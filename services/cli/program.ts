/** The command tree, and one run of it. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { type Host, withExamples } from "./command.ts";
import { registerAddresses } from "./commands/addresses.ts";
import { registerCluster } from "./commands/cluster.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerDoctor } from "./commands/doctor.ts";
import { registerFlows } from "./commands/flows.ts";
import { registerGateways, registerInstances } from "./commands/nodes.ts";
import { registerRemap } from "./commands/remap.ts";
import { registerRemaps } from "./commands/remaps.ts";
import { registerServices } from "./commands/services.ts";
import { type ExitCode, exitCodes } from "./exit-code.ts";
import { explainFailure } from "./failure.ts";
import type { Shell } from "./shell.ts";

const helpCodes = new Set(["commander.helpDisplayed", "commander.version"]);

export async function runProgram(shell: Shell, args: readonly string[], handOver: () => void): Promise<ExitCode> {
  let code: ExitCode = exitCodes.done;
  const finish = (ended: ExitCode): void => {
    code = ended;
  };
  try {
    await buildProgram({ shell, finish, handOver }).parseAsync(args, { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return helpCodes.has(error.code) ? exitCodes.done : exitCodes.wrongUsage;
    if (shell.signal.aborted) return exitCodes.interrupted;
    const failure = explainFailure(error);
    for (const line of failure.lines) shell.terminal.note(line);
    return failure.exitCode;
  }
}

export function buildProgram(host: Host): Command {
  const program = new Command("baton")
    .description("Moves a public IP address from one machine to another while every open connection keeps working.")
    .version(version())
    .exitOverride()
    .showHelpAfterError("next: add --help for usage and examples");
  withExamples(program, [
    { command: "baton addresses", what: "what is mapped where" },
    { command: "baton remap 203.0.113.10 --to vm-b --wait completed", what: "move it, and watch" },
    { command: "baton remaps", what: "what runs and what ended" },
  ]);
  registerAddresses(program, host);
  registerInstances(program, host);
  registerGateways(program, host);
  registerRemap(program, host);
  registerRemaps(program, host);
  registerFlows(program, host);
  registerCluster(program, host);
  registerDoctor(program, host);
  registerCompletion(program, host);
  registerServices(program, host);
  program.addHelpText(
    "after",
    "\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by a precondition, 4 unreachable, 130 stopped by Ctrl-C.",
  );
  return program;
}

function version(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}
