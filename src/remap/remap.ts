/** A remap as everybody outside the coordinator sees it. The coordinator's own record is in machine.ts. */
import type { IpAddress } from "../flow/address.ts";
import type { ChannelKind, ReturnPath, UnknownPolicy } from "../node/state.ts";
import type { OfflineReport } from "../node/status.ts";
import type { BatonError } from "./error.ts";

export const remapPhases = [
  "preparing",
  "arming",
  "switching",
  "draining",
  "finalizing",
  "completed",
  "aborting",
  "aborted",
] as const;
export type RemapPhase = (typeof remapPhases)[number];

export type RemapOutcome = "completed" | "cut" | "source-lost" | "target-lost" | "aborted";
export type OnDeadline = "cut" | "wait" | "keep";

export interface RemapPolicy {
  /** Milliseconds from the start of draining. */
  readonly deadlineMs?: number;
  readonly onDeadline: OnDeadline;
  /** How long everything must stand at zero before the drain is believed, milliseconds. */
  readonly lingerMs: number;
  readonly unknown: UnknownPolicy;
  readonly returnPath: ReturnPath;
  readonly channel: ChannelKind | "auto";
  readonly follow: boolean;
  readonly offlineSource: boolean;
}

export const defaultPolicy: RemapPolicy = {
  onDeadline: "wait",
  lingerMs: 10_000,
  unknown: "follow",
  returnPath: "channel",
  channel: "auto",
  follow: true,
  offlineSource: false,
};

export interface RemapFlows {
  readonly atSwitch: number;
  readonly remaining: number;
  readonly closed: number;
  readonly superseded: number;
  readonly cut: number;
  readonly lost: number;
  readonly newAtTarget: number;
}

export interface RemapChannel {
  readonly kind: ChannelKind;
  readonly mtu: number;
  /** 0: not proven yet. */
  readonly provenMtu: number;
}

/** Whether existing connections' packets fit through a channel. Bytes, IP header included. */
export interface MtuVerdict {
  readonly needed: number;
  readonly carried: number;
  readonly fits: boolean;
}

export interface WaitingFor {
  readonly node: string;
  readonly sinceMs: number;
  readonly what: string;
}

export interface Remap {
  readonly id: string;
  readonly address: IpAddress;
  readonly source: string;
  readonly sourcePrivate: IpAddress;
  readonly target: string;
  readonly targetPrivate: IpAddress;
  readonly generation: bigint;
  readonly phase: RemapPhase;
  readonly outcome?: RemapOutcome;
  readonly requestedBy: string;
  /** Milliseconds since the Unix epoch at which each phase was entered. */
  readonly phaseAtMs: Partial<Readonly<Record<RemapPhase, number>>>;
  readonly policy: RemapPolicy;
  readonly channel?: RemapChannel;
  readonly flows: RemapFlows;
  readonly followed: { readonly packets: bigint; readonly bytes: bigint };
  /** First gateway told to flip until the source's last acknowledgement, coordinator's clock. */
  readonly switchMs?: number;
  readonly longestSilenceMs?: number;
  readonly waitingFor: readonly WaitingFor[];
  readonly error?: BatonError;
  readonly offline?: OfflineReport;
  /** What an operator should know besides. */
  readonly remarks?: readonly string[];
}
