/** `baton completion`: a script for a shell, made from the commands themselves. */
import { Argument, type Command } from "commander";
import { action, addGroup, type Host } from "../command.ts";
import { completionScripts, type ShellName, shellNames } from "../completion/scripts.ts";
import { describeTree } from "../completion/tree.ts";
import { exitCodes } from "../exit-code.ts";

export function registerCompletion(program: Command, host: Host): void {
  addGroup(program, {
    usage: "completion",
    summary: "print a completion script",
    examples: [
      { command: "baton completion bash > /etc/bash_completion.d/baton", what: "for all users of bash" },
      { command: "baton completion zsh > /usr/local/share/zsh/site-functions/_baton", what: "for zsh" },
      { command: "baton completion fish > ~/.config/fish/completions/baton.fish", what: "for fish" },
    ],
  })
    .addArgument(new Argument("<shell>", "bash, zsh or fish").choices(shellNames))
    .action(
      action(host, async (shell: ShellName) => {
        host.shell.terminal.write(completionScripts[shell](describeTree(program)));
        return exitCodes.done;
      }),
    );
}
