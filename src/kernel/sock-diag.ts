/**
 * The TCP sockets of this network namespace, listed and destroyed through sock_diag.
 *
 * Calls are synchronous; 10,000 sockets take some 50 ms. A listing is no snapshot: sockets that come or go meanwhile
 * may be missing.
 */
import { type AddressFamily, familyOf, type IpAddress, parseIpAddress } from "../flow/address.ts";
import type { TcpSocketState } from "../flow/observe.ts";
import type { NetlinkMessage } from "./attributes.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";
import {
  answerBytes,
  decodeSocket,
  destroyRequest,
  listRequest,
  localAddressMatcher,
  sockDiagMessage,
  type TcpSocket,
  type TcpSocketName,
} from "./sock-diag-codec.ts";

export type ConnectionState = Exclude<TcpSocketState, "LISTEN">;

/** All but unconnected ones. */
export const connectionStates: readonly ConnectionState[] = [
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE_WAIT",
  "LAST_ACK",
  "CLOSING",
];

export interface TcpSocketQuery {
  /** Of the ends' addresses: 4 includes sockets of AF_INET6 that serve IPv4. Both by default. */
  readonly family?: AddressFamily;
  /** {@link connectionStates} by default. */
  readonly states?: readonly ConnectionState[];
  readonly localAddress?: IpAddress;
}

export interface TcpListener {
  /** "0.0.0.0" and "::" are wildcards. */
  readonly local: IpAddress;
  readonly localPort: number;
  readonly isWildcard: boolean;
  /** What it accepts: a listener on "::" is usually one for both. */
  readonly families: readonly AddressFamily[];
  readonly inode: number;
  readonly uid: number;
}

export type DestroyOutcome =
  | "destroyed"
  /** It ended by itself. */
  | "absent"
  /** This kernel was built without CONFIG_INET_DIAG_DESTROY. */
  | "unsupported";

/** For the calls below; it belongs to the network namespace of the calling thread. */
export function openSockDiag(): NetlinkSocket {
  return new NetlinkSocket(netlinkFamily.sockDiag);
}

export function listTcpSockets(netlink: NetlinkSocket, query: TcpSocketQuery = {}): TcpSocket[] {
  return [...streamTcpSockets(netlink, query)].filter((socket) => socket !== undefined);
}

/**
 * Like {@link listTcpSockets}, socket by socket, between which time may pass; undefined for one that is none of the
 * wanted. No other call on this socket may be made before the end.
 */
export function* streamTcpSockets(
  netlink: NetlinkSocket,
  query: TcpSocketQuery = {},
): Generator<TcpSocket | undefined> {
  const family = query.localAddress === undefined ? query.family : familyOf(query.localAddress);
  const isLocal = query.localAddress === undefined ? undefined : localAddressMatcher(query.localAddress);
  for (const message of answers(netlink, family, query.states ?? connectionStates)) {
    const socket = isLocal?.(message.payload) === false ? undefined : decodeSocket(message.payload);
    yield socket !== undefined && (family === undefined || familyOf(socket.local) === family) ? socket : undefined;
  }
}

/**
 * The connections of a local address as {@link socketsOfHeads} reads them, so many together: for another thread. No other
 * call on this socket may be made before the end.
 */
export function* streamTcpSocketHeads(
  netlink: NetlinkSocket,
  local: IpAddress,
  perChunk: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const isLocal = localAddressMatcher(local);
  let heads = new Uint8Array(perChunk * answerBytes);
  let count = 0;
  for (const { payload } of answers(netlink, familyOf(local), connectionStates)) {
    if (!isLocal(payload)) continue;
    heads.set(payload.subarray(0, answerBytes), count * answerBytes);
    count++;
    if (count < perChunk) continue;
    yield heads;
    heads = new Uint8Array(perChunk * answerBytes);
    count = 0;
  }
  if (count > 0) yield heads.slice(0, count * answerBytes);
}

/** Without what the kernel says in attributes. */
export function socketsOfHeads(heads: Uint8Array): TcpSocket[] {
  const sockets: TcpSocket[] = [];
  for (let start = 0; start < heads.length; start += answerBytes) {
    const socket = decodeSocket(heads.subarray(start, start + answerBytes));
    if (socket !== undefined) sockets.push(socket);
  }
  return sockets;
}

export function listTcpListeners(netlink: NetlinkSocket): TcpListener[] {
  const listeners: TcpListener[] = [];
  for (const message of answers(netlink, undefined, ["LISTEN"])) {
    const socket = decodeSocket(message.payload);
    if (socket === undefined) continue;
    const { local, localPort, inode, uid } = socket;
    const isWildcard = local === "0.0.0.0" || local === "::";
    listeners.push({ local, localPort, isWildcard, families: familiesOf(socket), inode, uid });
  }
  return listeners;
}

/** Resets the connection: the peer gets an RST, the process ECONNABORTED. Ends SYN_RECV and TIME_WAIT too. */
export function destroyTcpSocket(netlink: NetlinkSocket, socket: TcpSocketName): DestroyOutcome {
  const outcome = netlink.tryRequest(sockDiagMessage.destroy, 0, destroyRequest(socket), "destroy a TCP socket");
  if (outcome.ok) return "destroyed";
  if (outcome.error.errno === "ENOENT" || outcome.error.errno === "ESTALE") return "absent";
  if (outcome.error.errno === "EOPNOTSUPP") return "unsupported";
  throw outcome.error;
}

/** Asks the kernel, by destroying a socket that can't exist. */
export function canDestroyTcpSockets(netlink: NetlinkSocket): boolean {
  const end = parseIpAddress("0.0.0.0") as IpAddress;
  const nobody = {
    socketFamily: 4,
    local: end,
    localPort: 0,
    remote: end,
    remotePort: 0,
    device: 0,
    cookie: 0n,
  } as const;
  return destroyTcpSocket(netlink, nobody) !== "unsupported";
}

/** IPv4 connections are sockets of either kernel family. */
function* answers(
  netlink: NetlinkSocket,
  family: AddressFamily | undefined,
  states: readonly TcpSocketState[],
): Generator<NetlinkMessage> {
  const socketFamilies = family === 6 ? ([6] as const) : ([4, 6] as const);
  for (const socketFamily of socketFamilies) {
    yield* netlink.stream(sockDiagMessage.byFamily, listRequest(socketFamily, states), "list TCP sockets");
  }
}

function familiesOf(listener: TcpSocket): readonly AddressFamily[] {
  if (familyOf(listener.local) === 4) return [4];
  return listener.local === "::" && !listener.ipv6Only ? [4, 6] : [6];
}
