/**
 * What must be true of packets at every moment, judged by the states that the nodes have applied and nothing else.
 * Returns what is broken, in words; nothing: all is well.
 */
import type { IpAddress } from "../../src/flow/address.ts";
import type { AgentAddress, GatewayState } from "../../src/node/state.ts";
import type { FakeNode } from "./fake-node.ts";

export function brokenInvariants(agents: readonly FakeNode[], gateways: readonly FakeNode[]): string[] {
  const states = gateways.flatMap(({ name, gatewayState }) => (gatewayState ? [{ name, state: gatewayState }] : []));
  const broken: string[] = [];
  for (const { name, state } of states)
    broken.push(...ambiguous(name, state), ...strayOpens(name, state, states, agents));
  for (const owner of agents) {
    if (owner.estranged) continue;
    for (const [address, flows] of owner.flows) {
      if (flows === 0) continue;
      for (const { name, state } of states) {
        broken.push(...wayIn(name, state, address, owner, agents), ...wayOut(name, state, address, owner, agents));
      }
    }
  }
  return broken;
}

function translates(state: GatewayState, address: IpAddress, own: IpAddress): boolean {
  return [...state.mappings, ...state.accepts].some((entry) => entry.address === address && entry.private === own);
}

/** A stateless edge can't tell two public addresses apart that share a private one. */
function ambiguous(gateway: string, state: GatewayState): string[] {
  const seen = new Map<string, string>();
  return [...state.mappings, ...state.accepts].flatMap((entry) => {
    const before = seen.get(entry.private) ?? entry.address;
    seen.set(entry.private, entry.address);
    return before === entry.address ? [] : [`${gateway} maps ${entry.private} to ${before} and to ${entry.address}`];
  });
}

/**
 * An instance that opens a connection whose answers no gateway sends to it, though this one translates what it sends. Who
 * can't be told is left out: the address may be moved on from a host that is gone (R15).
 */
function strayOpens(
  gateway: string,
  { accepts }: GatewayState,
  all: readonly { readonly state: GatewayState }[],
  agents: readonly FakeNode[],
): string[] {
  return accepts.flatMap(({ private: own, retiring }) => {
    if (retiring || all.some(({ state }) => state.mappings.some((mapping) => mapping.private === own))) return [];
    const holder = agents.find((agent) => agent.hello().privateAddresses.includes(own));
    const entry = holder?.agentState?.addresses.find((candidate) => candidate.private === own);
    const opens = holder?.session !== undefined && entry?.egress.kind === "normal" && !entry.holdOpens;
    return opens ? [`${holder?.name} opens connections by ${own}, which ${gateway} only translates outwards`] : [];
  });
}

/** A packet of the owner's flow reaches the owner through whichever gateway it comes (O2). */
function wayIn(gateway: string, state: GatewayState, address: IpAddress, owner: FakeNode, agents: readonly FakeNode[]) {
  const mapping = state.mappings.find((entry) => entry.address === address);
  if (mapping === undefined) return [`${gateway} has no mapping for ${address}, of which ${owner.name} has flows`];
  const holder = agents.find((agent) => agent.hello().privateAddresses.includes(mapping.private));
  if (holder === owner) return [];
  const way = `${gateway} sends ${address} to ${holder?.name}, and`;
  const follow = entryOf(holder, address)?.follows.find((candidate) => candidate.owner === owner.name);
  if (follow === undefined) return [`${way} it does not follow ${owner.name}, which has flows`];
  const missing = [holder, owner].filter((end) => !end?.agentState?.links.some(({ id }) => id === follow.link));
  return missing.map((end) => `${way} follows ${owner.name} by link ${follow.link}, which ${end?.name} does not have`);
}

/** The owner's answer leaves with an address that every gateway translates. */
function wayOut(
  gateway: string,
  state: GatewayState,
  address: IpAddress,
  owner: FakeNode,
  agents: readonly FakeNode[],
) {
  const entry = entryOf(owner, address);
  if (entry === undefined) return [`${owner.name} has flows of ${address}, but no state for it`];
  if (entry.egress.kind !== "channel") {
    if (translates(state, address, entry.private)) return [];
    return [`${gateway} does not accept ${entry.private}, by which ${owner.name} answers for ${address}`];
  }
  const { link } = entry.egress;
  const own = owner.agentState?.links.find(({ id }) => id === link);
  if (own === undefined) return [`${owner.name} answers by link ${link}, which it does not have`];
  const peer = agents.find(({ name }) => name === own.peer);
  const broken: string[] = [];
  if (!translates(state, address, own.peerPrivate))
    broken.push(`${gateway} does not accept ${own.peerPrivate}, by which ${owner.name} answers through ${own.peer}`);
  if (!entryOf(peer, address)?.follows.some((follow) => follow.owner === owner.name && follow.link === link))
    broken.push(`${owner.name} answers by link ${link}, but ${own.peer} follows nobody there`);
  if (!peer?.agentState?.links.some(({ id }) => id === link))
    broken.push(`${owner.name} answers by link ${link}, which ${own.peer} does not have`);
  return broken;
}

function entryOf(agent: FakeNode | undefined, address: IpAddress): AgentAddress | undefined {
  return agent?.agentState?.addresses.find((entry) => entry.address === address);
}
