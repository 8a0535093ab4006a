/** The services of a lab as processes: starting, stopping, and how they are. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { waitFor } from "../../src/runtime/retry.ts";
import { healthPortOf } from "./config-files.ts";
import { repositoryRoot } from "./directory.ts";
import type { OpenLab } from "./lab.ts";
import { LabError } from "./lab-error.ts";
import { hostNamed, type Service } from "./plan.ts";
import { launch, type ProcessState, readProcessFile, signalProcess, stateOf } from "./process.ts";
import { askReadiness, type Readiness } from "./readiness.ts";

/** A service that was told to stop has this long; its own grace time is 10 s. */
const stopTimeoutMs = 12_000;
const killTimeoutMs = 5_000;

/** As the systemd units have it: a switch is a few short turns, and lasts as long as these wait for a processor. */
const promptly = ["nice", "-n", "-10"];

/** Lines of a dead service's log that are worth showing. */
const excerptLines = 12;
const excerptLineCharacters = 400;

/** stopped: on purpose, or never started. dead: without having been asked to. */
export type ServiceState = Exclude<ProcessState, "gone"> | "stopped" | "dead";

export function serviceState(lab: OpenLab, service: Service): ServiceState {
  const identity = readProcessFile(lab.directory.processFile(service.name));
  if (identity === undefined) return "stopped";
  const state = stateOf(identity);
  return state === "gone" ? "dead" : state;
}

export function startService(lab: OpenLab, service: Service): void {
  const state = serviceState(lab, service);
  if (state === "running" || state === "paused") throw new LabError(`${service.name} is ${state} already`);
  launch({
    namespace: namespaceOf(lab, service),
    command: commandOf(lab, service),
    env: serviceEnv(),
    logFile: lab.directory.log(service.name),
    processFile: lab.directory.processFile(service.name),
  });
}

/** SIGTERM, and the end of the process; a paused one goes on first, for else it would never hear of it. */
export async function stopService(lab: OpenLab, service: Service, signal: AbortSignal): Promise<void> {
  const identity = aliveIdentity(lab, service);
  signalProcess(identity, "SIGTERM");
  signalProcess(identity, "SIGCONT");
  await waitFor(() => stateOf(identity) === "gone", {
    signal,
    timeoutMs: stopTimeoutMs,
    what: `${service.name} to stop; end it with  npm run lab -- kill ${service.name}`,
  });
  rmSync(lab.directory.processFile(service.name), { force: true });
}

export async function killService(lab: OpenLab, service: Service, signal: AbortSignal): Promise<void> {
  const identity = aliveIdentity(lab, service);
  signalProcess(identity, "SIGKILL");
  await waitFor(() => stateOf(identity) === "gone", {
    signal,
    timeoutMs: killTimeoutMs,
    what: `${service.name} to end`,
  });
  rmSync(lab.directory.processFile(service.name), { force: true });
}

/** Stops its threads where they are, without telling it; connections stay open. */
export async function pauseService(lab: OpenLab, service: Service, signal: AbortSignal): Promise<void> {
  const identity = aliveIdentity(lab, service);
  signalProcess(identity, "SIGSTOP");
  await waitFor(() => stateOf(identity) === "paused", {
    signal,
    timeoutMs: killTimeoutMs,
    what: `${service.name} to pause`,
  });
}

export function resumeService(lab: OpenLab, service: Service): void {
  signalProcess(aliveIdentity(lab, service), "SIGCONT");
}

export async function readinessOf(lab: OpenLab, service: Service): Promise<Readiness> {
  return await askReadiness(namespaceOf(lab, service), healthPortOf(service));
}

/** Last lines of a service's log; long ones are shortened. */
export function logExcerpt(lab: OpenLab, service: Service): string {
  const file = lab.directory.log(service.name);
  if (!existsSync(file)) return "";
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-excerptLines);
  return lines.map((line) => line.slice(0, excerptLineCharacters)).join("\n");
}

function aliveIdentity(lab: OpenLab, service: Service) {
  const identity = readProcessFile(lab.directory.processFile(service.name));
  if (identity === undefined || stateOf(identity) === "gone")
    throw new LabError(`${service.name} is not running; start it with  npm run lab -- start ${service.name}`);
  return identity;
}

function namespaceOf(lab: OpenLab, service: Service): string {
  const host = hostNamed(lab.plan, service.host);
  if (host === undefined) throw new Error(`${service.name} runs on ${service.host}, which is no host of the lab`);
  return host.namespace;
}

function commandOf(lab: OpenLab, service: Service): readonly string[] {
  const config = lab.directory.config(service.name);
  if (service.kind === "nats") return ["nats-server", "--config", config];
  return [...promptly, join(repositoryRoot, "bin/baton"), service.kind, "--config", config];
}

/** The caller's own, so that BATON_LOG_LEVEL and the like reach the services; compiled code is kept for the next start. */
function serviceEnv(): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = {
    NODE_COMPILE_CACHE: join(repositoryRoot, "node_modules/.cache/baton"),
    ...process.env,
  };
  delete env["BATON_ENDPOINT"];
  return env;
}
