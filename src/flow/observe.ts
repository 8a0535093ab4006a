/**
 * From what a kernel shows of a connection to what baton calls a change of a flow.
 *
 * Owns the judgement of page 2 of the design, "whose is it": a connection counts when its outer form, the one on the
 * wire, has a private address of this instance at one end and an end outside of the fabric at the other. The outer
 * form differs from what an application sees where the host translates addresses itself (containers).
 */
import { type IpAddress, type Prefix, parsePrefix } from "./address.ts";
import type { FlowKey, FlowState, Protocol } from "./flow.ts";
import { PartedMap } from "./parted-map.ts";
import { PrefixSet } from "./prefix-set.ts";

/** One direction of a connection. */
export interface Tuple {
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** `NONE` is what conntrack says before it has judged the first packet. */
export type ConntrackTcpState =
  | "NONE"
  | "SYN_SENT"
  | "SYN_RECV"
  | "ESTABLISHED"
  | "FIN_WAIT"
  | "CLOSE_WAIT"
  | "LAST_ACK"
  | "TIME_WAIT"
  | "CLOSE"
  | "SYN_SENT2";

/** A conntrack entry, as an event or a listing shows it. */
export interface ConntrackRecord {
  /** A listing's records are `update`. */
  readonly event: "new" | "update" | "destroy";
  readonly protocol: Protocol;
  /** The opener's first packet, before this host translated anything. */
  readonly original: Tuple;
  /** Packets of the other direction, as they come in: the translation of this host is seen here. */
  readonly reply: Tuple;
  /** Absent for UDP, and for events that tell of something else (a mark, for instance). */
  readonly tcpState?: ConntrackTcpState | undefined;
  /** IPS_* bits of the kernel. */
  readonly status: number;
  readonly mark: number;
  readonly id: number;
  /** Until the kernel forgets the entry; absent where it does not say. */
  readonly timeoutSeconds?: number | undefined;
}

export type TcpSocketState =
  | "ESTABLISHED"
  | "SYN_SENT"
  | "SYN_RECV"
  | "FIN_WAIT1"
  | "FIN_WAIT2"
  | "TIME_WAIT"
  | "CLOSE"
  | "CLOSE_WAIT"
  | "LAST_ACK"
  | "LISTEN"
  | "CLOSING";

/** The ends and the state of a TCP socket. IPv4 addresses are never in their mapped form. */
export interface SocketSighting {
  readonly local: IpAddress;
  readonly localPort: number;
  readonly remote: IpAddress;
  readonly remotePort: number;
  readonly state: TcpSocketState;
}

/** Who sent the first packet: the peer (`in`) or this instance (`out`). */
export type FlowDirection = "in" | "out";

export interface FlowChange {
  readonly key: FlowKey;
  readonly state: FlowState;
  /** Absent where it can't be told, as for an established socket. */
  readonly direction?: FlowDirection;
  /** Generation of the public address now. */
  readonly generation: bigint;
  /**
   * Said closed only because conntrack dropped an entry whose last known state was a live one. It forgets half-closed
   * connections that live on: ask the sockets before believing it.
   */
  readonly forgotten: boolean;
  /**
   * Said open only because conntrack has made an entry of a packet amid a connection. It does so for connections that are
   * older than tracking, and for every stray: ask the sockets before believing it, unless its end comes first.
   */
  readonly unproven?: true;
}

export interface PublicAddress {
  readonly address: IpAddress;
  readonly generation: bigint;
}

/** What this instance's connections are judged by. */
export interface Vantage {
  /** By private address. */
  readonly owned: ReadonlyMap<IpAddress, PublicAddress>;
  readonly internal: PrefixSet;
}

/** Ends that can't be behind a gateway: loopback, link-local, multicast, unspecified, broadcast. */
const neverExternal = [
  "0.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "255.255.255.255/32",
  "::/128",
  "::1/128",
  "fe80::/10",
  "ff00::/8",
].flatMap((text) => parsePrefix(text) ?? []);

export function createVantage(owned: ReadonlyMap<IpAddress, PublicAddress>, fabric: readonly Prefix[]): Vantage {
  return { owned, internal: new PrefixSet([...fabric, ...neverExternal]) };
}

/** The change that a conntrack event tells of; nothing if it is none of ours or tells nothing of the state. */
export function observeConntrack(record: ConntrackRecord, vantage: Vantage): FlowChange | undefined {
  const state = flowStateOfConntrack(record);
  if (state === undefined) return undefined;
  const forgotten = record.event === "destroy" && !endedBefore(record);
  const { protocol, original, reply } = record;
  // Inbound, the original tuple is the one on the wire; outbound, the reply tuple is, turned round.
  const inbound = vantage.owned.get(original.destination);
  if (inbound !== undefined) {
    const { destinationPort: port, source: peer, sourcePort: peerPort } = original;
    if (!isExternal(peer, vantage)) return undefined;
    const key = { address: inbound.address, protocol, peer, peerPort, port };
    const change = { key, state, direction: "in", generation: inbound.generation, forgotten } as const;
    return isPickedUp(record) ? { ...change, unproven: true } : change;
  }
  const outbound = vantage.owned.get(reply.destination);
  if (outbound === undefined) return undefined;
  const { destinationPort: port, source: peer, sourcePort: peerPort } = reply;
  if (!isExternal(peer, vantage)) return undefined;
  const key = { address: outbound.address, protocol, peer, peerPort, port };
  return { key, state, direction: "out", generation: outbound.generation, forgotten };
}

/** A handshake begins with another state. What this host translates has no socket here that could be asked. */
function isPickedUp(record: ConntrackRecord): boolean {
  return record.event === "new" && record.tcpState === "ESTABLISHED" && !isTranslated(record);
}

/** The change that a TCP socket in a listing tells of; nothing for listeners and for what is none of ours. */
export function observeSocket(socket: SocketSighting, vantage: Vantage): FlowChange | undefined {
  const state = flowStateOfSocket(socket.state);
  const ours = vantage.owned.get(socket.local);
  if (state === undefined || ours === undefined || !isExternal(socket.remote, vantage)) return undefined;
  const { localPort: port, remote: peer, remotePort: peerPort } = socket;
  const key: FlowKey = { address: ours.address, protocol: "tcp", peer, peerPort, port };
  const change = { key, state, generation: ours.generation, forgotten: false };
  if (socket.state === "SYN_SENT") return { ...change, direction: "out" };
  if (socket.state === "SYN_RECV") return { ...change, direction: "in" };
  return change;
}

/**
 * The flows that listings of conntrack and sockets, taken together, show: all of conntrack first. Where a socket exists it
 * is the truth; conntrack alone counts for what has no socket in this namespace: translated connections, UDP, and
 * handshakes (an answered SYN cookie has none yet). An untranslated TCP entry without a socket is a left-over. A translated
 * connection may end at a socket of this host too (a redirected port), whose ends are not those on the wire.
 */
export class ListingObserver {
  readonly #vantage: Vantage;
  readonly #outerForms = new PartedMap<FlowChange>();

  constructor(vantage: Vantage) {
    this.#vantage = vantage;
  }

  connection(record: ConntrackRecord): FlowChange | undefined {
    const change = observeConntrack(record, this.#vantage);
    if (change === undefined) return undefined;
    const translated = isTranslated(record);
    if (translated) this.#outerForms.set(innerEnds(record, change.direction), change);
    return translated || record.protocol === "udp" || change.state === "half-open" ? change : undefined;
  }

  socket(socket: SocketSighting): FlowChange | undefined {
    const outer =
      this.#outerForms.size === 0
        ? undefined
        : this.#outerForms.get(endsText(socket.local, socket.localPort, socket.remote, socket.remotePort));
    if (outer === undefined) return observeSocket(socket, this.#vantage);
    const state = flowStateOfSocket(socket.state);
    return state && { ...outer, state };
  }
}

/** The ends that a socket of this host has if it serves the translated connection. */
function innerEnds({ original, reply }: ConntrackRecord, direction: FlowDirection | undefined): string {
  if (direction === "in") return endsText(reply.source, reply.sourcePort, reply.destination, reply.destinationPort);
  return endsText(original.source, original.sourcePort, original.destination, original.destinationPort);
}

function endsText(local: IpAddress, localPort: number, remote: IpAddress, remotePort: number): string {
  return `${local} ${localPort} ${remote} ${remotePort}`;
}

/** Whether this host rewrites an address or a port of the connection. */
export function isTranslated({ original, reply }: ConntrackRecord): boolean {
  return (
    original.source !== reply.destination ||
    original.destination !== reply.source ||
    original.sourcePort !== reply.destinationPort ||
    original.destinationPort !== reply.sourcePort
  );
}

function isExternal(peer: IpAddress, vantage: Vantage): boolean {
  return !vantage.owned.has(peer) && !vantage.internal.contains(peer);
}

function flowStateOfConntrack(record: ConntrackRecord): FlowState | undefined {
  if (record.event === "destroy") return "closed";
  if (record.protocol === "udp") return "open";
  switch (record.tcpState) {
    case undefined:
    case "NONE":
      return undefined;
    case "SYN_SENT":
    case "SYN_RECV":
    case "SYN_SENT2":
      return "half-open";
    case "ESTABLISHED":
      return "open";
    case "FIN_WAIT":
    case "CLOSE_WAIT":
    case "LAST_ACK":
      return "closing";
    case "TIME_WAIT":
    case "CLOSE":
      return "closed";
    default:
      return record.tcpState satisfies never;
  }
}

function endedBefore(record: ConntrackRecord): boolean {
  return record.protocol === "udp" || record.tcpState === "TIME_WAIT" || record.tcpState === "CLOSE";
}

function flowStateOfSocket(state: TcpSocketState): FlowState | undefined {
  switch (state) {
    case "LISTEN":
      return undefined;
    case "SYN_SENT":
    case "SYN_RECV":
      return "half-open";
    case "ESTABLISHED":
      return "open";
    case "FIN_WAIT1":
    case "FIN_WAIT2":
    case "CLOSE_WAIT":
    case "CLOSING":
    case "LAST_ACK":
      return "closing";
    case "TIME_WAIT":
    case "CLOSE":
      return "closed";
    default:
      return state satisfies never;
  }
}
