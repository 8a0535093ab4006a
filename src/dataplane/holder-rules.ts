/**
 * The holder's rules: whose is a packet that arrives for a followed address, and what becomes of return traffic.
 * The table in SPEC.md ("The decision at the holder") says the same in words.
 */
import type { AgentAddress, Link, LinkId } from "../node/state.ts";
import { formatMark, packetMark } from "./mark.ts";
import { chainFor, counterName, type FollowSet, logGroups, setName } from "./names.ts";
import { type Chain, inbound, outbound, pureSyn, type RuleScope, synAck } from "./rule-scope.ts";

/** A handshake's answers are retransmitted for about this long (tcp_synack_retries 5: 1+2+4+8+16+32 s). */
const halfSeconds = 64;
/** The owner must not answer for a flow of the holder's while it might still have a half-open one of that name. */
const ownSynSeconds = 128;

/** More unknown packets than this are dropped: connections repeat theirs, scans don't matter. */
const unknownLimit = "limit rate over 20000/second burst 5000 packets";
const lookupLimit = "limit rate 500/second burst 500 packets";

/** Into the channel: translated without state, and past connection tracking. Who sends it here counts what is to count. */
export function toOwner(scope: RuleScope, link: Link): string[] {
  return [
    "notrack",
    scope.setMark(packetMark(scope.host.marks, "followed", link.id)),
    `ip daddr set ${link.peerPrivate} accept`,
  ];
}

/**
 * Return traffic. The mark comes first: a full set must cost a flow its place in the set, never its packets. Then what
 * nearly all of it is, flows that the tracker knows, in one look-up. Counted is what shows that a flow lives: neither a
 * reset nor an ICMP error, which are answers to strangers too, nor what a flow still says after its end.
 */
export function fromOwner(scope: RuleScope, link: Link): string[] {
  const set = (kind: FollowSet) => `@${setName.ofLink(kind, link.id)}`;
  const pass = ["notrack", scope.setMark(packetMark(scope.host.marks, "returned", link.id))];
  const count = `counter name ${counterName("returned", link.id)}`;
  const toProber = `ip daddr ${scope.state.probeSource}`;
  const answered = `${toProber} icmp type echo-reply icmp id ${link.id} counter name ${counterName("answered", link.id)} drop`;
  if (!scope.follows(link)) return [answered, `ip daddr != ${scope.state.probeSource} accept`, ...pass];
  return [
    ...pass,
    `${outbound} ${set("follow")} ${count} accept`,
    answered,
    `${toProber} accept`,
    `meta l4proto udp ${count} accept`,
    "meta l4proto != tcp accept",
    `${outbound} ${set("own_syn")} counter name ${counterName("refused", link.id)} drop`,
    "tcp flags & rst == rst accept",
    `${synAck} update ${set("half")} { ${outbound} timeout ${halfSeconds}s }`,
    `${synAck} ${count} accept`,
    `${outbound} ${set("closing")} accept`,
    count,
    `update ${set("learnt")} { ${outbound} }`,
  ];
}

export function decisionChains(scope: RuleScope, address: AgentAddress): Chain[] {
  return [
    { name: chainFor.decide(address.private), rules: decide(address) },
    { name: chainFor.syn(address.private), rules: decideSyn(address) },
    { name: chainFor.unknown(address.private), rules: decideUnknown(scope, address) },
  ];
}

/**
 * Rules 2 to 5 of the decision: what can be told from the packet and the sets alone. A handshake that the holder has taken
 * is its own even where word of the owner's half-open one of the same name comes late.
 */
function decide(address: AgentAddress): string[] {
  const to = (kind: FollowSet) =>
    address.follows.map(({ link }) => {
      const count = kind === "closing" ? "" : `counter name ${counterName("followed", link)} `;
      return `${inbound} @${setName.ofLink(kind, link)} ${count}goto ${chainFor.follow(link)}`;
    });
  return [
    `${pureSyn} goto ${chainFor.syn(address.private)}`,
    ...to("follow"),
    ...taken(address),
    ...to("learnt"),
    ...to("half"),
    ...to("closing"),
  ];
}

function decideSyn(address: AgentAddress): string[] {
  const set = (kind: FollowSet, link: LinkId) => `@${setName.ofLink(kind, link)}`;
  return [
    ...taken(address),
    ...address.follows.flatMap(({ link }) => [
      `${inbound} ${set("half", link)} counter name ${counterName("followed", link)} goto ${chainFor.follow(link)}`,
      `${inbound} ${set("follow", link)} goto ${chainFor.follow(link)}`,
      `${inbound} ${set("learnt", link)} goto ${chainFor.follow(link)}`,
    ]),
    ...address.follows.map(
      ({ link }) => `${inbound} ${set("closing", link)} delete ${set("closing", link)} { ${inbound} }`,
    ),
    ...address.follows.map(
      ({ link }) => `update @${setName.ofLink("own_syn", link)} { ${inbound} timeout ${ownSynSeconds}s }`,
    ),
  ];
}

/** Handshakes that the holder has taken itself. */
function taken(address: AgentAddress): string[] {
  return address.follows.map(({ link }) => `${inbound} @${setName.ofLink("own_syn", link)} accept`);
}

/** Rules 6 and 7: after connection tracking has spoken. */
function decideUnknown(scope: RuleScope, address: AgentAddress): string[] {
  const known = [
    `meta mark & ${formatMark(scope.host.marks.mask)} != 0 accept`,
    // Without an answer it proves nothing: where tracking picks up connections midway, the packet made the entry itself.
    "ct status seen-reply accept",
    ...taken(address),
    ...address.follows.map(({ link }) => `${inbound} @${setName.ofLink("own", link)} accept`),
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

/** Sources are rewritten last: rewritten before routing, the host's own address would be a martian. */
export function returnSources(scope: RuleScope): string[] {
  return scope.state.links
    .filter((link) => !link.ownerEnd)
    .map((link) => {
      const returned = scope.hasMark(packetMark(scope.host.marks, "returned", link.id));
      return `${returned} ip saddr ${link.peerPrivate} ip saddr set ${link.localPrivate}`;
    });
}

/** A probe has found its route by its mark; a tunnel's packet around it would find the same one. */
export function probesUnmarked(scope: RuleScope): string[] {
  return scope.state.links
    .filter((link) => !link.ownerEnd)
    .map((link) => `${scope.hasMark(packetMark(scope.host.marks, "probe", link.id))} ${scope.setMark(0)}`);
}

/** A connection of the holder's own must not take the name of a followed flow: it gets another port. */
export function ownPorts(scope: RuleScope): string[] {
  return scope.state.addresses.flatMap((address) =>
    address.follows.flatMap(({ link }) =>
      (["follow", "learnt", "half"] as const).map((kind) => {
        const clash = `ip saddr ${address.private} ${pureSyn} ${outbound} @${setName.ofLink(kind, link)}`;
        return `${clash} snat ip to ${address.private}:32768-60999 fully-random`;
      }),
    ),
  );
}
