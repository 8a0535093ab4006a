/**
 * Proof packets: what a gateway sends through a channel to learn whether full-size packets come through it and back.
 *
 * A proof looks like the traffic (a TCP segment with PSH and ACK from outside the fabric, as large as a packet may be),
 * for a plain echo passes where firewalls, reverse-path filters and clouds' source checks kill followed packets.
 * The owner's agent sends it back as a reply of the same size; a request that comes back unanswered proves nothing.
 *
 * Payload, numbers in network order, the rest of the packet filled up with a pattern:
 *
 *     0  8  "BATONPRF"          10  2  link            30  1  length of the id
 *     8  1  version             12  2  mtu             31  1  length of the sender's name
 *     9  1  1 request, 2 reply  14 16  nonce           32     id, sender (ASCII)
 *
 * The nonce is drawn by the sender for each proof and run. A reply that comes back to its sender must carry it; through
 * another gateway it is believed where that gateway was asked for the same proof, whose id strangers don't know either.
 */
import type { LinkId, ProofRequest } from "../node/state.ts";
import { linkIdMax } from "../node/state.ts";
import type { ProofReport } from "../node/status.ts";

export interface Proof {
  readonly kind: "request" | "reply";
  /** Of the request; printable ASCII, 1 to {@link proofIdMax} characters. */
  readonly id: string;
  /** Gateway that has sent it; printable ASCII, 1 to {@link proofSenderMax} characters. */
  readonly sender: string;
  readonly link: LinkId;
  /** Size of the whole packet, bytes, IP header included. */
  readonly mtu: number;
  /** {@link proofNonceBytes} bytes. */
  readonly nonce: Uint8Array;
}

export const proofIdMax = 128;
export const proofSenderMax = 63;
export const proofNonceBytes = 16;
/** IPv4 and TCP headers without options; a request has as many before its payload, and so should its reply. */
export const proofHeaderBytes = 40;
/** A proof's source port, and its reply's destination port. The port at the other end is the link's id. */
export const proofPort = 7703;
/** As much of a proof packet as its receiver needs to see, from the IP header on. */
export const proofSnapBytes = 320;

const magic = [0x42, 0x41, 0x54, 0x4f, 0x4e, 0x50, 0x52, 0x46] as const;
const version = 1;
const fixedBytes = 32;
/** Smallest packet that holds every proof. */
export const proofMtuMin = proofHeaderBytes + fixedBytes + proofIdMax + proofSenderMax;
export const proofMtuMax = 65_535;

const printable = /^[\x21-\x7e]+$/;

/** What is wrong with a request, as a sentence; undefined: nothing. */
export function checkProofRequest(request: ProofRequest): string | undefined {
  if (!isName(request.id, proofIdMax)) return `a proof's id is 1 to ${proofIdMax} printable ASCII characters`;
  if (request.mtu < proofMtuMin || request.mtu > proofMtuMax)
    return `a proof of ${request.mtu} bytes can't be sent; ${proofMtuMin} to ${proofMtuMax} can`;
  return undefined;
}

/** The payload of a proof packet: `proof.mtu` less its headers. Throws where {@link checkProofRequest} would complain. */
export function encodeProof(proof: Proof, headerBytes = proofHeaderBytes): Uint8Array {
  if (!isName(proof.id, proofIdMax) || !isName(proof.sender, proofSenderMax))
    throw new RangeError(`a proof can't carry the names ${JSON.stringify([proof.id, proof.sender])}`);
  const payload = Uint8Array.from({ length: proof.mtu - headerBytes }, (_, index) => index & 0xff);
  const names = new TextEncoder().encode(proof.id + proof.sender);
  if (fixedBytes + names.length > payload.length) throw new RangeError(`a proof does not fit into ${proof.mtu} bytes`);
  payload.set([...magic, version, proof.kind === "request" ? 1 : 2]);
  const view = new DataView(payload.buffer);
  view.setUint16(10, proof.link);
  view.setUint16(12, proof.mtu);
  payload.set(proof.nonce, 14);
  payload.set([proof.id.length, proof.sender.length], 30);
  payload.set(names, fixedBytes);
  return payload;
}

/** Reads the head of a payload, which may be cut after {@link proofSnapBytes}; undefined: not a proof. */
export function decodeProof(payload: Uint8Array): Proof | undefined {
  if (payload.length < fixedBytes || !magic.every((byte, index) => payload[index] === byte)) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const kind = kinds[view.getUint8(9)];
  if (view.getUint8(8) !== version || kind === undefined) return undefined;
  const senderAt = fixedBytes + view.getUint8(30);
  const id = asciiOf(payload.subarray(fixedBytes, senderAt));
  const sender = asciiOf(payload.subarray(senderAt, senderAt + view.getUint8(31)));
  if (id.length !== view.getUint8(30) || sender.length !== view.getUint8(31)) return undefined;
  const link = view.getUint16(10);
  if (!isName(id, proofIdMax) || !isName(sender, proofSenderMax) || link < 1 || link > linkIdMax) return undefined;
  return { kind, id, sender, link, mtu: view.getUint16(12), nonce: payload.slice(14, 14 + proofNonceBytes) };
}

function isName(text: string, max: number): boolean {
  return text.length <= max && printable.test(text);
}

const kinds: Readonly<Record<number, Proof["kind"]>> = { 1: "request", 2: "reply" };

function asciiOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** What a gateway knows when a packet comes back. */
export interface ProofExpectation {
  readonly gateway: string;
  readonly requests: readonly ProofRequest[];
  /** Of each request that this run has sent. */
  readonly nonces: ReadonlyMap<string, Uint8Array>;
}

/** What a returned packet of `packetBytes` (its IP header's total length) proves; undefined: nothing. */
export function judgeReply(proof: Proof, packetBytes: number, expected: ProofExpectation): ProofReport | undefined {
  const request = expected.requests.find((candidate) => candidate.id === proof.id);
  if (request === undefined || proof.kind !== "reply") return undefined;
  if (proof.link !== request.link || proof.mtu !== request.mtu || packetBytes !== request.mtu) return undefined;
  if (proof.sender === expected.gateway && !sameBytes(proof.nonce, expected.nonces.get(proof.id))) return undefined;
  return { id: proof.id, sender: proof.sender, mtu: proof.mtu };
}

function sameBytes(left: Uint8Array, right: Uint8Array | undefined): boolean {
  return right !== undefined && left.length === right.length && left.every((byte, index) => byte === right[index]);
}
