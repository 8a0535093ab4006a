/**
 * What every node should be: the whole of it, from the address table, the remaps and the configuration.
 *
 * Pure and total: the same input gives the same state, whatever way led there. That is what makes a restart of the
 * coordinator, a repetition and an abort harmless: before the flip a remap that is being aborted adds nothing, so
 * nodes get exactly the state of before.
 */
import type { IpAddress, Prefix } from "../flow/address.ts";
import type {
  Accept,
  AgentAddress,
  AgentState,
  Egress,
  Follow,
  GatewayState,
  Link,
  Mapping,
  MarkRequest,
  ProofRequest,
  ReturnPath,
} from "../node/state.ts";
import { activeOwners, type Chain, holderOf, structuresOf } from "./chain.ts";
import { hasReached, isSourceLost } from "./phase.ts";
import {
  barrierMarkId,
  loadId,
  type OwnerLink,
  proofId,
  type RemapRecord,
  type RemapState,
  snapshotMarkId,
} from "./record.ts";
import { acceptsOf, returnPathOf } from "./return-path.ts";

export interface ProjectionConfig {
  readonly fabric: readonly Prefix[];
  readonly publicPrefixes: readonly Prefix[];
  readonly probeSource: IpAddress;
}

/** `chains`: of all addresses, in any order; the result does not depend on it. */
export function projectAgent(name: string, chains: readonly Chain[], config: ProjectionConfig): AgentState {
  const addresses: AgentAddress[] = [];
  const links = new Map<number, Link>();
  const marks: MarkRequest[] = [];
  for (const chain of chains) {
    const address = agentAddress(name, chain);
    if (address !== undefined) addresses.push(address);
    for (const link of agentLinks(name, chain)) links.set(link.id, link);
    marks.push(...agentMarks(name, chain), ...layoutMarks(name, chain));
  }
  addresses.sort((a, b) => compare(a.address, b.address));
  marks.sort((a, b) => compare(a.id, b.id));
  const { fabric, probeSource } = config;
  const offline = chains.flatMap((chain) => offlineOrder(name, chain)).sort(compare)[0];
  const discards = chains
    .flatMap((chain) => discardsOf(name, chain))
    .filter((own) => !addresses.some((entry) => entry.private === own))
    .sort(compare);
  const vacates = chains.some((chain) => isToVacate(name, chain));
  const goes = { ...(offline !== undefined && { offline }), ...(vacates && { vacate: true as const }) };
  const orders = { marks, ...goes, ...(discards.length > 0 && { discards }) };
  return { fabric, probeSource, addresses, links: [...links.values()].sort((a, b) => a.id - b.id), ...orders };
}

/**
 * Private addresses of connections that a release has let go of, or that a source still has which was given up for lost
 * and comes back; not once the instance has a part again, or the private address another use.
 */
function discardsOf(name: string, chain: Chain): IpAddress[] {
  if (roleOf(name, chain) !== undefined) return [];
  const left = chain.flipped.filter(
    ({ record }) => record.source === name && (isReleased(record) || isSourceLost(record)),
  );
  return [...new Set(left.map(({ record }) => record.sourcePrivate))];
}

function isReleased({ phase }: RemapRecord): boolean {
  return phase.kind === "finalizing" && phase.released === true;
}

/** The remap whose last act is that its source goes offline. */
function offlineOrder(name: string, chain: Chain): string[] {
  return chain.flipped.flatMap(({ record: { id, source, phase } }) =>
    source === name && phase.kind === "finalizing" && phase.offline === true ? [id] : [],
  );
}

/** Until its remap has ended: who takes the host offline gives the shards away before, and has none while that is done. */
function isToVacate(name: string, chain: Chain): boolean {
  return chain.flipped.some(
    ({ record }) =>
      record.source === name &&
      record.policy.offlineSource &&
      record.phase.kind === "finalizing" &&
      !isSourceLost(record),
  );
}

/** All gateways are alike. */
export function projectGateway(chains: readonly Chain[], config: ProjectionConfig): GatewayState {
  const mappings = chains.map(mappingOf).sort((a, b) => compare(a.address, b.address));
  const accepts = chains.flatMap(acceptsOf).sort((a, b) => compare(acceptKey(a), acceptKey(b)));
  const proofs = chains.flatMap(proofsOf).sort((a, b) => compare(a.id, b.id));
  return { ...config, mappings, accepts, proofs };
}

function agentAddress(name: string, chain: Chain): AgentAddress | undefined {
  const role = roleOf(name, chain);
  if (role === undefined) return undefined;
  const { structure, link } = role.drained ?? {};
  const cut = structure !== undefined && isCut(chain, structure, name, link);
  return {
    address: chain.base.address,
    private: role.private,
    generation: role.generation,
    egress: role.egress,
    holdOpens: role.holdOpens,
    follows: followsOf(name, chain),
    watchDrain: role.drained !== undefined,
    cut,
    ...(chain.layout !== undefined && { layout: chain.layout }),
  };
}

/** It holds the address, is to hold it, or owns flows of it. */
export function hasPart(name: string, chain: Chain): boolean {
  return roleOf(name, chain) !== undefined;
}

export const layoutMarkId = (address: IpAddress, generation: number): string => `layout.${address}.${generation}`;

/** While flows move, their owners are to tell all of them where they belong; so is who may come to own some. */
function layoutMarks(name: string, chain: Chain): MarkRequest[] {
  const { layout, base } = chain;
  if (layout?.before === undefined || !hasPart(name, chain)) return [];
  return [{ id: layoutMarkId(base.address, layout.generation), address: base.address, snapshot: true }];
}

interface Role {
  readonly private: IpAddress;
  readonly generation: bigint;
  readonly egress: Egress;
  readonly holdOpens: boolean;
  /** The structure in which this instance owns flows of before; without a link they are not followed. */
  readonly drained?: { readonly structure: RemapState; readonly link?: OwnerLink };
}

/** The part that an instance plays for an address: the newest structure that gives it one decides. */
function roleOf(name: string, chain: Chain): Role | undefined {
  const pending = chain.pending?.record;
  const present = presentRole(name, chain);
  if (pending?.phase.kind !== "arming") return present;
  if (pending.target === name) {
    const { targetPrivate, generation } = pending;
    const stranger: Role = { private: targetPrivate, generation, egress: { kind: "normal" }, holdOpens: true };
    return present === undefined ? stranger : { ...present, holdOpens: true };
  }
  const own = pending.owners.find(({ owner }) => owner === name);
  if (pending.source !== name || own === undefined || present === undefined) return present;
  return { ...present, egress: { kind: "armed", link: own.link } };
}

function presentRole(name: string, chain: Chain): Role | undefined {
  const structures = structuresOf(chain);
  for (const [index, structure] of structures.entries()) {
    const { record } = structure;
    const returned = hasReached(record.phase, "return");
    const { target, targetPrivate, generation } = record;
    if (target === name) {
      const opened: Role = { private: targetPrivate, generation, egress: { kind: "normal" }, holdOpens: false };
      if (returned) return opened;
      const before = olderRole(name, chain, structures, index);
      return { ...(before ?? opened), holdOpens: true };
    }
    const owned = ownedRole(name, chain, structure);
    if (owned === undefined) {
      if (isLetGo(name, structure)) return undefined;
      continue;
    }
    if (returned) return owned;
    const before = olderRole(name, chain, structures, index) ?? heldBefore(structure);
    if (record.source !== name) return before;
    return { ...before, egress: owned.egress.kind === "normal" ? owned.egress : { ...owned.egress, kind: "armed" } };
  }
  return structures.length === 0 ? baseRole(name, chain) : undefined;
}

function olderRole(name: string, chain: Chain, structures: readonly RemapState[], index: number): Role | undefined {
  const older = structures.slice(index + 1).map(({ record }) => record);
  if (older.length === 0) return undefined;
  return presentRole(name, { base: chain.base, flipped: chain.flipped.slice(index + 1) });
}

function baseRole(name: string, chain: Chain): Role | undefined {
  const { instance, private: own, generation } = chain.base;
  if (instance !== name) return undefined;
  return { private: own, generation, egress: { kind: "normal" }, holdOpens: false };
}

function heldBefore({ record }: RemapState): Role {
  const { sourcePrivate, sourceGeneration } = record;
  return { private: sourcePrivate, generation: sourceGeneration, egress: { kind: "normal" }, holdOpens: false };
}

/** An instance whose flows of before are followed, or reset where the policy says so. */
function ownedRole(name: string, chain: Chain, structure: RemapState): Role | undefined {
  const { record } = structure;
  const link = activeOwners(chain, structure).find(({ owner }) => owner === name);
  if (link === undefined) {
    const reset = record.source === name && !record.policy.follow && record.phase.kind === "switching";
    return reset ? { ...heldBefore(structure), drained: { structure } } : undefined;
  }
  const drains = chain.flipped.find((state) => state.record.id === link.remap)?.record ?? record;
  return {
    private: link.ownerPrivate,
    generation: drains.sourceGeneration,
    egress: { kind: returnPathOf(chain, structure, link), link: link.link },
    holdOpens: false,
    drained: { structure, link },
  };
}

/** It had a part in this structure, and that part is over; older structures don't bring it back. */
function isLetGo(name: string, { record }: RemapState): boolean {
  return hasReached(record.phase, "return") && record.source === name;
}

function isCut(chain: Chain, structure: RemapState, name: string, link: OwnerLink | undefined): boolean {
  if (link === undefined) return hasReached(structure.record.phase, "return");
  if (holderOf(chain).instance === name) return false;
  const drains = chain.flipped.find(({ record }) => record.id === link.remap);
  return drains?.record.phase.kind === "draining" && drains.record.phase.cut;
}

function followsOf(name: string, chain: Chain): Follow[] {
  const follows = new Map<string, Follow>();
  const add = (state: RemapState, settled: boolean) => {
    if (state.record.target !== name) return;
    for (const owner of activeOwners(chain, state)) {
      if (!follows.has(owner.owner)) follows.set(owner.owner, followOf(state, owner, settled));
    }
  };
  if (chain.pending?.record.phase.kind === "arming") add(chain.pending, false);
  for (const structure of structuresOf(chain)) add(structure, hasReached(structure.record.phase, "settle"));
  return [...follows.values()].sort((a, b) => a.link - b.link);
}

function followOf({ record }: RemapState, owner: OwnerLink, settled: boolean): Follow {
  return {
    owner: owner.owner,
    ownerPrivate: owner.ownerPrivate,
    link: owner.link,
    unknown: record.policy.unknown,
    settled,
    loadId: loadId(record.id, owner.owner),
    loadAtLeast: owner.loadAtLeast,
  };
}

function agentLinks(name: string, chain: Chain): Link[] {
  const states = [...structuresOf(chain), ...(chain.pending ? [chain.pending] : [])];
  return states.flatMap((state) =>
    activeOwners(chain, state).flatMap((owner) => linkEnd(name, state, owner, returnPathOf(chain, state, owner))),
  );
}

function linkEnd(name: string, { record }: RemapState, owner: OwnerLink, returnPath: ReturnPath): Link[] {
  const common = { id: owner.link, kind: owner.kind, mtu: owner.packetSize, returnPath };
  const atOwner = {
    peer: record.target,
    localPrivate: owner.ownerPrivate,
    peerPrivate: record.targetPrivate,
    peerLinkAddress: owner.targetLinkAddress,
    ownerEnd: true,
  };
  const atTarget = {
    peer: owner.owner,
    localPrivate: record.targetPrivate,
    peerPrivate: owner.ownerPrivate,
    peerLinkAddress: owner.ownerLinkAddress,
    ownerEnd: false,
  };
  if (owner.owner === name) return [{ ...common, ...atOwner }];
  return record.target === name ? [{ ...common, ...atTarget }] : [];
}

function agentMarks(name: string, chain: Chain): MarkRequest[] {
  const { address } = chain.base;
  const marks: MarkRequest[] = [];
  const pending = chain.pending;
  if (pending?.record.phase.kind === "preparing" && ownsIn(name, chain, pending))
    marks.push({ id: snapshotMarkId(pending.record.id), address, snapshot: true });
  for (const structure of structuresOf(chain)) {
    const { id, phase } = structure.record;
    const asked = phase.kind === "switching" && phase.stage === "barrier";
    if (asked && ownsIn(name, chain, structure)) marks.push({ id: barrierMarkId(id), address, snapshot: false });
  }
  return marks;
}

function ownsIn(name: string, chain: Chain, state: RemapState): boolean {
  return activeOwners(chain, state).some(({ owner }) => owner === name);
}

function mappingOf(chain: Chain): Mapping {
  const holder = holderOf(chain);
  return { address: chain.base.address, private: holder.private, generation: holder.generation };
}

function proofsOf(chain: Chain): ProofRequest[] {
  const pending = chain.pending;
  if (pending?.record.phase.kind !== "preparing" || !pending.live.linksUp) return [];
  const { id, targetPrivate } = pending.record;
  return activeOwners(chain, pending).map((owner) => ({
    id: proofId(id, owner.link),
    link: owner.link,
    targetPrivate,
    mtu: owner.packetSize,
  }));
}

function acceptKey(accept: Accept): string {
  return `${accept.address} ${accept.private}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
