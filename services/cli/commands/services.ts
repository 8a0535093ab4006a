/** `baton agent|gateway|tracker|coordinator`: runs a service in this process. */
import type { Command } from "commander";
import { addGroup, type Host } from "../command.ts";

/** What each services/<name>/main.ts exports as `run`; the number is the exit code. */
export interface ServiceOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  /** Remove from the kernel all that is baton's, and nothing else; agents and gateways only. */
  readonly cleanup: boolean;
  readonly signal: AbortSignal;
}

type Run = (options: ServiceOptions) => Promise<number>;

interface RunOptions {
  readonly config: string;
  readonly printConfig?: true;
  readonly cleanup?: true;
}

interface Service {
  readonly name: string;
  readonly summary: string;
  /** It puts state into the kernel, and can take it out again. */
  readonly cleans: boolean;
  load(): Promise<Run>;
}

const services: readonly Service[] = [
  {
    name: "agent",
    summary: "run the agent of an instance",
    cleans: true,
    load: async () => (await import("../../agent/main.ts")).run,
  },
  {
    name: "gateway",
    summary: "run a gateway",
    cleans: true,
    load: async () => (await import("../../gateway/main.ts")).run,
  },
  {
    name: "tracker",
    summary: "run a tracker",
    cleans: false,
    load: async () => (await import("../../tracker/main.ts")).run,
  },
  {
    name: "coordinator",
    summary: "run a coordinator",
    cleans: false,
    load: async () => (await import("../../coordinator/main.ts")).run,
  },
];

export function registerServices(program: Command, host: Host): void {
  for (const { name, summary, cleans, load } of services) {
    const file = `/etc/baton/${name}.yaml`;
    const command = addGroup(program, {
      usage: name,
      summary,
      examples: [
        { command: `baton ${name} --config ${file}`, what: "until SIGTERM" },
        { command: `baton ${name} --config ${file} --print-config`, what: "what it would run with, without secrets" },
        ...(cleans ? [{ command: `baton ${name} --cleanup`, what: "take all that is baton's off this host" }] : []),
      ],
    });
    command
      .option("--config <file>", "configuration", file)
      .option("--print-config", "print the configuration and leave");
    if (cleans) command.option("--cleanup", "remove all that is baton's from this host's kernel, and leave");
    command.action(async (options: RunOptions) => {
      const [run, { runService }] = await Promise.all([load(), import("../../../src/runtime/lifetime.ts")]);
      host.handOver();
      runService(name, (signal) =>
        run({
          configFile: options.config,
          printConfig: options.printConfig === true,
          cleanup: options.cleanup === true,
          signal,
        }),
      );
      await new Promise<never>(() => {});
    });
  }
}
