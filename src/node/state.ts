/**
 * What a node should be: the whole of it, as the coordinator projects it and the node applies it.
 * The messages of proto/baton/v1/node.proto, validated; their comments hold here too.
 */
import type { IpAddress, Prefix } from "../flow/address.ts";
import type { Layout } from "../placement/layout.ts";

export type UnknownPolicy = "follow" | "drop" | "reset";
/** By which way an owner of older flows answers: through the channel and the holder, or by itself. */
export type ReturnPath = "channel" | "direct";
export type ChannelKind = "direct" | "vxlan" | "ipip" | "gre" | "wireguard";

/** 1 to {@link linkIdMax}: routing table, packet mark and proof port are derived from it. */
export type LinkId = number;
export const linkIdMax = 1023;

/** A place in the event stream of one shard. */
export interface ShardPosition {
  readonly shard: number;
  readonly sequence: bigint;
}

export interface AgentState {
  readonly fabric: readonly Prefix[];
  readonly probeSource: IpAddress;
  readonly addresses: readonly AgentAddress[];
  readonly links: readonly Link[];
  readonly marks: readonly MarkRequest[];
  /** Run the command that takes this host offline, once for this id. */
  readonly offline?: string;
  /** This host is to go: the tracker beside the agent gives its shards away. */
  readonly vacate?: true;
  /** Private addresses whose connections with external peers were let go of. */
  readonly discards?: readonly IpAddress[];
}

export type Egress =
  | { readonly kind: "normal" }
  /** Connections opened from now on are noted as old ones. */
  | { readonly kind: "armed"; readonly link: LinkId }
  | { readonly kind: "channel"; readonly link: LinkId }
  /** By its own routes; what it opens itself from now on is dropped. */
  | { readonly kind: "direct"; readonly link: LinkId };

/** The address has gone elsewhere, and what leaves from here is old flows' traffic. */
export function hasSwitched(egress: Egress): egress is Extract<Egress, { kind: "channel" | "direct" }> {
  return egress.kind === "channel" || egress.kind === "direct";
}

export interface AgentAddress {
  readonly address: IpAddress;
  readonly private: IpAddress;
  readonly generation: bigint;
  readonly egress: Egress;
  readonly holdOpens: boolean;
  readonly follows: readonly Follow[];
  readonly watchDrain: boolean;
  readonly cut: boolean;
  /** In which shards its flows are told of; absent: one bucket. */
  readonly layout?: Layout;
}

/** Instances whose flows of one address one holder can follow. */
export const followsPerAddressMax = 16;

export interface Follow {
  readonly owner: string;
  readonly ownerPrivate: IpAddress;
  readonly link: LinkId;
  readonly unknown: UnknownPolicy;
  readonly settled: boolean;
  readonly loadId: string;
  readonly loadAtLeast: readonly ShardPosition[];
}

export interface Link {
  readonly id: LinkId;
  readonly kind: ChannelKind;
  readonly peer: string;
  readonly localPrivate: IpAddress;
  readonly peerPrivate: IpAddress;
  /** "aa:bb:cc:dd:ee:ff" */
  readonly peerLinkAddress: string;
  readonly mtu: number;
  readonly ownerEnd: boolean;
  readonly returnPath: ReturnPath;
}

export interface MarkRequest {
  readonly id: string;
  readonly address: IpAddress;
  readonly snapshot: boolean;
}

export interface GatewayState {
  readonly fabric: readonly Prefix[];
  readonly publicPrefixes: readonly Prefix[];
  readonly probeSource: IpAddress;
  readonly mappings: readonly Mapping[];
  readonly accepts: readonly Accept[];
  readonly proofs: readonly ProofRequest[];
}

export interface Mapping {
  readonly address: IpAddress;
  readonly private: IpAddress;
  readonly generation: bigint;
}

export interface Accept {
  readonly address: IpAddress;
  readonly private: IpAddress;
  readonly retiring: boolean;
}

export interface ProofRequest {
  readonly id: string;
  readonly link: LinkId;
  readonly targetPrivate: IpAddress;
  readonly mtu: number;
}
