/** Names of what baton keeps in the kernel. Everything it makes is found again, and removed, by these. */
import type { IpAddress } from "../flow/address.ts";
import type { LinkId } from "../node/state.ts";

export const tableName = "inet baton";

/** nflog groups. */
export const logGroups = { unknown: 7701, proofAtOwner: 7702, proofAtGateway: 7703 } as const;

/** Bounds of the sets, elements. */
export const followEntriesMax = 1_048_576;
const handshakeEntriesMax = 65_536;
const portEntriesMax = 65_536;
/** A learnt flow whose owner is silent for this long is forgotten; the tracker still knows it if it lives. */
const learntSeconds = 86_400;
/** TIME_WAIT at the owner lasts 60 s; its last answers must not be learnt as a living flow. */
export const closingSeconds = 120;

const tuple = "type ipv4_addr . inet_service . inet_service";

/** (peer, peer's port, port): sets of one link, that is of one owner's flows at the holder. */
export const followSets = [
  /** What the tracker says; written by the agent alone. */
  { name: "follow", definition: `${tuple}; size ${followEntriesMax}; flags dynamic` },
  /** What the owner's own packets have shown. */
  {
    name: "learnt",
    definition: `${tuple}; size ${followEntriesMax}; flags dynamic,timeout; timeout ${learntSeconds}s`,
  },
  /** Handshakes that the owner has answered. */
  { name: "half", definition: `${tuple}; size ${handshakeEntriesMax}; flags dynamic,timeout` },
  /** Flows whose end the owner has confirmed. */
  {
    name: "closing",
    definition: `${tuple}; size ${handshakeEntriesMax}; flags dynamic,timeout; timeout ${closingSeconds}s`,
  },
  /** SYNs that the holder has taken itself. */
  { name: "own_syn", definition: `${tuple}; size ${handshakeEntriesMax}; flags dynamic,timeout` },
  /** Connections that the holder had when it began to follow; written by the agent alone. */
  { name: "own", definition: `${tuple}; size ${followEntriesMax}` },
] as const;

/** Sets of one link at its owner's end. */
export const ownerSets = [
  /** Flows whose client has lately asked for the same ports again. */
  { name: "reopening", definition: `${tuple}; size ${handshakeEntriesMax}; flags dynamic,timeout` },
] as const;

/** The same, where the owner answers by itself. */
export const answeringOwnerSets = [
  /** Flows that the holder has taken over from a client that came back: what the owner still says of them is dropped. */
  { name: "muted", definition: `${tuple}; size ${handshakeEntriesMax}; flags dynamic,timeout` },
] as const;

export const addressSets = [
  /** Ports with a listener bound to this very address: there, a socket found proves nothing. */
  { name: "bound", definition: `type inet_service; size ${portEntriesMax}` },
] as const;

export type FollowSet = (typeof followSets)[number]["name"];
export type OwnerSet = (typeof ownerSets | typeof answeringOwnerSets)[number]["name"];
export type AddressSet = (typeof addressSets)[number]["name"];

export const setName = {
  ofLink: (kind: FollowSet | OwnerSet, link: LinkId): string => `${kind}_${link}`,
  ofAddress: (kind: AddressSet, address: IpAddress): string => `${kind}_${addressKey(address)}`,
};

export const chainFor = {
  follow: (link: LinkId): string => `follow_link_${link}`,
  returned: (link: LinkId): string => `return_link_${link}`,
  arrival: (link: LinkId): string => `arrival_link_${link}`,
  decide: (address: IpAddress): string => `decide_${addressKey(address)}`,
  syn: (address: IpAddress): string => `syn_${addressKey(address)}`,
  unknown: (address: IpAddress): string => `unknown_${addressKey(address)}`,
  egress: (address: IpAddress): string => `egress_${addressKey(address)}`,
};

/**
 * One of each for a link. At the holder's end `followed` and `returned` count packets of flows that the owner has confirmed,
 * `answered` probes that the owner's kernel has answered; at the owner's end, what came and what was sent back, and as
 * `superseded` flows that it gave up for their client wanted the ports again; with answers of its own also, as `refused`,
 * what it was not to open.
 */
export const counterKinds = ["followed", "returned", "unknown", "refused", "superseded", "answered"] as const;
export type CounterKind = (typeof counterKinds)[number];

export function counterName(kind: CounterKind, link: LinkId): string {
  return `${kind}_packets_${link}`;
}

function addressKey(address: IpAddress): string {
  return address.replaceAll(/[.:]/g, "_");
}

export function channelDeviceName(link: LinkId): string {
  return `baton${link}`;
}
