/** The owner's rules: what comes through a channel, and what goes back into it. */
import type { IpAddress } from "../flow/address.ts";
import type { AgentAddress } from "../node/state.ts";
import { arrivedMark, connectionMark, packetMark } from "./mark.ts";
import { chainFor, counterName, logGroups, setName } from "./names.ts";
import { inbound, pureSyn, type RuleScope } from "./rule-scope.ts";

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
  if (address.egress.kind !== "channel") return [];
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
