/**
 * From options to the whole lab: its hosts, their cables and routes, and the services that run there.
 * Pure; the same options always give the same plan, so nothing but the options is stored.
 */
import { clientNumber, fabricNumbers, gatewayPublicNumber, linkAddressFor, type Numbered } from "./addresses.ts";
import type { LabOptions } from "./options.ts";

export type HostRole = "client" | "gateway" | "instance" | "nats" | "tracker" | "coordinator";
export type NetworkName = "fabric" | "clients";

export interface Cable {
  /** The host's end. */
  readonly device: "eth0" | "eth1";
  /** The other end, a bridge port in the fabric's namespace; at most 15 characters. */
  readonly port: string;
  readonly network: NetworkName;
  readonly linkAddress: string;
  readonly mtu: number;
  readonly numbers: readonly Numbered[];
}

export interface Host {
  /** As users say it: vm-a. */
  readonly name: string;
  readonly namespace: string;
  readonly role: HostRole;
  readonly cables: readonly Cable[];
  /** Gateways that share its default route; empty: it has none. */
  readonly defaultVia: readonly Numbered[];
  readonly forwards: boolean;
}

export type ServiceKind = "agent" | "gateway" | "tracker" | "coordinator" | "nats";

export interface Service {
  /** As users say it: agent-vm-a. */
  readonly name: string;
  readonly kind: ServiceKind;
  /** Name of its host. */
  readonly host: string;
}

export interface LabPlan {
  readonly options: LabOptions;
  /** Namespace of the bridges. */
  readonly fabricNamespace: string;
  readonly hosts: readonly Host[];
  readonly services: readonly Service[];
}

const instanceLetters = "abcdefghi";

export function planLab(options: LabOptions): LabPlan {
  const gateways = counted(options.gateways);
  const publicSides = gateways.map(gatewayPublicNumber);
  const fabricSides = gateways.flatMap((index) => fabricNumbers("gateway", index));
  const hosts = [
    ...counted(options.clients).map((index) => clientHost(options, index, publicSides)),
    ...gateways.map((index) => gatewayHost(options, index)),
    ...counted(options.instances).map((index) => instanceHost(options, index, fabricSides)),
    ...(["nats", "tracker", "coordinator"] as const).flatMap((role) =>
      counted(options[countOf[role]]).map((index) => controlHost(options, role, index)),
    ),
  ];
  return {
    options,
    fabricNamespace: `${options.name}-fabric`,
    hosts,
    services: hosts.flatMap((host) => servicesOf(host)),
  };
}

const countOf = { nats: "nats", tracker: "trackers", coordinator: "coordinators" } as const;

export function hostNamed(plan: LabPlan, name: string): Host | undefined {
  return plan.hosts.find((host) => host.name === name);
}

export function serviceNamed(plan: LabPlan, name: string): Service | undefined {
  return plan.services.find((service) => service.name === name);
}

export function hostsOf(plan: LabPlan, role: HostRole): readonly Host[] {
  return plan.hosts.filter((host) => host.role === role);
}

/** Its address on the fabric, where its services listen. */
export function fabricAddress(host: Host): string {
  const number = host.cables.find((cable) => cable.network === "fabric")?.numbers[0];
  if (number === undefined) throw new Error(`${host.name} has no address on the fabric`);
  return number.ipv4;
}

/** Whether a namespace may belong to the lab of that name, whatever its options were. */
export function isNamespaceOf(lab: string, namespace: string): boolean {
  if (!namespace.startsWith(`${lab}-`)) return false;
  return /^(?:fabric|vm-[a-i]|(?:client|gw|nats|tracker|coordinator)[1-9])$/.test(namespace.slice(lab.length + 1));
}

function clientHost(options: LabOptions, index: number, defaultVia: readonly Numbered[]): Host {
  const cable = clientsCable(options, `client${index + 1}`, clientNumber(index));
  return { ...named(options, `client${index + 1}`), role: "client", cables: [cable], defaultVia, forwards: false };
}

function gatewayHost(options: LabOptions, index: number): Host {
  const name = `gw${index + 1}`;
  const cables: Cable[] = [
    clientsCable(options, name, gatewayPublicNumber(index)),
    fabricCable(options, name, "eth1", fabricNumbers("gateway", index)),
  ];
  return { ...named(options, name), role: "gateway", cables, defaultVia: [], forwards: true };
}

function instanceHost(options: LabOptions, index: number, defaultVia: readonly Numbered[]): Host {
  const name = `vm-${instanceLetters[index]}`;
  const cables = [fabricCable(options, name, "eth0", fabricNumbers("instance", index))];
  return { ...named(options, name), role: "instance", cables, defaultVia, forwards: false };
}

function controlHost(options: LabOptions, role: "nats" | "tracker" | "coordinator", index: number): Host {
  const name = `${role}${index + 1}`;
  const cables = [fabricCable(options, name, "eth0", fabricNumbers(role, index))];
  return { ...named(options, name), role, cables, defaultVia: [], forwards: false };
}

function named(options: LabOptions, name: string): { readonly name: string; readonly namespace: string } {
  return { name, namespace: `${options.name}-${name}` };
}

function fabricCable(options: LabOptions, host: string, device: Cable["device"], numbers: readonly Numbered[]): Cable {
  return { ...cableEnds(numbers), device, port: `f-${host}`, network: "fabric", mtu: options.mtu };
}

function clientsCable(options: LabOptions, host: string, number: Numbered): Cable {
  return { ...cableEnds([number]), device: "eth0", port: `c-${host}`, network: "clients", mtu: options.clientMtu };
}

function cableEnds(numbers: readonly Numbered[]): { numbers: readonly Numbered[]; linkAddress: string } {
  return { numbers, linkAddress: linkAddressFor(numbers[0]?.ipv4 ?? "0.0.0.0") };
}

function servicesOf(host: Host): Service[] {
  switch (host.role) {
    case "client":
      return [];
    case "instance":
      return [{ name: `agent-${host.name}`, kind: "agent", host: host.name }];
    case "gateway":
      return [{ name: `gateway-${host.name}`, kind: "gateway", host: host.name }];
    case "nats":
    case "tracker":
    case "coordinator":
      return [{ name: host.name, kind: host.role, host: host.name }];
    default:
      return host.role satisfies never;
  }
}

function counted(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index);
}
