/**
 * Answers channel proofs at the owner's end: a full-size packet that came by the way of followed packets goes back by
 * the way of return traffic, at the same size. The kernel routes both by the rules that the real traffic takes.
 */
import { buildTcpPacket, parseTcpPacket, tcpFlags } from "../../src/dataplane/packet.ts";
import { decodeProof, encodeProof, proofHeaderBytes } from "../../src/dataplane/proof.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { AgentState } from "../../src/node/state.ts";

export interface ProofEchoParts {
  send(packet: Uint8Array, destination: IpAddress): void;
}

/** The answer to a packet that is a whole, well-formed proof through one of these links; undefined: it is none. */
export function answerProof(
  packet: Uint8Array,
  state: AgentState,
): { readonly packet: Uint8Array; readonly destination: IpAddress } | undefined {
  const tcp = parseTcpPacket(packet);
  const proof = tcp === undefined ? undefined : decodeProof(tcp.payload);
  if (tcp === undefined || proof === undefined || proof.kind !== "request") return undefined;
  const link = state.links.find((candidate) => candidate.id === proof.link && candidate.ownerEnd);
  const whole = packet.length === proof.mtu && tcp.payload.length === proof.mtu - proofHeaderBytes;
  if (link === undefined || !whole || tcp.source !== state.probeSource || tcp.destination !== link.localPrivate)
    return undefined;
  const answer = buildTcpPacket({
    source: link.localPrivate,
    destination: tcp.source,
    sourcePort: link.id,
    destinationPort: tcp.sourcePort,
    sequence: tcp.acknowledgement,
    acknowledgement: tcp.sequence,
    flags: tcpFlags.psh | tcpFlags.ack,
    payload: encodeProof({ ...proof, kind: "reply" }),
  });
  return { packet: answer, destination: tcp.source };
}
