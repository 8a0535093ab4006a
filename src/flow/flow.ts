/** Flows: what identifies one, how far it has come, who owns it. */
import type { IpAddress } from "./address.ts";

export type Protocol = "tcp" | "udp";

/** Identity of a flow as the outside world sees it. Ports are 0 to 65535. */
export interface FlowKey {
  readonly address: IpAddress;
  readonly protocol: Protocol;
  readonly peer: IpAddress;
  readonly peerPort: number;
  readonly port: number;
}

/**
 * - `half-open`: a SYN was seen, the handshake's end not yet
 * - `closing`: one side sent FIN; the other may send for as long as it likes
 */
export type LiveFlowState = "half-open" | "open" | "closing";
export type FlowState = LiveFlowState | "closed";

export interface Flow {
  readonly key: FlowKey;
  /** Instance that terminates the flow; written by that instance only. */
  readonly owner: string;
  /** Instance that forwards it to its owner; written by the forwarder only. */
  readonly via?: string;
  readonly state: FlowState;
  /** Milliseconds since the Unix epoch, owner's clock. */
  readonly openedAtMs: number;
  /** Generation of the public address when the flow opened. */
  readonly generation: bigint;
}

export type LiveFlow = Flow & { readonly state: LiveFlowState };

/** A string that is equal exactly for equal keys; for maps and sets. */
export function flowKeyText(key: FlowKey): string {
  return `${key.protocol} ${key.address} ${key.port} ${key.peer} ${key.peerPort}`;
}
