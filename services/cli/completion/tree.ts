/** The command tree as completion scripts need it. */
import type { Command } from "commander";

export interface CompletionNode {
  /** Words after "baton", with one space between; empty: the program itself. */
  readonly path: string;
  readonly subcommands: readonly Word[];
  readonly options: readonly CompletionOption[];
  /** What the first argument may be, where that is a closed list. */
  readonly choices: readonly string[];
}

export interface Word {
  readonly name: string;
  readonly summary: string;
}

export interface CompletionOption {
  /** With its dashes. */
  readonly flag: string;
  readonly summary: string;
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** The value is a file. */
  readonly file: boolean;
}

/** The program first, then every command below it. */
export function describeTree(program: Command): CompletionNode[] {
  return describe(program, []);
}

function describe(command: Command, path: readonly string[]): CompletionNode[] {
  const help = command.createHelp();
  const subcommands = help.visibleCommands(command).filter((child) => child.name() !== "help");
  const node: CompletionNode = {
    path: path.join(" "),
    subcommands: subcommands.map((child) => ({ name: child.name(), summary: child.description() })),
    options: help.visibleOptions(command).map((option) => ({
      flag: option.long ?? option.short ?? "",
      summary: option.description,
      takesValue: option.required || option.optional,
      choices: option.argChoices ?? [],
      file: option.flags.includes("<file>"),
    })),
    choices: command.registeredArguments[0]?.argChoices ?? [],
  };
  return [node, ...subcommands.flatMap((child) => describe(child, [...path, child.name()]))];
}
