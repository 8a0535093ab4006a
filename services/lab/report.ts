/** What `status` shows of a lab. */
import type { Cut } from "./cut.ts";
import { type OpenLab, readCuts } from "./lab.ts";
import { existingNamespaces } from "./network.ts";
import { readProcessFile } from "./process.ts";
import { readinessOf, type ServiceState, serviceState } from "./services.ts";

export interface LabStatus {
  readonly name: string;
  readonly hosts: readonly HostStatus[];
  readonly services: readonly ServiceStatus[];
  readonly cuts: readonly Cut[];
}

export interface HostStatus {
  readonly name: string;
  readonly namespace: string;
  readonly up: boolean;
  readonly addresses: readonly string[];
}

export interface ServiceStatus {
  readonly name: string;
  readonly host: string;
  readonly state: ServiceState;
  readonly pid?: number;
  readonly ready: boolean;
  /** Why it is not ready; empty where it is, or where it does not say. */
  readonly reasons: readonly string[];
}

export async function statusOf(lab: OpenLab): Promise<LabStatus> {
  const namespaces = new Set(existingNamespaces(lab.plan.options.name));
  return {
    name: lab.plan.options.name,
    hosts: lab.plan.hosts.map((host) => ({
      name: host.name,
      namespace: host.namespace,
      up: namespaces.has(host.namespace),
      addresses: host.cables.flatMap((cable) => cable.numbers.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6])),
    })),
    services: await Promise.all(lab.plan.services.map(async (service) => await serviceStatus(lab, service))),
    cuts: readCuts(lab),
  };
}

async function serviceStatus(lab: OpenLab, service: OpenLab["plan"]["services"][number]): Promise<ServiceStatus> {
  const state = serviceState(lab, service);
  const base = { name: service.name, host: service.host, state };
  if (state === "stopped" || state === "dead") return { ...base, ready: false, reasons: [] };
  const pid = readProcessFile(lab.directory.processFile(service.name))?.pid;
  const known = pid === undefined ? base : { ...base, pid };
  if (state === "paused") return { ...known, ready: false, reasons: [] };
  const readiness = await readinessOf(lab, service);
  const reasons = readiness.kind === "not-ready" ? readiness.reasons : [];
  return { ...known, ready: readiness.kind === "ready", reasons };
}

/** All runs as it should. */
export function isHealthy(status: LabStatus): boolean {
  return status.hosts.every((host) => host.up) && status.services.every((service) => service.ready);
}

export function statusText(status: LabStatus): string {
  const hosts = status.hosts.map((host) => [host.name, host.up ? "up" : "gone", host.addresses.join(" ")]);
  const services = status.services.map((service) => {
    const why = service.reasons.length === 0 ? "" : `: ${service.reasons.join("; ")}`;
    const readiness = service.ready ? "ready" : `not ready${why}`;
    return [service.name, service.state, service.state === "running" ? readiness : "", String(service.pid ?? "")];
  });
  const cuts = status.cuts.map(([a, b]) => `  ${a} and ${b} get no packets to each other`);
  return [
    `lab ${status.name}`,
    "",
    ...table(["host", "state", "addresses"], hosts),
    "",
    ...table(["service", "state", "readiness", "pid"], services),
    ...(cuts.length > 0 ? ["", "cuts", ...cuts] : []),
  ].join("\n");
}

function table(header: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const all = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ")}`.trimEnd());
}
