/**
 * What the agent needs of routes, rules, devices, neighbours and sysctls: desired state in, the wanted whole out.
 *
 * A packet's mark chooses the routing table of its link. The tunnel's own outer packets inherit the mark: they are
 * locally made, so a rule before sends them to the main table, and the owner's table throws the fabric's prefixes. The
 * holder's probes are locally made too: they lose their mark before the tunnel takes them.
 */
import { formatPrefix, type IpAddress, ipAddressFromBytes, isIpv4Prefix } from "../flow/address.ts";
import type { AgentState, Link, LinkId } from "../node/state.ts";
import { type MarkLayout, packetMark } from "./mark.ts";
import { channelDeviceName } from "./names.ts";

export const vxlanPort = 47_890;
/** Ethernet, IPv4, UDP and VXLAN headers. */
export const vxlanOverheadBytes = 50;

const tableBase = 7_000;
const mainTable = 254;
export const rulePreference = { outer: 7_000, link: 7_001 } as const;

export interface ChannelDevice {
  readonly name: string;
  readonly vni: number;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly port: number;
  readonly linkAddress: string;
  /**
   * Of the device itself, link-local. Without any address the kernel's reverse-path filter, even the loose one, drops
   * every packet that comes in (fib_validate_source).
   */
  readonly address: IpAddress;
}

export interface Route {
  readonly table: number;
  /** Prefix text, or "default". */
  readonly destination: string;
  readonly kind: "unicast" | "throw";
  readonly device?: string;
  readonly via?: IpAddress;
}

export interface Rule {
  readonly preference: number;
  readonly mark: number;
  readonly mask: number;
  readonly incomingDevice?: string;
  readonly table: number;
}

export interface Neighbour {
  readonly device: string;
  readonly address: IpAddress;
  readonly linkAddress: string;
}

export interface Sysctl {
  /** Path below /proc/sys. */
  readonly path: string;
  readonly value: string;
}

export interface Routing {
  readonly devices: readonly ChannelDevice[];
  readonly neighbours: readonly Neighbour[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  /** To be put back when no longer wanted. */
  readonly sysctls: readonly Sysctl[];
  /** Devices on which forwarding is wanted. */
  readonly forwarding: readonly string[];
}

export interface RoutingHost {
  readonly marks: MarkLayout;
  /** Device that carries a private address. */
  readonly deviceOf: ReadonlyMap<IpAddress, string>;
}

export function renderRouting(state: AgentState, host: RoutingHost): Routing {
  const vxlan = state.links.filter((link) => link.kind === "vxlan");
  const devices = vxlan.map((link) => ({
    name: deviceName(link, host),
    vni: link.id,
    local: link.localPrivate,
    remote: link.peerPrivate,
    port: vxlanPort,
    linkAddress: tunnelLinkAddress(link.id, link.ownerEnd),
    address: ipAddressFromBytes(Uint8Array.of(169, 254, 64 + (link.id >> 8), link.id & 0xff)),
  }));
  const neighbours = vxlan.map((link) => ({
    device: deviceName(link, host),
    address: link.peerPrivate,
    linkAddress: tunnelLinkAddress(link.id, !link.ownerEnd),
  }));
  const forwarding = [
    ...new Set(state.links.filter((link) => !link.ownerEnd).flatMap((link) => forwardingDevices(link, host))),
  ];
  return {
    devices,
    neighbours,
    routes: state.links.flatMap((link) => linkRoutes(state, link, host)),
    rules: state.links.flatMap((link) => linkRules(link, host)),
    sysctls: sysctls(state, forwarding, host),
    forwarding,
  };
}

function forwardingDevices(link: Link, host: RoutingHost): string[] {
  const fabric = fabricDevice(link, host);
  return link.kind === "direct" ? [fabric] : [fabric, deviceName(link, host)];
}

function linkRoutes(state: AgentState, link: Link, host: RoutingHost): Route[] {
  const table = tableBase + link.id;
  const device = deviceName(link, host);
  if (!link.ownerEnd) return [{ table, destination: `${link.peerPrivate}/32`, kind: "unicast", device }];
  const fabric = state.fabric
    .filter(isIpv4Prefix)
    .map((prefix): Route => ({ table, destination: formatPrefix(prefix), kind: "throw" }));
  return [...fabric, { table, destination: "default", kind: "unicast", device, via: link.peerPrivate }];
}

function linkRules(link: Link, host: RoutingHost): Rule[] {
  const mask = host.marks.mask;
  const table = tableBase + link.id;
  if (link.ownerEnd)
    return [{ preference: rulePreference.link, mark: packetMark(host.marks, "egress", link.id), mask, table }];
  const mark = packetMark(host.marks, "followed", link.id);
  const outer = { preference: rulePreference.outer, mark, mask, incomingDevice: "lo", table: mainTable };
  const inner = { preference: rulePreference.link, mark, mask, table };
  const probe = { ...inner, mark: packetMark(host.marks, "probe", link.id) };
  return link.kind === "direct" ? [inner, probe] : [outer, inner, probe];
}

/**
 * - `tcp_loose` 0: a packet amid a connection that tracking does not know is invalid, not new (decision rule 6).
 * - `tcp_be_liberal` 1: half of a followed connection's packets pass elsewhere; windows can't be judged.
 * - `send_redirects` 0: the holder sends packets out of the device they came by, and must not teach a better way.
 * - `rp_filter` 2 on a tunnel: the inner source is routed by another device.
 */
function sysctls(state: AgentState, forwarding: readonly string[], host: RoutingHost): Sysctl[] {
  const wanted: Sysctl[] = [];
  const perDevice = (device: string, key: string, value: string) =>
    wanted.push({ path: `net/ipv4/conf/${device}/${key}`, value });
  if (state.links.length > 0) wanted.push({ path: "net/netfilter/nf_conntrack_tcp_be_liberal", value: "1" });
  if (state.addresses.some((address) => address.follows.length > 0))
    wanted.push({ path: "net/netfilter/nf_conntrack_tcp_loose", value: "0" });
  if (forwarding.length > 0) perDevice("all", "send_redirects", "0");
  for (const device of forwarding) {
    perDevice(device, "send_redirects", "0");
    perDevice(device, "forwarding", "1");
  }
  for (const link of state.links) if (link.kind !== "direct") perDevice(deviceName(link, host), "rp_filter", "2");
  return wanted;
}

function deviceName(link: Link, host: RoutingHost): string {
  return link.kind === "direct" ? fabricDevice(link, host) : channelDeviceName(link.id);
}

function fabricDevice(link: Link, host: RoutingHost): string {
  const device = host.deviceOf.get(link.localPrivate);
  if (device === undefined) throw new RangeError(`no device of this host carries ${link.localPrivate}`);
  return device;
}

/** Locally administered, the same at both ends by calculation, so that a tunnel needs no ARP. */
function tunnelLinkAddress(link: LinkId, ownerEnd: boolean): string {
  const hex = (byte: number) => byte.toString(16).padStart(2, "0");
  return `02:62:61:${hex(link >> 8)}:${hex(link & 0xff)}:${ownerEnd ? "01" : "02"}`;
}
