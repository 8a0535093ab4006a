/**
 * The agent's nftables table: desired state in, one transaction out.
 *
 * Here a packet's way is decided, by the table in SPEC.md ("The decision at the target"). Chains are written anew by
 * every transaction; sets and counters are only added, so what the kernel has learnt survives (invariant D6).
 * Followed packets are translated statelessly before connection tracking sees them: no NAT entry can outlive a remap
 * and catch a later connection.
 */
import { formatPrefix, type IpAddress } from "../flow/address.ts";
import type { AgentAddress, AgentState, Follow, Link } from "../node/state.ts";
import { arrivedMark, connectionMark, formatMark, type MarkLayout, packetMark } from "./mark.ts";
import {
  addressSets,
  chainFor,
  counterKinds,
  counterName,
  type FollowSet,
  followSets,
  setName,
  tableName,
} from "./names.ts";
import { channelDeviceName, vxlanPort } from "./routing.ts";

/** What of the host the rules depend on. */
export interface AgentHost {
  readonly marks: MarkLayout;
  /** Device that carries a private address, by that address. */
  readonly deviceOf: ReadonlyMap<IpAddress, string>;
  /** Devices for which baton alone has turned forwarding on: nothing but its own packets may pass. */
  readonly guardedDevices: readonly string[];
  /** Track connections with external peers only; false where other rules of the host track all of them. */
  readonly trackExternalOnly: boolean;
}

/** Names of the chains, sets and counters that a table holds now. */
export interface TableObjects {
  readonly chains: readonly string[];
  readonly sets: readonly string[];
  readonly counters: readonly string[];
}

export const noObjects: TableObjects = { chains: [], sets: [], counters: [] };

export interface Ruleset {
  /** A whole transaction for nft. */
  readonly text: string;
  readonly objects: TableObjects;
}

/** nflog groups. */
export const logGroups = { unknown: 7701, proofAtOwner: 7702, proofAtGateway: 7703 } as const;

/** A handshake's answers are retransmitted for about this long (tcp_synack_retries 5: 1+2+4+8+16+32 s). */
const halfSeconds = 64;
/** The owner must not answer for a flow of the holder's while it might still have a half-open one of that name. */
const ownSynSeconds = 128;

/** More unknown packets than this are dropped: connections repeat theirs, scans don't matter. */
const unknownLimit = "limit rate over 20000/second burst 5000 packets";
const lookupLimit = "limit rate 500/second burst 500 packets";

const pureSyn = "tcp flags & (fin | syn | rst | ack) == syn";
const synAck = "tcp flags & (syn | ack) == (syn | ack)";
const inbound = "ip saddr . tcp sport . tcp dport";
const outbound = "ip daddr . tcp dport . tcp sport";

interface Chain {
  readonly name: string;
  /** For a base chain: where it is hooked. */
  readonly hook?: string;
  readonly rules: readonly string[];
}

export function renderAgentRuleset(state: AgentState, host: AgentHost, present: TableObjects): Ruleset {
  const scope = new Scope(state, host);
  const chains = [
    ...baseChains(scope),
    ...state.links.flatMap((link) => linkChains(scope, link)),
    ...addressChains(scope),
  ];
  const sets = wantedSets(state);
  const counters = state.links.flatMap((link) => counterKinds.map((kind) => counterName(kind, link.id)));
  const names = chains.map((chain) => chain.name);
  const stale = <T>(have: readonly T[], want: readonly T[]) => have.filter((name) => !want.includes(name));
  const lines = [
    `add table ${tableName}`,
    ...chains.map(
      (chain) =>
        `add chain ${tableName} ${chain.name}${chain.hook === undefined ? "" : ` { ${chain.hook}; policy accept; }`}`,
    ),
    ...stale(present.chains, names).map((name) => `flush chain ${tableName} ${name}`),
    ...names.map((name) => `flush chain ${tableName} ${name}`),
    ...stale(present.chains, names).map((name) => `delete chain ${tableName} ${name}`),
    ...stale(present.sets, [...sets.keys()]).map((name) => `delete set ${tableName} ${name}`),
    ...stale(present.counters, counters).map((name) => `delete counter ${tableName} ${name}`),
    ...[...sets].map(([name, definition]) => `add set ${tableName} ${name} { ${definition}; }`),
    ...counters.map((name) => `add counter ${tableName} ${name}`),
    ...chains.flatMap((chain) => chain.rules.map((rule) => `add rule ${tableName} ${chain.name} ${rule}`)),
  ];
  return { text: `${lines.join("\n")}\n`, objects: { chains: names, sets: [...sets.keys()], counters } };
}

function wantedSets(state: AgentState): Map<string, string> {
  const sets = new Map<string, string>();
  for (const address of state.addresses) {
    for (const kind of addressSets) sets.set(setName.ofAddress(kind.name, address.private), kind.definition);
    for (const follow of address.follows)
      for (const kind of followSets) sets.set(setName.ofLink(kind.name, follow.link), kind.definition);
  }
  return sets;
}

/** What every renderer below needs: the state, indexed. */
class Scope {
  readonly state: AgentState;
  readonly host: AgentHost;
  /** Anonymous set of the fabric's prefixes. */
  readonly fabric: string;
  private readonly followOfLink = new Map<number, { readonly address: AgentAddress; readonly follow: Follow }>();

  constructor(state: AgentState, host: AgentHost) {
    this.state = state;
    this.host = host;
    this.fabric = `{ ${state.fabric.map(formatPrefix).join(", ")} }`;
    for (const address of state.addresses)
      for (const follow of address.follows) this.followOfLink.set(follow.link, { address, follow });
  }

  follows(link: Link): boolean {
    return this.followOfLink.has(link.id);
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

function baseChains(scope: Scope): Chain[] {
  return [
    { name: "prerouting_raw", hook: "type filter hook prerouting priority raw", rules: prerouting(scope) },
    { name: "prerouting_tracked", hook: "type filter hook prerouting priority mangle", rules: tracked(scope) },
    { name: "input", hook: "type filter hook input priority mangle", rules: input(scope) },
    { name: "output_raw", hook: "type filter hook output priority raw", rules: outputRaw(scope) },
    { name: "output_route", hook: "type route hook output priority mangle", rules: outputRoute(scope) },
    { name: "forward", hook: "type filter hook forward priority filter", rules: forward(scope) },
    { name: "postrouting", hook: "type filter hook postrouting priority srcnat", rules: postrouting(scope) },
    { name: "postrouting_port", hook: "type nat hook postrouting priority srcnat", rules: ownPorts(scope) },
  ];
}

function trackScope(scope: Scope): string[] {
  if (!scope.host.trackExternalOnly || scope.state.fabric.length === 0) return [];
  return ["ip saddr 127.0.0.0/8 notrack", `ip saddr ${scope.fabric} ip daddr ${scope.fabric} notrack`];
}

function outputRaw(scope: Scope): string[] {
  const proofs = scope.state.links.some((link) => link.ownerEnd) ? [`ip daddr ${scope.state.probeSource} notrack`] : [];
  return [...proofs, ...trackScope(scope)];
}

function prerouting(scope: Scope): string[] {
  const { state } = scope;
  const external = `ip saddr != ${scope.fabric}`;
  const deciding = state.addresses.filter((address) => address.follows.length > 0);
  return [
    ...vxlanGuard(state.links),
    ...state.links
      .filter((link) => link.ownerEnd)
      .map(
        (link) => `${scope.fromPeer(link)} ip daddr ${link.localPrivate} ${external} goto ${chainFor.arrival(link.id)}`,
      ),
    ...state.links
      .filter((link) => !link.ownerEnd)
      .flatMap((link) => [
        `${scope.fromPeer(link)} ip saddr ${link.peerPrivate} ip daddr != ${scope.fabric} goto ${chainFor.returned(link.id)}`,
        `ip saddr ${state.probeSource} ip daddr ${link.localPrivate} tcp dport ${link.id} goto ${chainFor.follow(link.id)}`,
      ]),
    ...trackScope(scope),
    ...deciding.map((a) => `ip daddr ${a.private} ${external} meta l4proto tcp goto ${chainFor.decide(a.private)}`),
  ];
}

/** A tunnel's packets are taken from its other end only: VXLAN itself does not look at the outer source. */
function vxlanGuard(links: readonly Link[]): string[] {
  const vxlan = links.filter((link) => link.kind === "vxlan");
  if (vxlan.length === 0) return [];
  const known = vxlan.map(
    (link) =>
      `udp dport ${vxlanPort} ip saddr ${link.peerPrivate} ip daddr ${link.localPrivate} @th,96,24 ${link.id} notrack accept`,
  );
  return [...known, `udp dport ${vxlanPort} drop`];
}

function linkChains(scope: Scope, link: Link): Chain[] {
  if (link.ownerEnd) {
    const rules = [
      scope.setMark(arrivedMark(scope.host.marks)),
      `ip saddr ${scope.state.probeSource} notrack accept`,
      `counter name ${counterName("followed", link.id)} accept`,
    ];
    return [{ name: chainFor.arrival(link.id), rules }];
  }
  return [
    { name: chainFor.follow(link.id), rules: toOwner(scope, link) },
    { name: chainFor.returned(link.id), rules: fromOwner(scope, link) },
  ];
}

function toOwner(scope: Scope, link: Link): string[] {
  return [
    "notrack",
    scope.setMark(packetMark(scope.host.marks, "followed", link.id)),
    `ip saddr != ${scope.state.probeSource} counter name ${counterName("followed", link.id)}`,
    `ip daddr set ${link.peerPrivate} accept`,
  ];
}

/** Return traffic. The mark comes first: a full set must cost a flow its place in the set, never its packets. */
function fromOwner(scope: Scope, link: Link): string[] {
  const set = (kind: FollowSet) => `@${setName.ofLink(kind, link.id)}`;
  const pass = [
    "notrack",
    scope.setMark(packetMark(scope.host.marks, "returned", link.id)),
    `ip daddr ${scope.state.probeSource} accept`,
    `counter name ${counterName("returned", link.id)}`,
  ];
  if (!scope.follows(link)) return [`ip daddr != ${scope.state.probeSource} accept`, ...pass];
  return [
    `meta l4proto tcp ${outbound} ${set("own_syn")} counter name ${counterName("refused", link.id)} drop`,
    ...pass,
    "meta l4proto != tcp accept",
    "tcp flags & rst == rst accept",
    `${synAck} update ${set("half")} { ${outbound} timeout ${halfSeconds}s }`,
    `${synAck} accept`,
    `${outbound} ${set("closing")} accept`,
    `update ${set("learnt")} { ${outbound} }`,
  ];
}

function addressChains(scope: Scope): Chain[] {
  return scope.state.addresses.flatMap((address) => [
    ...(address.follows.length === 0 ? [] : decisionChains(scope, address)),
    ...(address.egress.kind === "normal"
      ? []
      : [{ name: chainFor.egress(address.private), rules: egress(scope, address) }]),
  ]);
}

function decisionChains(scope: Scope, address: AgentAddress): Chain[] {
  return [
    { name: chainFor.decide(address.private), rules: decide(address) },
    { name: chainFor.syn(address.private), rules: decideSyn(address) },
    { name: chainFor.unknown(address.private), rules: decideUnknown(scope, address) },
  ];
}

/** Rules 2 to 5 of the decision: what can be told from the packet and the sets alone. */
function decide(address: AgentAddress): string[] {
  const kinds = ["follow", "learnt", "half", "closing"] as const;
  return [
    `${pureSyn} goto ${chainFor.syn(address.private)}`,
    ...address.follows.flatMap(({ link }) =>
      kinds.map((kind) => `${inbound} @${setName.ofLink(kind, link)} goto ${chainFor.follow(link)}`),
    ),
  ];
}

function decideSyn(address: AgentAddress): string[] {
  const kinds = ["half", "follow", "learnt"] as const;
  return [
    ...address.follows.flatMap(({ link }) =>
      kinds.map((kind) => `${inbound} @${setName.ofLink(kind, link)} goto ${chainFor.follow(link)}`),
    ),
    ...address.follows.map(({ link }) => {
      const closing = `@${setName.ofLink("closing", link)}`;
      return `${inbound} ${closing} counter name ${counterName("superseded", link)} delete ${closing} { ${inbound} }`;
    }),
    ...address.follows.map(
      ({ link }) => `update @${setName.ofLink("own_syn", link)} { ${inbound} timeout ${ownSynSeconds}s }`,
    ),
  ];
}

/** Rules 6 and 7: after connection tracking has spoken. */
function decideUnknown(scope: Scope, address: AgentAddress): string[] {
  const known = [
    `meta mark & ${formatMark(scope.host.marks.mask)} != 0 accept`,
    "ct state != invalid accept",
    ...address.follows.flatMap(({ link }) =>
      (["own_syn", "own"] as const).map((kind) => `${inbound} @${setName.ofLink(kind, link)} accept`),
    ),
    `tcp dport != @${setName.ofAddress("bound", address.private)} socket wildcard 0 accept`,
  ];
  const ask = `${lookupLimit} log group ${logGroups.unknown} snaplen 128`;
  const [only, ...others] = address.follows;
  if (only === undefined) return known;
  const count = `counter name ${counterName("unknown", only.link)}`;
  if (others.length > 0) return [...known, ask, `${count} drop`];
  const policy = only.settled ? only.unknown : "follow";
  switch (policy) {
    case "follow":
      return [...known, `${unknownLimit} drop`, ask, `${count} goto ${chainFor.follow(only.link)}`];
    case "drop":
      return [...known, ask, `${count} drop`];
    case "reset":
      return [...known, ask, `${count} reject with tcp reset`];
    default:
      throw new RangeError(`unknown policy ${policy satisfies never}`);
  }
}

function tracked(scope: Scope): string[] {
  const { state } = scope;
  const owners = state.links.filter((link) => link.ownerEnd);
  const noOpen = owners.map((link) => link.localPrivate).filter((address, i, all) => all.indexOf(address) === i);
  return [
    // Connections are tracked from the agent's start, long before a remap needs it: a rule that asks is what starts it.
    "ct state invalid counter",
    ...noOpen.flatMap((address) => neverOpen(scope, address)),
    ...state.addresses.flatMap((address) => [
      ...(address.follows.length === 0
        ? []
        : [
            `ip daddr ${address.private} ip saddr != ${scope.fabric} meta l4proto tcp goto ${chainFor.unknown(address.private)}`,
          ]),
      ...forwardedEgress(scope, address),
    ]),
  ];
}

/** A SYN that came through a channel may only reach a connection that is there: no listener answers it. */
function neverOpen(scope: Scope, address: IpAddress): string[] {
  const arrived = `${scope.hasMark(arrivedMark(scope.host.marks))} ip daddr ${address} ${pureSyn}`;
  const owned = scope.state.addresses.some((candidate) => candidate.private === address);
  const bound = owned ? `tcp dport != @${setName.ofAddress("bound", address)} ` : "";
  return [
    `${arrived} ct state established,related accept`,
    `${arrived} ${bound}socket wildcard 0 accept`,
    `${arrived} drop`,
  ];
}

/** Flows of containers behind this host's own translation are the host's flows too. */
function forwardedEgress(scope: Scope, address: AgentAddress): string[] {
  if (address.egress.kind === "normal") return [];
  const external = `ip daddr != ${scope.fabric}`;
  const target = `goto ${chainFor.egress(address.private)}`;
  return [
    `ct direction reply ct original ip daddr ${address.private} ${external} ip saddr != ${address.private} ${target}`,
    `ct direction original ct reply ip daddr ${address.private} ${external} ip saddr != ${address.private} ${target}`,
  ];
}

function input(scope: Scope): string[] {
  return scope.state.links
    .filter((link) => link.ownerEnd)
    .map((link) => {
      const proof = `ip saddr ${scope.state.probeSource} ip daddr ${link.localPrivate} tcp dport ${link.id}`;
      return `${scope.hasMark(arrivedMark(scope.host.marks))} ${proof} log group ${logGroups.proofAtOwner} drop`;
    });
}

function outputRoute(scope: Scope): string[] {
  const { state } = scope;
  return [
    ...state.links
      .filter((link) => link.ownerEnd)
      .map((link) => {
        const mark = scope.setMark(packetMark(scope.host.marks, "egress", link.id));
        return `ip saddr ${link.localPrivate} ip daddr ${state.probeSource} tcp sport ${link.id} ${mark} accept`;
      }),
    ...state.addresses.flatMap((address) => {
      const external = `ip saddr ${address.private} ip daddr != ${scope.fabric}`;
      return [
        ...(address.holdOpens ? [`${external} ${pureSyn} drop`] : []),
        ...(address.egress.kind === "normal" ? [] : [`${external} goto ${chainFor.egress(address.private)}`]),
      ];
    }),
  ];
}

/**
 * Where the external traffic of a private address goes. "New" needs proof: a first SYN that this host itself sent
 * after the switch. Everything else is taken for old, known to connection tracking or not.
 */
function egress(scope: Scope, address: AgentAddress): string[] {
  const { marks } = scope.host;
  const old = connectionMark(marks, "old", address.generation);
  const opens = `${pureSyn} ct state new`;
  switch (address.egress.kind) {
    case "normal":
      return [];
    case "armed":
      return [`${opens} ${scope.setConnectionMark(old)}`];
    case "channel": {
      const fresh = connectionMark(marks, "new", address.generation);
      return [
        `${opens} ${scope.connectionHas("!=", old)} ${scope.setConnectionMark(fresh)}`,
        `${scope.connectionHas("==", fresh)} accept`,
        scope.setMark(packetMark(marks, "egress", address.egress.link)),
        `counter name ${counterName("returned", address.egress.link)} accept`,
      ];
    }
    default:
      throw new RangeError(`unknown egress ${address.egress satisfies never}`);
  }
}

function forward(scope: Scope): string[] {
  const devices = scope.host.guardedDevices.map((device) => `"${device}"`).join(", ");
  if (devices === "") return [];
  return [`iifname { ${devices} } meta mark & ${formatMark(scope.host.marks.mask)} == 0 drop`];
}

/** Sources are rewritten last: rewritten before routing, the host's own address would be a martian. */
function postrouting(scope: Scope): string[] {
  return scope.state.links
    .filter((link) => !link.ownerEnd)
    .map((link) => {
      const returned = scope.hasMark(packetMark(scope.host.marks, "returned", link.id));
      return `${returned} ip saddr ${link.peerPrivate} ip saddr set ${link.localPrivate}`;
    });
}

/** A connection of the holder's own must not take the name of a followed flow: it gets another port. */
function ownPorts(scope: Scope): string[] {
  return scope.state.addresses.flatMap((address) =>
    address.follows.flatMap(({ link }) =>
      (["follow", "learnt", "half"] as const).map((kind) => {
        const clash = `ip saddr ${address.private} ${pureSyn} ${outbound} @${setName.ofLink(kind, link)}`;
        return `${clash} snat ip to ${address.private}:32768-60999 fully-random`;
      }),
    ),
  );
}
