/**
 * A flow's key without its public address, as six 32-bit words: the peer, as of {@link writeIpAddressWords}, both ports,
 * and the protocol. Tables, rows and messages of very many flows hold these; to make an object and texts of each would be
 * most of what they cost.
 */
import { type IpAddress, ipAddressFromWords, writeIpAddressWords } from "./address.ts";
import type { FlowKey, Protocol } from "./flow.ts";

export const keyWords = 6;
/** Of the words, after the peer's four. */
export const [portsAt, kindAt] = [4, 5] as const;
/** The lowest bits of the last word are no part of the key: whoever holds one may keep something there. */
export const freeBitsMask = 0xff;

const protocolShift = 8;
const protocols: readonly Protocol[] = ["tcp", "udp"];

export function writeKeyWords({ protocol, peer, peerPort, port }: FlowKey, words: Uint32Array, at = 0): void {
  writeIpAddressWords(peer, words, at);
  words[at + portsAt] = portsWord(peerPort, port);
  words[at + kindAt] = kindWord(protocol);
}

export function keyFromWords(address: IpAddress, words: Uint32Array, at = 0): FlowKey {
  const ports = words[at + portsAt] ?? 0;
  return {
    address,
    protocol: protocolOf(words[at + kindAt] ?? 0),
    peer: ipAddressFromWords(words, at),
    peerPort: ports >>> 16,
    port: ports & 0xffff,
  };
}

export function portsWord(peerPort: number, port: number): number {
  return (peerPort << 16) | port;
}

export function kindWord(protocol: Protocol): number {
  return protocols.indexOf(protocol) << protocolShift;
}

export function protocolOf(kind: number): Protocol {
  return protocols[kind >>> protocolShift] as Protocol;
}
