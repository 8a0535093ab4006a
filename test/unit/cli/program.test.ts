import { spawnSync } from "node:child_process";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { completionScripts, shellNames } from "../../../services/cli/completion/scripts.ts";
import { describeTree } from "../../../services/cli/completion/tree.ts";
import { judgeGreeting, natsAddress } from "../../../services/cli/doctor/cluster.ts";
import { buildProgram } from "../../../services/cli/program.ts";
import { createShell } from "../../../services/cli/shell.ts";
import { processTerminal } from "../../../services/cli/terminal.ts";
import { systemClock } from "../../../src/runtime/clock.ts";

const shell = createShell(processTerminal({}), {}, systemClock, new AbortController().signal);
const program = buildProgram({ shell, finish: () => {}, handOver: () => {} });

function leavesOf(command: Command, path: readonly string[]): [string, Command][] {
  if (command.commands.length === 0) return [[path.join(" "), command]];
  return command.commands.flatMap((child) => leavesOf(child, [...path, child.name()]));
}

const commands = leavesOf(program, ["baton"]);
const services = ["agent", "gateway", "tracker", "coordinator"];
const asking = commands.filter(([name]) => ![...services, "completion"].includes(name.split(" ")[1] ?? ""));

function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  return text;
}

describe("the command tree", () => {
  it("has the commands that scripts rely on", () => {
    expect(commands.map(([name]) => name)).toEqual([
      "baton addresses list",
      "baton addresses add",
      "baton addresses rm",
      "baton instances list",
      "baton instances rm",
      "baton gateways list",
      "baton gateways rm",
      "baton remap",
      "baton remaps list",
      "baton remaps show",
      "baton remaps watch",
      "baton remaps abort",
      "baton remaps cut",
      "baton remaps release",
      "baton remaps deadline",
      "baton flows",
      "baton cluster members",
      "baton cluster begin-anew",
      "baton cluster shards",
      "baton cluster move",
      "baton cluster buckets",
      "baton doctor",
      "baton completion",
      "baton agent",
      "baton gateway",
      "baton tracker",
      "baton coordinator",
    ]);
  });

  it.each(commands)("%s has help with an example of itself", (name, command) => {
    expect(helpOf(command)).toMatch(new RegExp(`Examples:\\n {2}${name}\\b`));
  });

  it.each(asking)("%s takes --json and --endpoint", (_name, command) => {
    expect(command.options.map((option) => option.long)).toEqual(expect.arrayContaining(["--json", "--endpoint"]));
  });
});

describe("completion", () => {
  const tree = describeTree(program);

  it("for bash is a script that bash takes, and offers what fits the words so far", () => {
    const script = completionScripts.bash(tree);
    const complete = (...words: string[]) => {
      const list = ["baton", ...words].map((word) => `'${word}'`).join(" ");
      const ask = `${script}\nCOMP_WORDS=(${list}); COMP_CWORD=${words.length}; _baton; printf '%s\\n' "\${COMPREPLY[@]}"`;
      const { stdout, stderr } = spawnSync("bash", ["-c", ask], { encoding: "utf8" });
      expect(stderr).toBe("");
      return stdout.split("\n").filter((line) => line !== "");
    };
    expect(complete("rem")).toEqual(["remap", "remaps"]);
    expect(complete("remaps", "")).toEqual(expect.arrayContaining(["list", "watch", "deadline"]));
    expect(complete("remap", "203.0.113.10", "--on-deadline", "")).toEqual(["cut", "wait", "keep"]);
    expect(complete("remap", "203.0.113.10", "--dr")).toEqual(["--dry-run"]);
    expect(complete("remap", "203.0.113.10", "--to", "")).toEqual([]);
    expect(complete("completion", "")).toEqual(expect.arrayContaining([...shellNames]));
    expect(complete("cluster", "move", "7", "--t")).toEqual(["--to"]);
  });

  it("for zsh and fish names every command and option", () => {
    for (const name of ["zsh", "fish"] as const) {
      const script = completionScripts[name](tree);
      for (const node of tree) for (const { flag } of node.options) expect(script).toContain(flag.slice(2));
      expect(script).toContain("addresses add");
      expect(script.endsWith("\n")).toBe(true);
    }
  });
});

describe("the doctor", () => {
  it("knows NATS by its greeting, and needs JetStream of it", () => {
    const greet = (info: object) => judgeGreeting("n:4222", `INFO ${JSON.stringify(info)} \r\n`);
    expect(greet({ version: "2.10.27", jetstream: true })).toMatchObject({
      state: "ok",
      found: "n:4222, version 2.10.27, JetStream",
    });
    expect(greet({ version: "2.10.27" })).toMatchObject({ state: "failed", next: "start nats-server with -js" });
    expect(judgeGreeting("n:4222", "SSH-2.0-OpenSSH\r\n")).toMatchObject({ state: "failed" });
    expect(judgeGreeting("n:4222", "INFO {broken\r\n")).toMatchObject({ state: "failed" });
  });

  it("reads NATS servers as NATS clients do", () => {
    expect(natsAddress("nats://10.77.0.21:4333")).toEqual({ host: "10.77.0.21", port: 4333 });
    expect(natsAddress("nats1")).toEqual({ host: "nats1", port: 4222 });
    expect(natsAddress("[fd77::21]:4222")).toEqual({ host: "fd77::21", port: 4222 });
  });
});
