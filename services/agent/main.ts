/** The agent's process: configuration, kernel, bus, trackers, coordinator, and the order in which they come and go. */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Registry } from "prom-client";
import { markLayout } from "../../src/dataplane/mark.ts";
import { claimHost, explainKernelError } from "../../src/kernel/host-claim.ts";
import type { NodeClient } from "../../src/rpc/node-client.ts";
import { serveAdmin } from "../../src/runtime/admin.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { onDrainSignal } from "../../src/runtime/lifetime.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";
import { ServiceError } from "../../src/runtime/service-error.ts";
import { prepareStateDirectory, readStateFile } from "../../src/runtime/state-file.ts";
import type { Agent } from "./agent.ts";
import { assemble, stateCodec, subscribe } from "./assembly.ts";
import { type AgentConfig, agentConfigSchema } from "./config.ts";
import { flowEventMetrics } from "./flow-events.ts";
import { hostedPorts, planHosting } from "./hosting/config.ts";
import { Hosting } from "./hosting/hosting.ts";
import { hostingMetrics } from "./hosting/metrics.ts";
import { KernelState } from "./kernel-state.ts";
import { agentMetrics } from "./metrics.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  /** Remove everything that is baton's from this host's kernel, and end. */
  readonly cleanup?: boolean;
  readonly signal: AbortSignal;
}

const tickMs = 250;

export async function run(options: RunOptions): Promise<number> {
  const loaded = loadConfig(agentConfigSchema, options.configFile, process.env);
  if (!loaded.ok) {
    for (const error of loaded.errors) process.stderr.write(`${error}\n`);
    return 2;
  }
  const config = loaded.value;
  if (options.printConfig) {
    process.stdout.write(printConfig(agentConfigSchema, config));
    return 0;
  }
  const log = createLog({ service: "agent", name: config.name, level: config.log.level });
  try {
    await using _claim = await claimHost(`agent ${config.name}`);
    prepareStateDirectory(config.stateDirectory);
    using kernel = openKernel(config, log);
    if (options.cleanup === true) await cleanUp(config, kernel, log);
    else await serve(config, kernel, log, options.signal);
    return 0;
  } catch (error) {
    throw explainKernelError(error);
  }
}

/** The files go last: a crash before that is mended by cleaning up again. */
async function cleanUp(config: AgentConfig, kernel: KernelState, log: Logger): Promise<void> {
  kernel.cleanup();
  for (const file of [stateFile(config), sysctlFile(config)]) await rm(file, { force: true });
  log.info("everything that was baton's is removed from the kernel");
}

function stateFile(config: AgentConfig): string {
  return join(config.stateDirectory, "state");
}

function sysctlFile(config: AgentConfig): string {
  return join(config.stateDirectory, "sysctls.json");
}

function openKernel(config: AgentConfig, log: Logger): KernelState {
  const marks = markLayout(config.markMask);
  if (marks === undefined) throw new RangeError(`not a mark mask: ${config.markMask}`);
  return new KernelState({
    marks,
    trackExternalOnly: config.conntrack.scope === "external",
    hostedPorts: config.hosting.enabled ? hostedPorts(planHosting(config)) : [],
    sysctlFile: sysctlFile(config),
    onSysctlsLost: (message) => log.error(message),
  });
}

async function serve(config: AgentConfig, kernel: KernelState, log: Logger, signal: AbortSignal): Promise<void> {
  await using resources = new AsyncDisposableStack();
  const failed = new AbortController();
  const ended = AbortSignal.any([signal, failed.signal]);
  // First what can fail without a trace.
  const registry = new Registry();
  let reasons = (): string[] => ["the agent is starting"];
  if (config.admin !== undefined)
    resources.use(await serveAdmin({ listen: config.admin.listen, ready: () => reasons(), registry }));
  let drain = (): void => log.warn("this agent hosts no tracker: there is nothing to give away");
  onDrainSignal(log, () => drain());
  const { hosting, fault } = await openHosting(config, log, resources);
  kernel.begin();
  const fail = (error: Error): void => failed.abort(error);
  const parts = assemble({ config, kernel, log, stateFile: stateFile(config), hosting, fail }, resources);
  await subscribe(parts, fail, resources);
  await resume(parts.agent, kernel, stateFile(config), log);
  // Not before: what is followed here goes on being followed, whoever has taken the gossip's port meanwhile (H14).
  if (fault !== undefined) throw fault;
  const client = parts.connect();
  flowEventMetrics(registry, parts.flowEvents);
  agentMetrics(registry, { ...parts, connected: () => client.endpoint !== undefined });
  if (hosting !== undefined) {
    hostingMetrics(registry, hosting);
    hosting.begin(fail);
    drain = () => hosting.drain();
  }
  reasons = () => [...notReady(parts.agent, client), ...(hosting?.troubles() ?? [])];
  log.info({ privateAddresses: config.privateAddresses }, "agent started");

  const work = [take(parts.agent, client, ended), tick(parts.agent, ended), parts.unknownPackets.run(ended)];
  await Promise.all(work).catch((error: unknown) => {
    if (!isAbort(error, ended)) throw error;
  });
  if (failed.signal.aborted) throw failed.signal.reason;
  log.info("agent stops; what it has put into the kernel stays and serves on");
}

interface OpenedHosting {
  readonly hosting?: Hosting;
  readonly fault?: ServiceError;
}

async function openHosting(config: AgentConfig, log: Logger, resources: AsyncDisposableStack): Promise<OpenedHosting> {
  if (!config.hosting.enabled) return {};
  try {
    return { hosting: resources.use(await Hosting.open(planHosting(config), log)) };
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return { fault: error };
  }
}

/** The last state, before anybody is asked. Where it is lost the gate of the boot stays for the coordinator's next one. */
async function resume(agent: Agent, kernel: KernelState, file: string, log: Logger): Promise<void> {
  const content = await readStateFile(file, stateCodec);
  switch (content.kind) {
    case "found":
      return agent.resume(content.value);
    case "missing":
      return kernel.openGate();
    case "damaged":
      return log.error({ message: content.message }, "the last state is lost");
    default:
      content satisfies never;
  }
}

function notReady(agent: Agent, client: NodeClient<"agent">): string[] {
  return [
    ...(agent.fence === undefined ? ["no state from a coordinator yet"] : []),
    ...(agent.stands ? [] : ["somebody has removed baton's rules from the kernel"]),
    ...(agent.unkept ? ["the state is not on the disk: a reboot would bring back an older one"] : []),
    ...(client.endpoint === undefined ? ["no connection to a coordinator"] : []),
  ];
}

async function take(agent: Agent, client: NodeClient<"agent">, signal: AbortSignal): Promise<void> {
  for await (const desired of client.states(signal)) await agent.take(desired);
}

async function tick(agent: Agent, signal: AbortSignal): Promise<void> {
  for (;;) {
    await sleep(tickMs, signal);
    agent.tick();
  }
}
