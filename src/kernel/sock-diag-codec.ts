/**
 * The messages of sock_diag about TCP sockets (linux/inet_diag.h), both ways. Pure.
 *
 * A socket of AF_INET6 may serve IPv4 with mapped addresses, as those of a dual-stack server do; its ends are IPv4
 * addresses here, and {@link TcpSocket.socketFamily} still says what the kernel must be asked for.
 */
import { type AddressFamily, familyOf, type IpAddress, ipAddressFromBytes, ipAddressToBytes } from "../flow/address.ts";
import type { SocketSighting, TcpSocketState } from "../flow/observe.ts";
import { decodeAttributes, viewOf } from "./attributes.ts";

export const sockDiagMessage = { byFamily: 20, destroy: 21 } as const;

export interface TcpSocket extends SocketSighting {
  readonly socketFamily: AddressFamily;
  /** 0 where no process holds it (any more): SYN_RECV, TIME_WAIT, orphans. */
  readonly inode: number;
  readonly uid: number;
  /** Only for those with CAP_NET_ADMIN. */
  readonly mark?: number;
  /** Index of the device that the socket is bound to; 0 for any. */
  readonly device: number;
  /** The kernel's name for exactly this socket: a later one between the same ends has another. */
  readonly cookie: bigint;
  /** Of a listener of AF_INET6: it does not serve IPv4. */
  readonly ipv6Only: boolean;
}

/** By number; the kernel's request sockets (12) are SYN_RECV. */
const stateNames: readonly (TcpSocketState | undefined)[] = [
  undefined,
  "ESTABLISHED",
  "SYN_SENT",
  "SYN_RECV",
  "FIN_WAIT1",
  "FIN_WAIT2",
  "TIME_WAIT",
  "CLOSE",
  "CLOSE_WAIT",
  "LAST_ACK",
  "LISTEN",
  "CLOSING",
  "SYN_RECV",
];

const familyNumber = { 4: 2, 6: 10 } as const;
const tcpProtocol = 6;
const requestBytes = 56;
/** struct inet_diag_msg */
export const answerBytes = 72;
const attributeNumber = { tcpInfo: 2, ipv6Only: 11, mark: 15 } as const;
/** struct tcp_info (linux/tcp.h): milliseconds since data, or an acknowledgement, last came. */
const tcpInfoField = { lastDataReceived: 52, lastAckReceived: 56, end: 60 } as const;
/** struct inet_diag_sockid, within a request at 8 and within an answer at 4. */
const endsField = {
  sourcePort: 0,
  destinationPort: 2,
  source: 4,
  destination: 20,
  device: 36,
  cookie: 40,
} as const;
const requestField = { family: 0, protocol: 1, extensions: 2, states: 4, ends: 8 } as const;
const answerField = { family: 0, state: 1, ends: 4, uid: 64, inode: 68 } as const;

/** Asks for all sockets of one kernel family in the states. */
export function listRequest(socketFamily: AddressFamily, states: Iterable<TcpSocketState>): Uint8Array {
  const wanted = new Set<TcpSocketState | undefined>(states);
  const mask = stateNames.reduce((bits, name, number) => (wanted.has(name) ? bits | (1 << number) : bits), 0);
  const bytes = emptyRequest(socketFamily);
  viewOf(bytes).setUint32(requestField.states, mask, true);
  return bytes;
}

/** Asks for the same, each with its tcp_info. */
export function activityRequest(socketFamily: AddressFamily, states: Iterable<TcpSocketState>): Uint8Array {
  const bytes = listRequest(socketFamily, states);
  bytes[requestField.extensions] = 1 << (attributeNumber.tcpInfo - 1);
  return bytes;
}

/** When something last came from the other end of a socket. */
export interface TcpActivity {
  readonly cookie: bigint;
  readonly remote: IpAddress;
  /** Since data or an acknowledgement, whichever came later, milliseconds; in steps of the kernel's clock tick. */
  readonly idleMs: number;
}

/** Undefined for what is malformed, or has no tcp_info. */
export function decodeActivity(payload: Uint8Array): TcpActivity | undefined {
  if (payload.length < answerBytes) return undefined;
  const info = decodeAttributes(payload.subarray(answerBytes))?.bytes(attributeNumber.tcpInfo);
  if (info === undefined || info.length < tcpInfoField.end) return undefined;
  const ends = answerField.ends;
  const times = viewOf(info);
  const data = times.getUint32(tcpInfoField.lastDataReceived, true);
  const acknowledgement = times.getUint32(tcpInfoField.lastAckReceived, true);
  return {
    cookie: viewOf(payload).getBigUint64(ends + endsField.cookie, true),
    remote: addressAt(payload, ends + endsField.destination, payload[answerField.family] === familyNumber[4] ? 4 : 6),
    idleMs: Math.min(data, acknowledgement),
  };
}

/**
 * Names one socket. The cookie is not optional: where no connection has these ends (any more), the kernel goes on to
 * look for a listener of the local port.
 */
export type TcpSocketName = Pick<
  TcpSocket,
  "socketFamily" | "local" | "localPort" | "remote" | "remotePort" | "device" | "cookie"
>;

/** For {@link sockDiagMessage.destroy}. */
export function destroyRequest(socket: TcpSocketName): Uint8Array {
  const bytes = emptyRequest(socket.socketFamily);
  const view = viewOf(bytes);
  const ends = requestField.ends;
  view.setUint32(requestField.states, 0xffff_ffff, true);
  view.setUint16(ends + endsField.sourcePort, socket.localPort);
  view.setUint16(ends + endsField.destinationPort, socket.remotePort);
  bytes.set(addressBytes(socket.local, socket.socketFamily), ends + endsField.source);
  bytes.set(addressBytes(socket.remote, socket.socketFamily), ends + endsField.destination);
  view.setUint32(ends + endsField.device, socket.device, true);
  view.setBigUint64(ends + endsField.cookie, socket.cookie, true);
  return bytes;
}

/** Undefined for what is malformed, or of a family or state that has no name here. */
export function decodeSocket(payload: Uint8Array): TcpSocket | undefined {
  if (payload.length < answerBytes) return undefined;
  const view = viewOf(payload);
  const family = payload[answerField.family];
  const state = stateNames[payload[answerField.state] ?? 0];
  if (state === undefined || (family !== familyNumber[4] && family !== familyNumber[6])) return undefined;
  const attributes = decodeAttributes(payload.subarray(answerBytes));
  if (attributes === undefined) return undefined;
  const socketFamily = family === familyNumber[6] ? 6 : 4;
  const mark = attributes.u32(attributeNumber.mark);
  const ends = answerField.ends;
  return {
    socketFamily,
    state,
    local: addressAt(payload, ends + endsField.source, socketFamily),
    localPort: view.getUint16(ends + endsField.sourcePort),
    remote: addressAt(payload, ends + endsField.destination, socketFamily),
    remotePort: view.getUint16(ends + endsField.destinationPort),
    device: view.getUint32(ends + endsField.device, true),
    cookie: view.getBigUint64(ends + endsField.cookie, true),
    uid: view.getUint32(answerField.uid, true),
    inode: view.getUint32(answerField.inode, true),
    ...(mark !== undefined && { mark }),
    ipv6Only: attributes.u8(attributeNumber.ipv6Only) === 1,
  };
}

/** Whether an answer's local address is this one, without decoding the rest of it. */
export function localAddressMatcher(address: IpAddress): (payload: Uint8Array) => boolean {
  const mapped = ipAddressToBytes(address);
  const start = answerField.ends + endsField.source;
  return (payload) => {
    if (payload.length < answerBytes) return false;
    const isIpv4 = payload[answerField.family] === familyNumber[4];
    if (isIpv4 && familyOf(address) !== 4) return false;
    const wanted = isIpv4 ? mapped.subarray(12) : mapped;
    return wanted.every((byte, index) => payload[start + index] === byte);
  };
}

function emptyRequest(socketFamily: AddressFamily): Uint8Array {
  const bytes = new Uint8Array(requestBytes);
  bytes[requestField.family] = familyNumber[socketFamily];
  bytes[requestField.protocol] = tcpProtocol;
  return bytes;
}

function addressAt(payload: Uint8Array, start: number, socketFamily: AddressFamily): IpAddress {
  return ipAddressFromBytes(payload.subarray(start, start + (socketFamily === 4 ? 4 : 16)));
}

function addressBytes(address: IpAddress, socketFamily: AddressFamily): Uint8Array {
  return ipAddressToBytes(address).subarray(socketFamily === 4 ? 12 : 0);
}
