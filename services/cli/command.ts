/** What all commands have in common: their options, their examples, and how one ends. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type IpAddress, parseIpAddress } from "../../src/flow/address.ts";
import { durationForms, parseDuration } from "./duration.ts";
import type { ExitCode } from "./exit-code.ts";
import type { Shell } from "./shell.ts";

/** What a group of commands is registered with. */
export interface Host {
  readonly shell: Shell;
  /** The exit code of the command that ran. */
  finish(code: ExitCode): void;
  /** A service takes over the process, its signals and its exit. */
  handOver(): void;
}

export interface Example {
  readonly command: string;
  readonly what: string;
}

export interface CommandText {
  /** Name and arguments, as commander reads them. */
  readonly usage: string;
  readonly summary: string;
  readonly examples: readonly Example[];
}

/** A command that asks coordinators. */
export function addCommand(
  parent: Command,
  text: CommandText,
  options: { readonly isDefault?: boolean } = {},
): Command {
  return withExamples(parent.command(text.usage, options).description(text.summary), text.examples)
    .addOption(new Option("--json", "print JSON, one object or list a line"))
    .addOption(
      new Option(
        "--endpoint <list>",
        "coordinators: host:port or unix:PATH, with commas between (default: BATON_ENDPOINT)",
      ),
    );
}

export function addGroup(parent: Command, text: CommandText): Command {
  return withExamples(parent.command(text.usage).description(text.summary), text.examples);
}

export function withExamples(command: Command, examples: readonly Example[]): Command {
  const width = Math.max(...examples.map((example) => example.command.length));
  const lines = examples.map((example) => `  ${example.command.padEnd(width)}  ${example.what}`);
  return command.addHelpText("after", `\nExamples:\n${lines.join("\n")}`);
}

/** The action of a command whose body returns the exit code. */
export function action<Args extends unknown[]>(
  host: Host,
  body: (...args: Args) => Promise<ExitCode>,
): (...args: Args) => Promise<void> {
  return async (...args) => host.finish(await body(...args));
}

export function addressArgument(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new InvalidArgumentError("Expected an IP address like 203.0.113.10.");
  return address;
}

export function durationArgument(text: string): number {
  const ms = parseDuration(text);
  if (ms === undefined) throw new InvalidArgumentError(`Expected ${durationForms}.`);
  return ms;
}

/** A whole number from 0 to `max`. */
export function integerArgument(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value > max) throw new InvalidArgumentError(`Expected a whole number from 0 to ${max}.`);
    return value;
  };
}
