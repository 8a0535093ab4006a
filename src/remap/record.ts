/**
 * What the coordinator stores of a remap, and what it keeps of one in memory only.
 *
 * Invariants: a {@link RemapRecord} is stored before anything that rests on it leaves the coordinator, with the one
 * exception of {@link SwitchStage} `return`, which is stored right after (see machine.ts). {@link RemapLive} can be
 * lost at any time: everything in it is found again from the statuses of nodes.
 */
import type { IpAddress } from "../flow/address.ts";
import type { ChannelKind, LinkId, ShardPosition } from "../node/state.ts";
import type { OfflineReport } from "../node/status.ts";
import type { BatonError } from "./error.ts";
import type { RemapFlows, RemapOutcome, RemapPhase, RemapPolicy } from "./remap.ts";

/** One instance whose flows the target has to send on, and the channel between the two. */
export interface OwnerLink {
  /** Remap that drains this owner; the remap's own id for its source. */
  readonly remap: string;
  readonly owner: string;
  readonly ownerPrivate: IpAddress;
  readonly ownerLinkAddress: string;
  readonly targetLinkAddress: string;
  readonly link: LinkId;
  readonly kind: ChannelKind;
  /** Packets of this size exist on the way already, so they must fit. Bytes, IP header included. */
  readonly packetSize: number;
  /** What the channel could carry by the devices' sizes. */
  readonly mtu: number;
  /** Positions of the owner's snapshot in the event stream; empty before arming. */
  readonly loadAtLeast: readonly ShardPosition[];
}

/**
 * - `flip`: the gateways are told to map the address to the target
 * - `return`: all have done it; the source's replies move into the channel, the target opens for business
 * - `barrier`: the source publishes that it is past the switch, the trackers apply that
 * - `settle`: the target may judge packets of unknown connections
 * - `retire`: the gateways let go of the source's private address
 */
export const switchStages = ["flip", "return", "barrier", "settle", "retire"] as const;
export type SwitchStage = (typeof switchStages)[number];

export type PhaseState =
  | { readonly kind: "preparing" }
  | { readonly kind: "arming" }
  | { readonly kind: "switching"; readonly stage: SwitchStage }
  /** `retiring`: the drain is over, and the gateways let go of a source that has answered by itself */
  | { readonly kind: "draining"; readonly cut: boolean; readonly retiring?: true }
  /**
   * - `released`: the source has connections that were let go of
   * - `offline`: nothing of the remap is left, and the source is being taken offline
   */
  | { readonly kind: "finalizing"; readonly outcome: EndOutcome; readonly released?: true; readonly offline?: true }
  | { readonly kind: "completed"; readonly outcome: EndOutcome }
  | { readonly kind: "aborting"; readonly why: BatonError }
  | { readonly kind: "aborted"; readonly why: BatonError };

/** How a remap ends that was past its flip. */
export type EndOutcome = Exclude<RemapOutcome, "aborted">;

export interface RemapRecord {
  readonly id: string;
  /** Number of this record among those of the remap, from 1; a key of the store, used once. */
  readonly step: number;
  readonly idempotencyKey: string;
  readonly address: IpAddress;
  readonly source: string;
  readonly sourcePrivate: IpAddress;
  /** Generation under which the source held the address. */
  readonly sourceGeneration: bigint;
  /** Which run of the source's kernel had its connections at the flip; absent: it was not connected then. */
  readonly sourceKernel?: string;
  readonly target: string;
  readonly targetPrivate: IpAddress;
  readonly generation: bigint;
  readonly requestedBy: string;
  readonly policy: RemapPolicy;
  readonly owners: readonly OwnerLink[];
  readonly phase: PhaseState;
  readonly phaseAtMs: Partial<Readonly<Record<RemapPhase, number>>>;
  /** Size of the largest packets that came back through the source's channel; 0: none yet. */
  readonly provenMtu: number;
  readonly flows: RemapFlows;
  readonly traffic: readonly LinkTraffic[];
  readonly counts: readonly RunCounts[];
  readonly switchMs?: number;
  readonly longestSilenceMs?: number;
  readonly offline?: OfflineReport;
  readonly remarks?: readonly string[];
}

/** What one link carried for the source; a remap has several when the address moves on while it drains. */
export interface LinkTraffic {
  readonly link: LinkId;
  readonly packets: bigint;
  readonly bytes: bigint;
  readonly superseded: number;
}

/** What one run of an agent has counted. */
export interface RunCounts {
  readonly node: string;
  readonly boot: string;
  readonly cut: number;
  readonly superseded: number;
  readonly opened: number;
}

/** Something that a phase waits for, in plain words. */
export interface Wait {
  readonly node: string;
  readonly what: string;
  /** Whose doing is missing: the node's, the channel's, its packet size, or the trackers'. */
  readonly kind: "node" | "proof" | "size" | "tracker";
}

export interface RemapLive {
  /** When this coordinator began to wait in the present phase, monotonic milliseconds; absent: not yet. */
  readonly enteredMs?: number;
  /** The record was read from the store, so the last stage may have been left already. */
  readonly resumed: boolean;
  /** Both ends of every channel are up, so proofs may be sent. */
  readonly linksUp: boolean;
  readonly barriersPassed: readonly string[];
  /** What the trackers said when a barrier did not pass. */
  readonly barrierTrouble?: string;
  /** When the gateways were told to flip, monotonic milliseconds. */
  readonly flipSentMs?: number;
  readonly flows: RemapFlows;
  readonly traffic: readonly LinkTraffic[];
  readonly counts: readonly RunCounts[];
  /** Flows of the source that the trackers know; absent: not asked yet. */
  readonly tracked?: number;
  /** Since when nothing moves, and the counters then. */
  readonly quiet?: { readonly sinceMs: number; readonly counters: string };
  readonly ownershipPublished: boolean;
  /** Since when nothing was heard of the source, and what the holder had counted then; see source-loss.ts. */
  readonly silence?: { readonly sinceMs: number; readonly heard: string; readonly probesSent: bigint };
  /** Since when the source's agent is not connected, monotonic milliseconds; absent: it is. */
  readonly awaySinceMs?: number;
  /** `sinceMs`: wall clock, milliseconds since the Unix epoch. */
  readonly waits: readonly (Wait & { readonly sinceMs: number })[];
  /** What hinders it after the flip. */
  readonly trouble?: BatonError;
}

export interface RemapState {
  readonly record: RemapRecord;
  readonly live: RemapLive;
}

export const noFlows: RemapFlows = {
  atSwitch: 0,
  remaining: 0,
  closed: 0,
  superseded: 0,
  cut: 0,
  lost: 0,
  newAtTarget: 0,
};

/** A remap as a leader takes it up: from a request, or from the store (`resumed`). */
export function takeUp(record: RemapRecord, resumed: boolean): RemapState {
  const { flows, traffic, counts } = record;
  const live = { resumed, linksUp: false, barriersPassed: [], ownershipPublished: false, waits: [] };
  return { record, live: { ...live, flows, traffic, counts } };
}

export const snapshotMarkId = (id: string): string => `${id}.snapshot`;
export const barrierMarkId = (id: string): string => `${id}.barrier`;
export const proofId = (id: string, link: LinkId): string => `${id}.proof.${link}`;
export const loadId = (id: string, owner: string): string => `${id}.load.${owner}`;
