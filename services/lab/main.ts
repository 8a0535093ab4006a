/** `npm run lab -- COMMAND`: a whole baton cluster with its clients, in network namespaces of this machine. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { outsideEndpoints } from "./config-files.ts";
import { createLab, hostOf, openLab, rebootHost, removeLab, serviceOf, setCut, untilReady } from "./lab.ts";
import { LabError } from "./lab-error.ts";
import { checkOptions, defaultOptions, type LabOptions } from "./options.ts";
import { isHealthy, statusOf, statusText } from "./report.ts";
import { killService, pauseService, resumeService, startService, stopService } from "./services.ts";

const wrongUsage = 2;
const interrupted = 130;

interface Named {
  readonly name: string;
}

function buildProgram(signal: AbortSignal): Command {
  const program = new Command("lab")
    .description("a baton cluster with its clients, in network namespaces of this machine")
    .usage("-- COMMAND [options]")
    .exitOverride()
    .configureHelp({ showGlobalOptions: true });
  addLifeCommands(program, signal);
  addServiceCommands(program, signal);
  addHostCommands(program, signal);
  return program;
}

function addLifeCommands(program: Command, signal: AbortSignal): void {
  const up = labCommand(program, "up", "build the network, start all services, and wait until all are ready");
  for (const [flag, key, text] of countOptions) up.option(`--${flag} <number>`, text, wholeNumber, defaultOptions[key]);
  up.option("--secure", "encrypt and authenticate all connections between services");
  up.action(async (flags: LabOptions & { readonly secure?: boolean }) => await bringUp(flags, signal));
  labCommand(program, "down", "remove the lab and all that is left of it").action(async ({ name }: Named) => {
    say((await removeLab(name, signal)) ? `lab ${name} is gone` : `lab ${name} was not there`);
  });
  labCommand(program, "status", "hosts, services and cuts; exit code 1 when something is not as it should be")
    .option("--json", "one JSON object")
    .action(async ({ name, json }: Named & { readonly json?: boolean }) => {
      const status = await statusOf(openLab(name));
      say(json ? JSON.stringify(status) : statusText(status));
      if (!isHealthy(status)) process.exitCode = 1;
    });
  labCommand(program, "env", "print what a shell needs for baton to find the coordinators").action(
    ({ name }: Named) => {
      const lab = openLab(name);
      say(`export BATON_ENDPOINT=${outsideEndpoints(lab.plan, lab.directory).join(",")}`);
    },
  );
}

function addServiceCommands(program: Command, signal: AbortSignal): void {
  labCommand(program, "logs <service>", "print what a service has logged")
    .option("-f, --follow", "go on printing")
    .option("-n, --lines <number>", "only the last lines", wholeNumber)
    .action(async (service: string, flags: Named & { readonly follow?: boolean; readonly lines?: number }) => {
      const lab = openLab(flags.name);
      const file = lab.directory.log(serviceOf(lab, service).name);
      if (!existsSync(file)) throw new LabError(`${service} has never been started`);
      const lines = flags.lines === undefined ? "+1" : String(flags.lines);
      await runHere("tail", ["-n", lines, ...(flags.follow ? ["-F"] : []), file]);
    });
  labCommand(program, "start <service>", "start a service and wait until it is ready")
    .option("--no-wait", "don't wait")
    .action(async (name: string, flags: Named & { readonly wait: boolean }) => {
      const lab = openLab(flags.name);
      const service = serviceOf(lab, name);
      startService(lab, service);
      if (flags.wait) await untilReady(lab, [service], signal);
      say(`${name} runs`);
    });
  const actions = [
    ["stop", "ask a service to end (SIGTERM), and wait for it", "stopped", stopService],
    ["kill", "end a service at once (SIGKILL)", "is killed", killService],
    ["pause", "halt a service where it is (SIGSTOP)", "is paused", pauseService],
    ["resume", "let a paused service go on (SIGCONT)", "goes on", resumeService],
  ] as const;
  for (const [verb, text, done, act] of actions) {
    labCommand(program, `${verb} <service>`, text).action(async (name: string, flags: Named) => {
      const lab = openLab(flags.name);
      await act(lab, serviceOf(lab, name), signal);
      say(`${name} ${done}`);
    });
  }
}

function addHostCommands(program: Command, signal: AbortSignal): void {
  labCommand(program, "exec <host> [command...]", "run a command in a host's network:  exec vm-a -- ip address").action(
    async (host: string, command: readonly string[], { name }: Named) => {
      if (command.length === 0) throw new CommanderError(wrongUsage, "lab.exec", "name a command:  exec HOST -- CMD");
      await runHere("ip", ["netns", "exec", hostOf(openLab(name), host).namespace, ...command]);
    },
  );
  labCommand(program, "reboot <host>", "all its processes and kernel state go; then its services start again")
    .option("--no-wait", "don't wait until they are ready")
    .action(async (host: string, { name, wait }: Named & { readonly wait: boolean }) => {
      const lab = openLab(name);
      await rebootHost(lab, hostOf(lab, host), wait, signal);
      say(`${host} is up again`);
    });
  const links = [
    ["cut", "let no packets pass between two neighbours", true],
    ["heal", "undo a cut", false],
  ] as const;
  for (const [verb, text, cut] of links) {
    labCommand(program, `${verb} <host> <other>`, text).action(async (a: string, b: string, { name }: Named) => {
      const lab = openLab(name);
      await setCut(lab, hostOf(lab, a), hostOf(lab, b), cut);
      say(`${a} and ${b} ${cut ? "get no packets to each other" : "reach each other"}`);
    });
  }
}

const countOptions = [
  ["instances", "instances", "machines that public addresses are mapped to"],
  ["gateways", "gateways", "gateways between clients and fabric"],
  ["trackers", "trackers", "trackers"],
  ["coordinators", "coordinators", "coordinators"],
  ["clients", "clients", "clients"],
  ["nats", "nats", "NATS servers"],
  ["hosting", "hosting", "instances beside whose agents a tracker may run"],
  ["mtu", "mtu", "of the fabric, bytes"],
  ["client-mtu", "clientMtu", "of the clients' network, bytes"],
] as const;

async function bringUp(
  { secure, ...flags }: LabOptions & { readonly secure?: boolean },
  signal: AbortSignal,
): Promise<void> {
  if (secure === true)
    throw new LabError("--secure: this version of baton can't encrypt between its services; leave it out");
  const checked = checkOptions(flags);
  if (!checked.ok) throw new CommanderError(wrongUsage, "lab.up", checked.message);
  const startMs = performance.now();
  try {
    const { plan } = await createLab(checked.options, say, signal);
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    say(
      `lab ${flags.name} is up after ${seconds} s: ${plan.hosts.length} hosts, ${plan.services.length} services ready`,
    );
  } catch (error) {
    if (signal.aborted) await removeLab(flags.name, AbortSignal.timeout(cleanUpTimeoutMs));
    throw error;
  }
}

const cleanUpTimeoutMs = 10_000;

function labCommand(program: Command, nameAndArguments: string, description: string): Command {
  return program
    .command(nameAndArguments)
    .description(description)
    .option("--name <name>", "name of the lab", defaultOptions.name);
}

function wholeNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new CommanderError(wrongUsage, "lab.number", `${text}: expected a whole number`);
}

/** Gives this terminal to another program, and its exit code to the caller. */
async function runHere(file: string, args: readonly string[]): Promise<void> {
  const child = spawn(file, [...args], { stdio: "inherit" });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  child.on("error", reject);
  child.on("close", (code, signal) => resolve(code ?? (signal === null ? 1 : interrupted)));
  process.exitCode = await promise;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main(): Promise<void> {
  const controller = new AbortController();
  process.once("SIGINT", () => controller.abort());
  process.once("SIGTERM", () => controller.abort());
  try {
    await buildProgram(controller.signal).parseAsync();
  } catch (error) {
    process.exitCode = explain(error, controller.signal);
  }
}

/** Says what went wrong on stderr, unless commander has done so; returns the exit code. */
function explain(error: unknown, signal: AbortSignal): number {
  if (signal.aborted) return interrupted;
  if (error instanceof CommanderError) {
    if (error.code.startsWith("lab.")) process.stderr.write(`lab: ${error.message}\n`);
    return error.exitCode === 0 ? 0 : wrongUsage;
  }
  if (error instanceof Error) process.stderr.write(`lab: ${error.message}\n`);
  else process.stderr.write(`lab: ${String(error)}\n`);
  return 1;
}

await main();
