/**
 * Flows as 32-bit words. A key without its public address is six: the peer, as of {@link writeIpAddressWords}, both
 * ports, and the protocol. A whole row is twelve: the key, and high half first, when it opened, its generation, and the
 * stream sequence of the message that told of it last. The state lies in the lowest bits of the protocol's word.
 *
 * Messages, tables and the database's rows of very many flows hold these; to make an object and texts of each would be
 * most of what they cost.
 */
import { type IpAddress, ipAddressFromWords, writeIpAddressWords } from "./address.ts";
import type { FlowRow } from "./events.ts";
import type { FlowKey, FlowState, Protocol } from "./flow.ts";

export const keyWords = 6;
export const rowWords = 12;
/** The first of a row's words. */
export const peerWords = 4;
export const [portsAt, kindAt, openedAtAt, generationAt, changedAtAt] = [peerWords, 5, 6, 8, 10] as const;
/** Of the kind's bits. */
export const stateMask = 0xff;

const protocolShift = 8;
const protocols: readonly Protocol[] = ["tcp", "udp"];
const states: readonly FlowState[] = ["half-open", "open", "closing", "closed"];
const twoTo32 = 0x1_0000_0000;

/** With no state. */
export function writeKeyWords({ protocol, peer, peerPort, port }: FlowKey, words: Uint32Array, at = 0): void {
  writeIpAddressWords(peer, words, at);
  words[at + portsAt] = (peerPort << 16) | port;
  words[at + kindAt] = protocolBits(protocol);
}

export function keyFromWords(address: IpAddress, words: Uint32Array, at = 0): FlowKey {
  const ports = words[at + portsAt] ?? 0;
  return {
    address,
    protocol: protocols[(words[at + kindAt] ?? 0) >>> protocolShift] as Protocol,
    peer: ipAddressFromWords(words, at),
    peerPort: ports >>> 16,
    port: ports & 0xffff,
  };
}

/** All but the sequence. */
export function writeRowWords({ key, state, openedAtMs, generation }: FlowRow, words: Uint32Array, at = 0): void {
  writeKeyWords(key, words, at);
  words[at + kindAt] = kindOf(key.protocol, state);
  writeTime(words, at + openedAtAt, openedAtMs);
  writeLong(words, at + generationAt, generation);
}

/** The kind of a key alone. */
export function protocolBits(protocol: Protocol): number {
  return protocols.indexOf(protocol) << protocolShift;
}

export function kindOf(protocol: Protocol, state: FlowState): number {
  return protocolBits(protocol) | states.indexOf(state);
}

export function protocolAt(words: Uint32Array, at: number): Protocol {
  return protocols[(words[at + kindAt] ?? 0) >>> protocolShift] as Protocol;
}

export function stateAt(words: Uint32Array, at: number): FlowState {
  return states[(words[at + kindAt] ?? 0) & stateMask] as FlowState;
}

export function timeAt(words: Uint32Array, at: number): number {
  return (words[at] ?? 0) * twoTo32 + (words[at + 1] ?? 0);
}

export function writeTime(words: Uint32Array, at: number, timeMs: number): void {
  words[at] = Math.trunc(timeMs / twoTo32);
  words[at + 1] = timeMs >>> 0;
}

export function longAt(words: Uint32Array, at: number): bigint {
  return (BigInt(words[at] ?? 0) << 32n) | BigInt(words[at + 1] ?? 0);
}

export function writeLong(words: Uint32Array, at: number, value: bigint): void {
  words[at] = Number(value >> 32n);
  words[at + 1] = Number(value & 0xffff_ffffn);
}
