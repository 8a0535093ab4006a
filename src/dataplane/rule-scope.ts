/** What all rules of the agent's table are written with: the state, indexed, and the patterns that recur. */
import { formatPrefix, type IpAddress, isIpv4Prefix } from "../flow/address.ts";
import type { AgentState, Link, LinkId } from "../node/state.ts";
import type { HostedPort } from "./hosted-rules.ts";
import { formatMark, type MarkLayout } from "./mark.ts";
import { channelDeviceName } from "./names.ts";

/** What of the host the rules depend on. */
export interface AgentHost {
  readonly marks: MarkLayout;
  /** Device that carries a private address, by that address. */
  readonly deviceOf: ReadonlyMap<IpAddress, string>;
  /** Devices for which baton alone has turned forwarding on: nothing but its own packets may pass. */
  readonly guardedDevices: readonly string[];
  /** Track connections with external peers only; false where other rules of the host track all of them. */
  readonly trackExternalOnly: boolean;
  /** What the agent and the tracker beside it listen at, for the fabric alone. */
  readonly hostedPorts: readonly HostedPort[];
}

export interface Chain {
  readonly name: string;
  /** For a base chain: where it is hooked. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

/** A first packet of a connection, whatever else is set in it. */
export const pureSyn = "tcp flags & (fin | syn | rst | ack) == syn";
/** A handshake's answer. */
export const synAck = "tcp flags & (syn | ack) == (syn | ack)";
/** The key of the flow sets, in packets from the client and to it. */
export const inbound = "ip saddr . tcp sport . tcp dport";
export const outbound = "ip daddr . tcp dport . tcp sport";

/** A desired state, indexed for rendering. */
export class RuleScope {
  readonly state: AgentState;
  readonly host: AgentHost;
  /** The fabric's IPv4 prefixes, as the right side of a match; one alone is compared much faster than a set. */
  readonly fabric: string;
  readonly #followed: ReadonlySet<LinkId>;

  constructor(state: AgentState, host: AgentHost) {
    this.state = state;
    this.host = host;
    const prefixes = state.fabric.filter(isIpv4Prefix).map(formatPrefix);
    this.fabric = prefixes.length === 1 ? `${prefixes[0]}` : `{ ${prefixes.join(", ")} }`;
    this.#followed = new Set(state.addresses.flatMap((address) => address.follows.map((follow) => follow.link)));
  }

  follows(link: Link): boolean {
    return this.#followed.has(link.id);
  }

  /** Sets the mark's own bits and leaves the others. */
  setMark(mark: number): string {
    return `meta mark set meta mark & ${formatMark(~this.host.marks.mask)} | ${formatMark(mark)}`;
  }

  setConnectionMark(mark: number): string {
    return `ct mark set ct mark & ${formatMark(~this.host.marks.mask)} | ${formatMark(mark)}`;
  }

  hasMark(mark: number): string {
    return `meta mark & ${formatMark(this.host.marks.mask)} == ${formatMark(mark)}`;
  }

  connectionHas(operator: "==" | "!=", mark: number): string {
    return `ct mark & ${formatMark(this.host.marks.mask)} ${operator} ${formatMark(mark)}`;
  }

  /** Matches packets that the link's other end has sent, proven by device or link-layer address. */
  fromPeer(link: Link): string {
    if (link.kind !== "direct") return `iifname "${channelDeviceName(link.id)}"`;
    return `iifname "${this.deviceOf(link.localPrivate)}" ether saddr ${link.peerLinkAddress}`;
  }

  deviceOf(address: IpAddress): string {
    const device = this.host.deviceOf.get(address);
    if (device === undefined) throw new RangeError(`no device of this host carries ${address}`);
    return device;
  }
}
