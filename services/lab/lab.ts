/** A lab as a whole: putting it up, finding it again, taking it away, and what happens to its hosts. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { sleep } from "../../src/runtime/retry.ts";
import { runCommand } from "./command.ts";
import { renderConfig } from "./config-files.ts";
import { areNeighbours, type Cut, cutBetween, cutRuleset, withCut, withoutCut } from "./cut.ts";
import {
  alreadyUp,
  createLabDirectory,
  type LabDirectory,
  labDirectory,
  readOptions,
  removeLabDirectory,
} from "./directory.ts";
import { LabError } from "./lab-error.ts";
import { buildNetwork, existingNamespaces, rebuildHost, removeNamespaces } from "./network.ts";
import type { LabOptions } from "./options.ts";
import { type Host, hostNamed, type LabPlan, planLab, type Service, type ServiceKind, serviceNamed } from "./plan.ts";
import { killAllIn, readProcessFile, signalProcess } from "./process.ts";
import { logExcerpt, readinessOf, serviceState, startService } from "./services.ts";

export interface OpenLab {
  readonly plan: LabPlan;
  readonly directory: LabDirectory;
}

/** From the start of a service to its readiness. */
const readyTimeoutMs = 30_000;
const readyPollMs = 50;

/** Any order works; in this one nobody waits for another to be tried again. */
const startOrder: readonly (readonly ServiceKind[])[] = [["nats"], ["coordinator", "tracker"], ["gateway", "agent"]];

/** Returns when every service is ready. What stands at a failure stays, to be looked at, until `down`. */
export async function createLab(
  options: LabOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<OpenLab> {
  const lab = { plan: planLab(options), directory: labDirectory(options.name) };
  if (existingNamespaces(options.name).length > 0) throw alreadyUp(options.name);
  createLabDirectory(lab.directory, options);
  say(`${lab.plan.hosts.length} hosts and their network`);
  await buildNetwork(lab.plan, lab.directory);
  for (const service of lab.plan.services) writeConfig(lab, service);
  for (const kinds of startOrder) {
    const group = lab.plan.services.filter((service) => kinds.includes(service.kind));
    say(group.map((service) => service.name).join(", "));
    for (const service of group) startService(lab, service);
    await untilReady(lab, group, signal);
  }
  // Loaded here, as every other command starts twice as fast without gRPC.
  const { untilHealthy } = await import("./healthy.ts");
  await untilHealthy(lab, readyTimeoutMs, signal);
  return lab;
}

export function openLab(name: string): OpenLab {
  const directory = labDirectory(name);
  const options = readOptions(directory);
  if (options !== undefined) return { plan: planLab(options), directory };
  const flag = name === "baton" ? "" : ` --name ${name}`;
  throw new LabError(`lab ${name} is not up: start it with  npm run lab -- up${flag}`);
}

/** Works on whatever is left of a lab, also after a crash. False: nothing was there. */
export async function removeLab(name: string, signal: AbortSignal): Promise<boolean> {
  const directory = labDirectory(name);
  const namespaces = existingNamespaces(name);
  const existed = namespaces.length > 0 || existsSync(directory.path);
  await killAllIn(namespaces, signal);
  for (const file of processFiles(directory)) {
    const identity = readProcessFile(file);
    if (identity !== undefined) signalProcess(identity, "SIGKILL");
  }
  await removeNamespaces(namespaces);
  removeLabDirectory(directory);
  return existed;
}

/**
 * All that lived in the host's kernel and memory is gone; its disk stays. Its services are not started: the host is where
 * a machine is when its network has just come up.
 */
export async function powerCycle(lab: OpenLab, host: Host, signal: AbortSignal): Promise<void> {
  await killAllIn([host.namespace], signal);
  await rebuildHost(lab.plan, lab.directory, host);
}

/** A power cycle, and the host's services started. `wait`: returns when they are ready again. */
export async function rebootHost(lab: OpenLab, host: Host, wait: boolean, signal: AbortSignal): Promise<void> {
  await powerCycle(lab, host, signal);
  const services = lab.plan.services.filter((service) => service.host === host.name);
  for (const service of services) startService(lab, service);
  if (wait) await untilReady(lab, services, signal);
}

export function readCuts(lab: OpenLab): readonly Cut[] {
  if (!existsSync(lab.directory.cutsFile)) return [];
  return JSON.parse(readFileSync(lab.directory.cutsFile, "utf8")) as Cut[];
}

/** `cut: false` heals. Doing either twice changes nothing. */
export async function setCut(lab: OpenLab, a: Host, b: Host, cut: boolean): Promise<void> {
  if (!areNeighbours(a, b))
    throw new LabError(`${a.name} and ${b.name} are no neighbours: packets between them pass a gateway; cut there`);
  const change = cut ? withCut : withoutCut;
  const cuts = change(readCuts(lab), cutBetween(a.name, b.name));
  const script = lab.directory.script("cuts.nft");
  writeFileSync(
    script,
    cutRuleset(cuts, (name) => hostNamed(lab.plan, name)),
  );
  await runCommand("ip", ["netns", "exec", lab.plan.fabricNamespace, "nft", "-f", script]);
  writeFileSync(lab.directory.cutsFile, `${JSON.stringify(cuts)}\n`);
}

export function hostOf(lab: OpenLab, name: string): Host {
  const host = hostNamed(lab.plan, name);
  if (host !== undefined) return host;
  throw new LabError(`there is no host ${name}; there are ${lab.plan.hosts.map((known) => known.name).join(", ")}`);
}

export function serviceOf(lab: OpenLab, name: string): Service {
  const service = serviceNamed(lab.plan, name);
  if (service !== undefined) return service;
  throw new LabError(
    `there is no service ${name}; there are ${lab.plan.services.map((known) => known.name).join(", ")}`,
  );
}

/** Waits for each to be ready; fails at once when one has died, with the end of its log. */
export async function untilReady(lab: OpenLab, services: readonly Service[], signal: AbortSignal): Promise<void> {
  const endMs = performance.now() + readyTimeoutMs;
  // The first that fails ends the waiting for all.
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  try {
    await Promise.all(services.map(async (service) => await untilOneReady(lab, service, endMs, either)));
  } finally {
    failed.abort();
  }
}

async function untilOneReady(lab: OpenLab, service: Service, endMs: number, signal: AbortSignal): Promise<void> {
  for (;;) {
    const state = serviceState(lab, service);
    if (state !== "running")
      throw new LabError(`${service.name} is ${state}. The end of its log:\n${logExcerpt(lab, service)}`);
    const readiness = await readinessOf(lab, service);
    if (readiness.kind === "ready") return;
    if (performance.now() >= endMs) {
      const why = readiness.kind === "silent" ? "its admin port does not answer" : readiness.reasons.join("; ");
      throw new LabError(
        `${service.name} is not ready after ${readyTimeoutMs / 1000} s: ${why}. The end of its log:\n${logExcerpt(lab, service)}`,
      );
    }
    await sleep(readyPollMs, signal);
  }
}

function writeConfig(lab: OpenLab, service: Service): void {
  mkdirSync(lab.directory.data(service.host), { recursive: true });
  const file = lab.directory.config(service.name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, renderConfig(lab.plan, lab.directory, service, hostOf(lab, service.host)));
}

function processFiles(directory: LabDirectory): readonly string[] {
  const folder = dirname(directory.processFile("any"));
  return existsSync(folder) ? readdirSync(folder).map((name) => `${folder}/${name}`) : [];
}
