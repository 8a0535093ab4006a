/** The owner's rules: what comes through a channel, and what goes back into it. */
import type { IpAddress } from "../flow/address.ts";
import { type AgentAddress, hasSwitched, type LinkId } from "../node/state.ts";
import { arrivedMark, connectionMark, packetMark } from "./mark.ts";
import { chainFor, counterName, logGroups, setName } from "./names.ts";
import { type Chain, inbound, outbound, pureSyn, type RuleScope, synAck } from "./rule-scope.ts";

const opens = `${pureSyn} ct state new`;

/** A SYN that came through a channel may only reach a connection that is there: no listener answers it. */
export function neverOpen(scope: RuleScope, address: IpAddress): string[] {
  const arrived = `${pureSyn} ${scope.hasMark(arrivedMark(scope.host.marks))} ip daddr ${address}`;
  const owned = scope.state.addresses.some((candidate) => candidate.private === address);
  const bound = owned ? `tcp dport != @${setName.ofAddress("bound", address)} ` : "";
  return [
    `${arrived} ct state established,related accept`,
    `${arrived} ${bound}socket wildcard 0 accept`,
    `${arrived} drop`,
  ];
}

/** The client answers the owner's challenge at once; it has asked for its ports again after 1, 3 and 7 s by then. */
const reopeningSeconds = 15;
/** The kernel keeps the entry of a connection that was reset for so long, and that of a living one for minutes. */
const resetEntrySeconds = 10;

/**
 * Counts connections that are superseded: their client has asked for the same ports again, the owner has answered as
 * RFC 5961 says, and the client's reset has ended the old connection. That it did is what connection tracking says, which
 * takes a reset for the end only where its sequence number is the expected one, as TCP does; the entry's short time is
 * how a rule can tell. Once for each, however often the reset is repeated.
 */
export function givenUp(scope: RuleScope, address: AgentAddress): string[] {
  if (!hasSwitched(address.egress)) return [];
  const { link } = address.egress;
  const arrived = `${scope.hasMark(arrivedMark(scope.host.marks))} ip daddr ${address.private}`;
  const reopening = `@${setName.ofLink("reopening", link)}`;
  const ended = `tcp flags & rst == rst ${arrived} ${inbound} ${reopening} ct expiration <= ${resetEntrySeconds}s`;
  return [
    `${pureSyn} ${arrived} ct state established update ${reopening} { ${inbound} timeout ${reopeningSeconds}s }`,
    `${ended} counter name ${counterName("superseded", link)} delete ${reopening} { ${inbound} }`,
  ];
}

/** Flows of containers behind this host's own translation are the host's flows too; they come in by other devices. */
export function forwardedEgress(scope: RuleScope, address: AgentAddress): string[] {
  if (address.egress.kind === "normal") return [];
  const elsewhere = `iifname != "${scope.deviceOf(address.private)}"`;
  const target = `ip daddr != ${scope.fabric} goto ${chainFor.egress(address.private)}`;
  return [
    `${elsewhere} ct direction reply ct original ip daddr ${address.private} ${target}`,
    `${elsewhere} ct direction original ct reply ip daddr ${address.private} ${target}`,
  ];
}

/** Proofs that came by the way of followed packets, routed as these are: their copy is answered by the agent. */
export function catchProofs(scope: RuleScope): string[] {
  return scope.state.links
    .filter((link) => link.ownerEnd)
    .map((link) => {
      const proof = `ip saddr ${scope.state.probeSource} ip daddr ${link.localPrivate} tcp dport ${link.id}`;
      return `${scope.hasMark(arrivedMark(scope.host.marks))} ${proof} log group ${logGroups.proofAtOwner} drop`;
    });
}

/**
 * Where the external traffic of a private address goes. "New" needs proof: a first SYN that this host itself sent
 * after the switch. Everything else is taken for old, known to connection tracking or not.
 */
export function egress(scope: RuleScope, address: AgentAddress): string[] {
  const { marks } = scope.host;
  const old = connectionMark(marks, "old", address.generation);
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
    case "direct":
      return ownAnswers(scope, address.egress.link, old);
    default:
      throw new RangeError(`unknown egress ${address.egress satisfies never}`);
  }
}

/**
 * The host answers clients by itself. The gateways translate what it sends, but whatever answers goes to the holder: so
 * nothing is opened from here. Answers to handshakes alone take the channel, for both ends of it may have been asked for
 * the same one around the flip, and the holder lets only one of them answer (trap 6). Resets show no life: they answer
 * strangers too.
 */
function ownAnswers(scope: RuleScope, link: LinkId, old: number): string[] {
  const returned = counterName("returned", link);
  return [
    `${outbound} @${setName.ofLink("muted", link)} drop`,
    `${opens} ${scope.connectionHas("!=", old)} counter name ${counterName("refused", link)} drop`,
    `${synAck} ${scope.setMark(packetMark(scope.host.marks, "egress", link))} counter name ${returned} accept`,
    "tcp flags & rst == rst accept",
    `meta l4proto tcp counter name ${returned} accept`,
  ];
}

/**
 * Containers behind this host's own translation open connections too, and a first SYN of theirs has the host's source
 * only after that translation.
 */
export function translatedOpens(scope: RuleScope): Chain[] {
  const { marks } = scope.host;
  const rules = scope.state.addresses.flatMap(({ private: own, generation, egress }) => {
    const link = egress.kind === "normal" ? undefined : scope.state.links.find(({ id }) => id === egress.link);
    if (egress.kind === "normal" || link?.returnPath !== "direct") return [];
    const old = connectionMark(marks, "old", generation);
    const opening = `ip saddr ${own} ip daddr != ${scope.fabric} ${opens}`;
    return egress.kind === "armed"
      ? [`${opening} ${scope.setConnectionMark(old)}`]
      : [`${opening} ${scope.connectionHas("!=", old)} counter name ${counterName("refused", link.id)} drop`];
  });
  if (rules.length === 0) return [];
  return [{ name: "postrouting_opens", hook: "type filter hook postrouting priority srcnat + 10", rules }];
}
