/**
 * What a node is: the whole of it, sent up after every change.
 * The messages of proto/baton/v1/node.proto, validated; their comments hold here too.
 */
import type { IpAddress } from "../flow/address.ts";
import type { HostingReadiness } from "../placement/candidate.ts";
import type { ErrorCode } from "../remap/error.ts";
import type { Fence } from "./fence.ts";
import type { ChannelKind, LinkId, ShardPosition } from "./state.ts";

export type NodeKind = "agent" | "gateway";

export interface NodeHello {
  readonly name: string;
  readonly kind: NodeKind;
  /** Hexadecimal, 32 digits. */
  readonly boot: string;
  readonly version: string;
  /** Hexadecimal, 48 digits; another one after a reboot. */
  readonly kernel?: string;
  readonly held?: Fence;
  readonly devices: readonly Device[];
  readonly privateAddresses: readonly IpAddress[];
  readonly channels: readonly ChannelKind[];
  /** Bytes; 0 for an agent. */
  readonly publicMtu: number;
  readonly offlineHook?: boolean;
  readonly resetsConnections?: boolean;
}

export interface Device {
  readonly name: string;
  /** "aa:bb:cc:dd:ee:ff", or empty. */
  readonly linkAddress: string;
  readonly mtu: number;
  readonly addresses: readonly { readonly address: IpAddress; readonly prefixLength: number }[];
}

export interface NodeStatus {
  readonly applied?: Fence;
  readonly faults: readonly NodeFault[];
  readonly marks: readonly MarkReport[];
  readonly loads: readonly LoadReport[];
  readonly proofs: readonly ProofReport[];
  readonly drains: readonly DrainReport[];
  readonly links: readonly LinkReport[];
  readonly retired: readonly IpAddress[];
  readonly hooks?: readonly HookReport[];
  /** Absent: the agent hosts no tracker. */
  readonly hosting?: HostingReport;
}

export interface HostingReport {
  /** As the members are told. */
  readonly readiness: HostingReadiness;
  /** Whose copies are here, or are to be. */
  readonly shards: readonly number[];
  /** It is draining, all had time to hear of it, and no copy is here or to come. */
  readonly vacated: boolean;
  /** Other trackers that take shards; told while it is draining. */
  readonly takers: number;
}

export const hookOutcomes = ["done", "failed", "timed-out", "unheard", "not-run"] as const;

/** What came of the command that takes an instance offline. `unheard`: it was begun, and nothing more was heard. */
export interface OfflineReport {
  readonly outcome: (typeof hookOutcomes)[number];
  readonly message: string;
}

export interface HookReport extends OfflineReport {
  readonly id: string;
}

export interface NodeFault {
  readonly code: ErrorCode;
  readonly message: string;
  readonly address?: IpAddress;
  readonly fence?: Fence;
}

export interface MarkReport {
  readonly id: string;
  readonly positions: readonly ShardPosition[];
  readonly flows: number;
}

export interface LoadReport {
  readonly id: string;
  readonly entries: number;
}

export interface ProofReport {
  readonly id: string;
  readonly sender: string;
  readonly mtu: number;
}

export interface DrainReport {
  readonly address: IpAddress;
  readonly generation: bigint;
  readonly open: number;
  readonly atSwitch?: number;
  readonly opened: number;
  readonly cut: number;
  readonly superseded?: number;
  readonly unresettable?: number;
  readonly longestSilenceMs?: number;
}

export interface LinkReport {
  readonly id: LinkId;
  readonly followedPackets: bigint;
  readonly followedBytes: bigint;
  readonly returnedPackets: bigint;
  readonly returnedBytes: bigint;
  readonly unknownPackets: bigint;
  readonly refusedPackets: bigint;
  readonly superseded: bigint;
  readonly probesSent: bigint;
  readonly probesAnswered: bigint;
}

export const emptyStatus: NodeStatus = {
  faults: [],
  marks: [],
  loads: [],
  proofs: [],
  drains: [],
  links: [],
  retired: [],
};
