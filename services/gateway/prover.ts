/**
 * Sends proof packets until they come back, and tells which did.
 *
 * Owns what is known of the proofs that the gateway is asked for now: a nonce each, who was heard, what went wrong.
 * The number of proofs at a time is bounded by the check of the state.
 */
import { randomBytes } from "node:crypto";
import { buildTcpPacket, parseTcpPacket, tcpFlags } from "../../src/dataplane/packet.ts";
import {
  checkProofRequest,
  decodeProof,
  encodeProof,
  judgeReply,
  proofNonceBytes,
  proofPort,
} from "../../src/dataplane/proof.ts";
import { familyOf, type IpAddress } from "../../src/flow/address.ts";
import type { RawSendOutcome } from "../../src/kernel/raw-socket.ts";
import type { GatewayState, ProofRequest } from "../../src/node/state.ts";
import type { NodeFault, ProofReport } from "../../src/node/status.ts";

export interface ProverParts {
  readonly gateway: string;
  send(packet: Uint8Array, destination: IpAddress): RawSendOutcome;
}

/** Gateways that are heard for one proof; whoever knows its id could invent more. */
const sendersMax = 64;

interface Proving {
  readonly request: ProofRequest;
  readonly nonce: Uint8Array;
  readonly packet: Uint8Array;
  /** By sender. */
  readonly reports: Map<string, ProofReport>;
  /** Why the newest packet could not be sent. */
  errno: string | undefined;
}

export class Prover {
  readonly #parts: ProverParts;
  #proving: ReadonlyMap<string, Proving> = new Map();

  constructor(parts: ProverParts) {
    this.#parts = parts;
  }

  /** What is asked for now, whole; what was asked for before and still is goes on. */
  want(state: Pick<GatewayState, "proofs" | "probeSource">): void {
    const possible = state.proofs.filter(
      (request) => checkProofRequest(request) === undefined && familyOf(request.targetPrivate) === 4,
    );
    this.#proving = new Map(
      possible.map((request) => [request.id, this.#held(request) ?? this.#begin(request, state)]),
    );
    this.send();
  }

  /** One packet for each proof that this gateway's own have not brought yet. True: what can be said has changed. */
  send(): boolean {
    let changed = false;
    for (const proving of this.#proving.values()) {
      if (proving.reports.has(this.#parts.gateway)) continue;
      const outcome = this.#parts.send(proving.packet, proving.request.targetPrivate);
      const errno = outcome.ok ? undefined : outcome.errno;
      changed ||= errno !== proving.errno;
      proving.errno = errno;
    }
    return changed;
  }

  /** A packet that came back from the fabric, from its IP header on. True: it proves something new. */
  receive(bytes: Uint8Array): boolean {
    const packet = parseTcpPacket(bytes);
    const proof = packet === undefined ? undefined : decodeProof(packet.payload);
    if (packet === undefined || proof === undefined) return false;
    const held = [...this.#proving.values()];
    const report = judgeReply(proof, packet.totalBytes, {
      gateway: this.#parts.gateway,
      requests: held.map((proving) => proving.request),
      nonces: new Map(held.map((proving) => [proving.request.id, proving.nonce])),
    });
    const reports = this.#proving.get(proof.id)?.reports;
    if (report === undefined || reports === undefined || reports.has(report.sender)) return false;
    if (reports.size >= sendersMax && report.sender !== this.#parts.gateway) return false;
    reports.set(report.sender, report);
    return true;
  }

  reports(): readonly ProofReport[] {
    return [...this.#proving.values()].flatMap((proving) => [...proving.reports.values()]);
  }

  faults(): readonly NodeFault[] {
    return [...this.#proving.values()].flatMap(({ request, errno }) =>
      errno === undefined ? [] : [sendFault(request, errno)],
    );
  }

  #held(request: ProofRequest): Proving | undefined {
    const held = this.#proving.get(request.id);
    const same =
      held?.request.link === request.link &&
      held.request.mtu === request.mtu &&
      held.request.targetPrivate === request.targetPrivate;
    return same ? held : undefined;
  }

  #begin(request: ProofRequest, { probeSource }: Pick<GatewayState, "probeSource">): Proving {
    const nonce = Uint8Array.from(randomBytes(proofNonceBytes));
    const { id, link, mtu } = request;
    const packet = buildTcpPacket({
      source: probeSource,
      destination: request.targetPrivate,
      sourcePort: proofPort,
      destinationPort: link,
      sequence: 1,
      acknowledgement: 1,
      flags: tcpFlags.psh | tcpFlags.ack,
      payload: encodeProof({ kind: "request", id, sender: this.#parts.gateway, link, mtu, nonce }),
    });
    return { request, nonce, packet, reports: new Map(), errno: undefined };
  }
}

function sendFault(request: ProofRequest, errno: string): NodeFault {
  const what = `proof ${request.id} of ${request.mtu} bytes to ${request.targetPrivate} can't be sent`;
  if (errno === "EMSGSIZE")
    return { code: "MTU_TOO_SMALL", message: `${what}: the gateway's fabric device takes smaller packets only` };
  return { code: "CHANNEL_UNPROVEN", message: `${what}: ${errno}; look at the gateway's route to that address` };
}
