/**
 * Messages of NodeService and the domain's node states and reports, both ways. Whatever was received is validated and
 * bounded here; the domain never sees a value that it could not have made itself.
 */
import { formatPrefix } from "../flow/address.ts";
import {
  type AgentAddress as AgentAddressMessage,
  AgentState as AgentStateMessage,
  type DesiredState as DesiredStateMessage,
  type Fence as FenceMessage,
  type Follow as FollowMessage,
  GatewayState as GatewayStateMessage,
  type Link as LinkMessage,
} from "../gen/baton/v1/node.ts";
import type { ShardPosition as ShardPositionMessage } from "../gen/baton/v1/tracker.ts";
import type { Fence } from "../node/fence.ts";
import {
  type AgentAddress,
  type AgentState,
  type Egress,
  type Follow,
  followsPerAddressMax,
  type GatewayState,
  type Link,
  linkIdMax,
  type ShardPosition,
} from "../node/state.ts";
import { channelKinds, egressKinds, readEnum, readOptionalEnum, returnPaths, unknownPolicies } from "./enums.ts";
import {
  type Decoded,
  decode,
  FieldFault,
  hexToBytes,
  linkAddressToBytes,
  readAddress,
  readHex,
  readId,
  readInteger,
  readLinkAddress,
  readList,
  readName,
  readPrefix,
  readPresent,
} from "./fields.ts";
import { layoutToProto, readLayout } from "./layout-codec.ts";
import * as limits from "./limits.ts";

const digestBytes = 32;
const leaseBytes = 12;
const mtuMin = 68;
const mtuMax = 65_535;
export const shardMax = 65_535;

/** A node's state with the fence that it was sent under. */
export type DesiredState =
  | { readonly kind: "agent"; readonly fence: Fence; readonly state: AgentState }
  | { readonly kind: "gateway"; readonly fence: Fence; readonly state: GatewayState };

export function desiredStateToProto(desired: DesiredState): DesiredStateMessage {
  const fence = fenceToProto(desired.fence);
  switch (desired.kind) {
    case "agent":
      return { fence, state: { $case: "agent", value: agentStateToProto(desired.state) } };
    case "gateway":
      return { fence, state: { $case: "gateway", value: gatewayStateToProto(desired.state) } };
  }
}

export function desiredStateFromProto(message: DesiredStateMessage): Decoded<DesiredState> {
  return decode(() => {
    const fence = readFence("fence", readPresent("fence", message.fence));
    const state = readPresent("state", message.state);
    return state.$case === "agent"
      ? { kind: "agent", fence, state: readAgentState(state.value) }
      : { kind: "gateway", fence, state: readGatewayState(state.value) };
  });
}

/** The bytes that a fence's digest is taken of. */
export function agentStateBytes(state: AgentState): Uint8Array {
  return AgentStateMessage.encode(agentStateToProto(state)).finish();
}

/** The bytes that a fence's digest is taken of. */
export function gatewayStateBytes(state: GatewayState): Uint8Array {
  return GatewayStateMessage.encode(gatewayStateToProto(state)).finish();
}

export function fenceToProto(fence: Fence): FenceMessage {
  const { term, leader, generation, digest, lease } = fence;
  const bytesOf = (hex: string) => Buffer.from(hexToBytes(hex));
  return { term, leader, generation, digest: bytesOf(digest), lease: bytesOf(lease ?? "") };
}

export function fenceFromProto(message: FenceMessage): Decoded<Fence> {
  return decode(() => readFence("fence", message));
}

export function readFence(field: string, message: FenceMessage): Fence {
  return {
    term: message.term,
    leader: readName(`${field}.leader`, message.leader),
    generation: message.generation,
    digest: readHex(`${field}.digest`, message.digest, digestBytes),
    ...(message.lease.length > 0 && { lease: readHex(`${field}.lease`, message.lease, leaseBytes) }),
  };
}

export function agentStateToProto(state: AgentState): AgentStateMessage {
  return {
    fabric: state.fabric.map(formatPrefix),
    probeSource: state.probeSource,
    addresses: state.addresses.map(agentAddressToProto),
    links: state.links.map(linkToProto),
    marks: state.marks.map((mark) => ({ ...mark })),
    offline: state.offline ?? "",
    vacate: state.vacate ?? false,
    discards: [...(state.discards ?? [])],
  };
}

function gatewayStateToProto(state: GatewayState): GatewayStateMessage {
  return {
    fabric: state.fabric.map(formatPrefix),
    publicPrefixes: state.publicPrefixes.map(formatPrefix),
    probeSource: state.probeSource,
    mappings: state.mappings.map(({ address, private: own, generation }) => ({
      address,
      privateAddress: own,
      generation,
    })),
    accepts: state.accepts.map(({ address, private: own, retiring }) => ({ address, privateAddress: own, retiring })),
    proofs: state.proofs.map((proof) => ({ ...proof })),
  };
}

export function positionToProto(position: ShardPosition): ShardPositionMessage {
  return { ...position };
}

export function readPosition(message: ShardPositionMessage, field: string): ShardPosition {
  return { shard: readInteger(`${field}.shard`, message.shard, 0, shardMax), sequence: message.sequence };
}

export function readMtu(field: string, mtu: number): number {
  return readInteger(field, mtu, mtuMin, mtuMax);
}

export function readLinkId(field: string, id: number): number {
  return readInteger(field, id, 1, linkIdMax);
}

function agentAddressToProto(address: AgentAddress): AgentAddressMessage {
  return {
    address: address.address,
    privateAddress: address.private,
    generation: address.generation,
    egress: egressKinds[address.egress.kind],
    egressLink: address.egress.kind === "normal" ? 0 : address.egress.link,
    holdOpens: address.holdOpens,
    follows: address.follows.map(followToProto),
    watchDrain: address.watchDrain,
    cut: address.cut,
    layout: address.layout && layoutToProto(address.layout),
  };
}

function followToProto(follow: Follow): FollowMessage {
  const { unknown, loadAtLeast, ...same } = follow;
  return { ...same, unknown: unknownPolicies[unknown], loadAtLeast: loadAtLeast.map(positionToProto) };
}

function linkToProto(link: Link): LinkMessage {
  const { kind, peerLinkAddress, returnPath, ...same } = link;
  return {
    ...same,
    kind: channelKinds[kind],
    peerLinkAddress: Buffer.from(linkAddressToBytes(peerLinkAddress)),
    returnPath: returnPaths[returnPath],
  };
}

function readAgentState(message: AgentStateMessage): AgentState {
  const state: AgentState = {
    fabric: readList("fabric", message.fabric, limits.prefixesMax, (text, field) => readPrefix(field, text)),
    probeSource: readAddress("probe_source", message.probeSource),
    addresses: readList("addresses", message.addresses, limits.addressesMax, readAgentAddress),
    links: readList("links", message.links, limits.linksMax, readLink),
    marks: readList("marks", message.marks, limits.requestsMax, (mark, field) => ({
      id: readId(`${field}.id`, mark.id),
      address: readAddress(`${field}.address`, mark.address),
      snapshot: mark.snapshot,
    })),
    ...(message.offline !== "" && { offline: readId("offline", message.offline) }),
    ...(message.vacate && { vacate: true }),
    ...(message.discards.length > 0 && {
      discards: readList("discards", message.discards, limits.addressesMax, (text, field) => readAddress(field, text)),
    }),
  };
  checkLinksExist(state);
  return state;
}

/** Rules are rendered from link ids: one that names no link of this state could only be a mistake. */
function checkLinksExist(state: AgentState): void {
  const ids = new Set(state.links.map((link) => link.id));
  if (ids.size !== state.links.length) throw new FieldFault("links", "distinct ids", "two links with one id");
  for (const { address, egress, follows } of state.addresses) {
    const used = [...follows.map((follow) => follow.link), ...(egress.kind === "normal" ? [] : [egress.link])];
    for (const id of used)
      if (!ids.has(id)) throw new FieldFault(`addresses of ${address}`, "a link of this state", id);
  }
}

function readAgentAddress(message: AgentAddressMessage, field: string): AgentAddress {
  return {
    address: readAddress(`${field}.address`, message.address),
    private: readAddress(`${field}.private_address`, message.privateAddress),
    generation: message.generation,
    egress: readEgress(message, field),
    holdOpens: message.holdOpens,
    follows: readList(`${field}.follows`, message.follows, followsPerAddressMax, readFollow),
    watchDrain: message.watchDrain,
    cut: message.cut,
    ...(message.layout !== undefined && { layout: readLayout(`${field}.layout`, message.layout) }),
  };
}

function readEgress(message: AgentAddressMessage, field: string): Egress {
  const kind = readEnum(`${field}.egress`, egressKinds, message.egress);
  return kind === "normal" ? { kind } : { kind, link: readLinkId(`${field}.egress_link`, message.egressLink) };
}

function readFollow(message: FollowMessage, field: string): Follow {
  return {
    owner: readName(`${field}.owner`, message.owner),
    ownerPrivate: readAddress(`${field}.owner_private`, message.ownerPrivate),
    link: readLinkId(`${field}.link`, message.link),
    unknown: readEnum(`${field}.unknown`, unknownPolicies, message.unknown),
    settled: message.settled,
    loadId: message.loadId === "" ? "" : readId(`${field}.load_id`, message.loadId),
    loadAtLeast: readList(`${field}.load_at_least`, message.loadAtLeast, limits.positionsMax, readPosition),
  };
}

function readLink(message: LinkMessage, field: string): Link {
  return {
    id: readLinkId(`${field}.id`, message.id),
    kind: readEnum(`${field}.kind`, channelKinds, message.kind),
    peer: readName(`${field}.peer`, message.peer),
    localPrivate: readAddress(`${field}.local_private`, message.localPrivate),
    peerPrivate: readAddress(`${field}.peer_private`, message.peerPrivate),
    peerLinkAddress: readLinkAddress(`${field}.peer_link_address`, message.peerLinkAddress),
    mtu: readMtu(`${field}.mtu`, message.mtu),
    ownerEnd: message.ownerEnd,
    returnPath: readOptionalEnum(`${field}.return_path`, returnPaths, message.returnPath) ?? "channel",
  };
}

function readGatewayState(message: GatewayStateMessage): GatewayState {
  const prefixes = limits.prefixesMax;
  return {
    fabric: readList("fabric", message.fabric, prefixes, (text, field) => readPrefix(field, text)),
    publicPrefixes: readList("public_prefixes", message.publicPrefixes, prefixes, (text, field) =>
      readPrefix(field, text),
    ),
    probeSource: readAddress("probe_source", message.probeSource),
    mappings: readList("mappings", message.mappings, limits.addressesMax, (mapping, field) => ({
      address: readAddress(`${field}.address`, mapping.address),
      private: readAddress(`${field}.private_address`, mapping.privateAddress),
      generation: mapping.generation,
    })),
    accepts: readList("accepts", message.accepts, limits.addressesMax, (accept, field) => ({
      address: readAddress(`${field}.address`, accept.address),
      private: readAddress(`${field}.private_address`, accept.privateAddress),
      retiring: accept.retiring,
    })),
    proofs: readList("proofs", message.proofs, limits.requestsMax, (proof, field) => ({
      id: readId(`${field}.id`, proof.id),
      link: readLinkId(`${field}.link`, proof.link),
      targetPrivate: readAddress(`${field}.target_private`, proof.targetPrivate),
      mtu: readMtu(`${field}.mtu`, proof.mtu),
    })),
  };
}
