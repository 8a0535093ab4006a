/**
 * The agent's nftables table: desired state in, one transaction out.
 *
 * Here stand the hooks; holder-rules.ts and owner-rules.ts say what is decided there. Chains are written anew by every
 * transaction; sets and counters are only added, so what the kernel has learnt survives (invariant D6).
 * Followed packets are translated statelessly before connection tracking sees them: no NAT entry can outlive a remap
 * and catch a later connection.
 */
import { isIpv4Prefix } from "../flow/address.ts";
import { type AgentState, hasSwitched, type Link } from "../node/state.ts";
import { decisionChains, fromOwner, ownPorts, probesUnmarked, returnSources, toOwner } from "./holder-rules.ts";
import { guardHosted } from "./hosted-rules.ts";
import { arrivedMark, formatMark, packetMark } from "./mark.ts";
import {
  addressSets,
  answeringOwnerSets,
  chainFor,
  counterKinds,
  counterName,
  followSets,
  ownerSets,
  setName,
  tableName,
} from "./names.ts";
import { catchProofs, egress, forwardedEgress, givenUp, neverOpen, translatedOpens } from "./owner-rules.ts";
import { vxlanPort } from "./routing.ts";
import { type AgentHost, type Chain, pureSyn, RuleScope } from "./rule-scope.ts";

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

export function renderAgentRuleset(state: AgentState, host: AgentHost, present: TableObjects): Ruleset {
  const scope = new RuleScope(state, host);
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
    if (hasSwitched(address.egress))
      for (const kind of ownerSets) sets.set(setName.ofLink(kind.name, address.egress.link), kind.definition);
  }
  for (const link of state.links) {
    if (!link.ownerEnd || link.returnPath !== "direct") continue;
    for (const kind of answeringOwnerSets) sets.set(setName.ofLink(kind.name, link.id), kind.definition);
  }
  return sets;
}

/** A hook costs every packet of the host something: one that has nothing to decide is left out. */
function baseChains(scope: RuleScope): Chain[] {
  const chains: Chain[] = [
    { name: "prerouting_raw", hook: "type filter hook prerouting priority raw", rules: prerouting(scope) },
    { name: "prerouting_tracked", hook: "type filter hook prerouting priority mangle", rules: tracked(scope) },
    {
      name: "input",
      hook: "type filter hook input priority mangle",
      rules: [...catchProofs(scope), ...guardHosted(scope)],
    },
    { name: "output_raw", hook: "type filter hook output priority raw", rules: outputRaw(scope) },
    { name: "output_route", hook: "type route hook output priority mangle", rules: outputRoute(scope) },
    { name: "forward", hook: "type filter hook forward priority filter", rules: forward(scope) },
    {
      name: "postrouting",
      hook: "type filter hook postrouting priority srcnat",
      rules: [...returnSources(scope), ...probesUnmarked(scope)],
    },
    { name: "postrouting_port", hook: "type nat hook postrouting priority srcnat", rules: ownPorts(scope) },
    ...translatedOpens(scope),
  ];
  return chains.filter(({ rules }) => rules.length > 0);
}

function trackScope(scope: RuleScope): string[] {
  if (!scope.host.trackExternalOnly || !scope.state.fabric.some(isIpv4Prefix)) return [];
  return ["ip saddr 127.0.0.0/8 notrack", `ip saddr ${scope.fabric} ip daddr ${scope.fabric} notrack`];
}

function outputRaw(scope: RuleScope): string[] {
  const { links, probeSource } = scope.state;
  const proofs = links.some((link) => link.ownerEnd) ? [`ip daddr ${probeSource} notrack`] : [];
  const probes = links.some((link) => !link.ownerEnd) ? [`ip saddr ${probeSource} notrack`] : [];
  return [...proofs, ...probes, ...trackScope(scope)];
}

function prerouting(scope: RuleScope): string[] {
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

function linkChains(scope: RuleScope, link: Link): Chain[] {
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

function addressChains(scope: RuleScope): Chain[] {
  return scope.state.addresses.flatMap((address) => [
    ...(address.follows.length === 0 ? [] : decisionChains(scope, address)),
    ...(address.egress.kind === "normal"
      ? []
      : [{ name: chainFor.egress(address.private), rules: egress(scope, address) }]),
  ]);
}

function tracked(scope: RuleScope): string[] {
  const { state } = scope;
  const owners = state.links.filter((link) => link.ownerEnd);
  const noOpen = owners.map((link) => link.localPrivate).filter((address, i, all) => all.indexOf(address) === i);
  return [
    // Connections are tracked from the agent's start, long before a remap needs it: a rule that asks is what starts it.
    "ct state invalid counter",
    ...state.addresses.flatMap((address) => givenUp(scope, address)),
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

function outputRoute(scope: RuleScope): string[] {
  const { state } = scope;
  return [
    ...state.links
      .filter((link) => link.ownerEnd)
      .flatMap((link) => {
        const mark = scope.setMark(packetMark(scope.host.marks, "egress", link.id));
        const answer = `ip saddr ${link.localPrivate} ip daddr ${state.probeSource}`;
        const proof = `${answer} tcp sport ${link.id}`;
        return [
          link.returnPath === "direct" ? `${proof} accept` : `${proof} ${mark} accept`,
          `${answer} icmp type echo-reply icmp id ${link.id} ${mark} accept`,
        ];
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

function forward(scope: RuleScope): string[] {
  const devices = scope.host.guardedDevices.map((device) => `"${device}"`).join(", ");
  if (devices === "") return [];
  return [`iifname { ${devices} } meta mark & ${formatMark(scope.host.marks.mask)} == 0 drop`];
}
