/**
 * What a remap still waits for: who must have acknowledged what before the next step.
 *
 * Computed afresh from what the nodes report, so nothing of it is stored, and a new leader knows it as soon as the
 * nodes have spoken to it. A node that was given up (`instances rm`, `gateways rm`) is not in the world and is not
 * waited for.
 */
import { type AgentState, type GatewayState, hasSwitched, type ShardPosition } from "../node/state.ts";
import { activeOwners, type Chain, type Later, structuresOf } from "./chain.ts";
import { isFlipped, isSourceLost } from "./phase.ts";
import {
  barrierMarkId,
  loadId,
  type OwnerLink,
  proofId,
  type RemapState,
  snapshotMarkId,
  type Wait,
} from "./record.ts";
import { acceptsOf, answersDirectly, returnPathOf } from "./return-path.ts";
import type { AgentFacts, NodeFacts, World } from "./world.ts";

/** What a remap is judged by. */
export interface View {
  readonly world: World;
  readonly chain: Chain;
  readonly later: Later;
}

/** Name under which the trackers are waited for. */
export const trackerNode = "tracker";

export function linkWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  const owners = activeOwners(view.chain, state);
  const ends = owners.flatMap((owner) => [
    { name: owner.owner, owner },
    { name: record.target, owner },
  ]);
  return ends.flatMap(({ name, owner }) =>
    agentWait(view, name, `to set up channel ${owner.link} (${owner.kind})`, (agent) =>
      agent.applied?.links.some((link) => link.id === owner.link && link.peerPrivate === otherEnd(state, owner, name)),
    ),
  );
}

export function preparingWaits(state: RemapState, view: View): Wait[] {
  const links = linkWaits(state, view);
  const marks = markWaits(state, view, snapshotMarkId(state.record.id), "to publish a snapshot of its connections");
  const proofs = proofWaits(state, view);
  const nodes = [...gatewaysPresent(view), ...links, ...marks];
  const id = snapshotMarkId(state.record.id);
  const missing = marks.length > 0 || state.live.barriersPassed.includes(id);
  const barrier =
    missing || activeOwners(view.chain, state).length === 0 ? [] : [trackerWait("the snapshot", state, view, id)];
  return [...nodes, ...proofs, ...barrier];
}

export function armingWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  const { address, targetPrivate } = record;
  const owners = activeOwners(view.chain, state);
  const gateways = gatewayWaits(view, `to accept replies of ${targetPrivate} for ${address}`, ({ applied }) =>
    applied === undefined ? false : translates(applied, record, targetPrivate),
  );
  const target = agentWait(view, record.target, `to be ready to follow connections of ${address}`, ({ applied }) => {
    const entry = addressOf(applied, record);
    if (entry === undefined) return false;
    return entry.holdOpens && owners.every(({ link }) => entry.follows.some((follow) => follow.link === link));
  });
  const loads = owners.flatMap(({ owner }) =>
    agentWait(view, record.target, `to load the connections of ${owner} from the trackers`, ({ status }) =>
      status.loads.some(({ id }) => id === loadId(record.id, owner)),
    ),
  );
  const source = owners
    .filter(({ owner }) => owner === record.source)
    .flatMap(({ owner, link }) =>
      agentWait(view, owner, `to be ready for its part in the switch, by channel ${link}`, ({ applied }) => {
        const egress = addressOf(applied, record)?.egress;
        return egress?.kind === "armed" && egress.link === link;
      }),
    );
  return [...gateways, ...target, ...loads, ...source];
}

export function flipWaits(state: RemapState, view: View): Wait[] {
  const { address, targetPrivate, generation, target } = state.record;
  return gatewayWaits(view, `to send ${address} to ${target}`, ({ applied }) =>
    applied?.mappings.some(
      (mapping) =>
        mapping.address === address && mapping.private === targetPrivate && mapping.generation === generation,
    ),
  );
}

/** The source alone: its acknowledgement ends the switch time. */
export function sourceReturnWaits(state: RemapState, view: View): Wait[] {
  return ownerReturnWaits(state, view).filter(({ node }) => node === state.record.source);
}

export function returnWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  const target = agentWait(view, record.target, `to open connections of ${record.address}`, ({ applied }) => {
    const entry = addressOf(applied, record);
    return entry !== undefined && !hasSwitched(entry.egress) && !entry.holdOpens;
  });
  return [...ownerReturnWaits(state, view), ...target, ...resetWaits(state, view)];
}

function ownerReturnWaits(state: RemapState, view: View): Wait[] {
  return activeOwners(view.chain, state).flatMap((entry) => {
    const { owner, link } = entry;
    const path = returnPathOf(view.chain, state, entry);
    const what = path === "direct" ? "to open no more connections" : `to answer by channel ${link}`;
    return agentWait(view, owner, what, ({ applied }) => {
      const egress = addressOf(applied, state.record)?.egress;
      return egress?.kind === path && egress.link === link;
    });
  });
}

/** Policy `follow: false`: a source that can be reached resets its connections itself. */
function resetWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  if (record.policy.follow || view.world.agents.get(record.source)?.connected !== true) return [];
  return agentWait(view, record.source, "to reset its connections", ({ applied, status }) => {
    if (addressOf(applied, record)?.cut !== true) return false;
    return status.drains.some((drain) => drain.address === record.address && drain.open === 0);
  });
}

export function barrierWaits(state: RemapState, view: View): Wait[] {
  const id = barrierMarkId(state.record.id);
  const marks = markWaits(state, view, id, "to publish that it is past the switch");
  if (marks.length > 0 || state.live.barriersPassed.includes(id)) return marks;
  return activeOwners(view.chain, state).length === 0
    ? []
    : [trackerWait("what was published up to the switch", state, view, id)];
}

export function settleWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  return activeOwners(view.chain, state).flatMap(({ owner, link }) =>
    agentWait(view, record.target, `to judge unknown packets of connections of ${owner}`, ({ applied }) =>
      addressOf(applied, record)?.follows.some((follow) => follow.link === link && follow.settled),
    ),
  );
}

/** At the end of a switch; a source that answers by itself keeps its translation until its drain is over. */
export function retireWaits(state: RemapState, view: View): Wait[] {
  return answersDirectly(state.record) ? [] : translationWaits(state, view);
}

/** The gateways translate the source's private address no longer, or have let go of it by themselves. */
export function translationWaits(state: RemapState, view: View): Wait[] {
  const { sourcePrivate, address } = state.record;
  const wanted = `to let go of ${sourcePrivate} for ${address}`;
  return gatewayWaits(view, wanted, ({ applied, status }) => {
    const mapped = applied?.mappings.some(
      (mapping) => mapping.private === sourcePrivate && mapping.address === address,
    );
    if (mapped) return true;
    const accept = applied?.accepts.find((entry) => entry.private === sourcePrivate && entry.address === address);
    if (applied === undefined) return false;
    return accept === undefined || (accept.retiring && status.retired.includes(sourcePrivate));
  });
}

/** Nothing of the remap's channel is left at either end. A source that is lost is told when it should come back. */
export function removalWaits(state: RemapState, view: View, whom: "everyone" | "connected"): Wait[] {
  const { record } = state;
  const kept = new Set(structuresOf(view.chain).flatMap((other) => activeOwners(view.chain, other).map((o) => o.link)));
  const links = record.owners.filter(({ link }) => !kept.has(link));
  const own = view.later.link;
  const all = own === undefined || kept.has(own.link) ? links : [...links, own];
  const serves = (name: string, applied: AgentState) =>
    isFlipped(record) && name === record.source && !view.later.home && addressOf(applied, record) !== undefined;
  const names = new Set([record.target, view.later.holder, ...record.owners.map(({ owner }) => owner), record.source]);
  return [...names].flatMap((name) => {
    const present = view.world.agents.get(name)?.connected === true;
    if (!present && (whom === "connected" || (name === record.source && isSourceLost(record)))) return [];
    return agentWait(view, name, `to remove what it had set up for ${record.address}`, ({ applied }) =>
      applied === undefined ? false : !all.some(({ link }) => mentions(applied, link)) && !serves(name, applied),
    );
  });
}

/** A source that answered by itself, and was lost or let go of amid its drain: its private address is free only then. */
export function sourceRemovalWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  const wished = acceptsOf(view.chain).some((accept) => accept.private === record.sourcePrivate);
  return answersDirectly(record) && !wished ? translationWaits(state, view) : [];
}

export function acceptRemovalWaits(state: RemapState, view: View): Wait[] {
  const { address, targetPrivate } = state.record;
  return gatewayWaits(view, `to let go of ${targetPrivate} for ${address}`, ({ connected, applied }) => {
    if (!connected) return true;
    return applied !== undefined && !applied.accepts.some((entry) => entry.private === targetPrivate);
  });
}

/** Positions that the owners reported for a mark; undefined while one of them is missing. */
export function markPositions(
  state: RemapState,
  view: View,
  id: string,
): ReadonlyMap<string, readonly ShardPosition[]> {
  const positions = new Map<string, readonly ShardPosition[]>();
  for (const { owner } of activeOwners(view.chain, state)) {
    const mark = view.world.agents.get(owner)?.status.marks.find((report) => report.id === id);
    if (mark !== undefined) positions.set(owner, mark.positions);
  }
  return positions;
}

/** Size of the smallest proof that came back through a link; 0: one is missing. */
export function provenSize(state: RemapState, view: View, owner: OwnerLink): number {
  const id = proofId(state.record.id, owner.link);
  const sizes = [...view.world.gateways.keys()].map((sender) => proofOf(view.world, id, sender));
  return sizes.length === 0 ? 0 : Math.min(...sizes);
}

function proofWaits(state: RemapState, view: View): Wait[] {
  const { record } = state;
  return activeOwners(view.chain, state).flatMap((owner) =>
    [...view.world.gateways.keys()].flatMap((sender): Wait[] => {
      const size = proofOf(view.world, proofId(record.id, owner.link), sender);
      if (size >= owner.packetSize) return [];
      const back = returnPathOf(view.chain, state, owner) === "direct" ? "" : ` → ${record.target}`;
      const way = `${sender} → ${record.target} → ${owner.owner}${back} → a gateway`;
      const seen = size === 0 ? "none came back" : `one of ${size} bytes came back`;
      const what = `a proof of ${owner.packetSize} bytes by channel ${owner.link} (${owner.kind}), ${way}; ${seen}`;
      return [{ node: sender, what, kind: size === 0 ? "proof" : "size" }];
    }),
  );
}

/** The proof may have come back to another gateway than its sender. */
function proofOf(world: World, id: string, sender: string): number {
  const reports = [...world.gateways.values()].flatMap(({ status }) => status.proofs);
  return Math.max(0, ...reports.filter((proof) => proof.id === id && proof.sender === sender).map(({ mtu }) => mtu));
}

function markWaits(state: RemapState, view: View, id: string, what: string): Wait[] {
  return activeOwners(view.chain, state).flatMap(({ owner }) =>
    agentWait(view, owner, what, ({ status }) => status.marks.some((mark) => mark.id === id)),
  );
}

function gatewaysPresent(view: View): Wait[] {
  return gatewayWaits(view, "to connect", ({ connected }) => connected);
}

type Test<Facts> = (facts: Facts) => boolean | undefined;

function agentWait(view: View, name: string, what: string, done: Test<AgentFacts>): Wait[] {
  const agent = view.world.agents.get(name);
  return agent === undefined ? [] : nodeWait(agent, what, done);
}

function gatewayWaits(view: View, what: string, done: Test<NodeFacts<GatewayState>>): Wait[] {
  return [...view.world.gateways.values()].flatMap((gateway) => nodeWait(gateway, what, done));
}

function nodeWait<State>(node: NodeFacts<State>, what: string, done: Test<NodeFacts<State>>): Wait[] {
  if (done(node) === true) return [];
  return [{ node: node.name, what: node.connected ? what : `${what}; it is not connected`, kind: "node" }];
}

/** Names the shards whose positions the mark has given. */
function trackerWait(what: string, state: RemapState, view: View, id: string): Wait {
  const { barrierTrouble } = state.live;
  const positions = [...markPositions(state, view, id).values()].flat();
  const shards = [...new Set(positions.map(({ shard }) => shard))].sort((a, b) => a - b);
  const where = `${shards.length === 1 ? "shard" : "shards"} ${shards.join(", ")}`;
  const trouble = barrierTrouble === undefined ? "" : `: ${barrierTrouble}`;
  return { node: trackerNode, what: `to apply ${what} in ${where}${trouble}`, kind: "tracker" };
}

function addressOf(applied: AgentState | undefined, { address }: { readonly address: string }) {
  return applied?.addresses.find((entry) => entry.address === address);
}

function translates(applied: GatewayState, { address }: { readonly address: string }, own: string): boolean {
  return [...applied.accepts, ...applied.mappings].some((entry) => entry.address === address && entry.private === own);
}

function mentions(applied: AgentState, link: number): boolean {
  const followed = applied.addresses.some(({ follows }) => follows.some((follow) => follow.link === link));
  return followed || applied.links.some(({ id }) => id === link);
}

function otherEnd({ record }: RemapState, owner: OwnerLink, name: string): string {
  return name === owner.owner ? record.targetPrivate : owner.ownerPrivate;
}
