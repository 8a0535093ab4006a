/** Remaps, policies and previews as messages and as the domain's values, both ways. */

import type { IpAddress } from "../flow/address.ts";
import type {
  RemapChannel as RemapChannelMessage,
  RemapError as RemapErrorMessage,
  Remap as RemapMessage,
  RemapPolicy as RemapPolicyMessage,
  RemapPolicyRequest as RemapPolicyRequestMessage,
  RemapPreview as RemapPreviewMessage,
} from "../gen/baton/v1/remap.ts";
import type { OfflineReport } from "../node/status.ts";
import type { BatonError } from "../remap/error.ts";
import {
  defaultPolicy,
  type MtuVerdict,
  type Remap,
  type RemapChannel,
  type RemapFlows,
  type RemapPhase,
  type RemapPolicy,
  remapPhases,
} from "../remap/remap.ts";
import {
  channelChoices,
  channelKinds,
  errorCodeNumbers,
  hookOutcomeNumbers,
  onDeadlines,
  outcomes,
  phases,
  readEnum,
  readOptionalEnum,
  returnPaths,
  unknownPolicies,
} from "./enums.ts";
import {
  type Decoded,
  decode,
  readAddress,
  readCount,
  readDecimal,
  readId,
  readInteger,
  readList,
  readName,
  readPresent,
  readText,
} from "./fields.ts";
import { waitingForMax } from "./limits.ts";
import { readMtu } from "./node-codec.ts";

/** Deadlines and lingers beyond this are mistakes. */
const durationMsMax = 366 * 24 * 3_600_000;
const refusalsMax = 100;
const remarksMax = 100;
const packetBytesMax = 65_535;

/** What a remap would do. */
export interface RemapPreview {
  readonly address: IpAddress;
  readonly source: string;
  readonly target: string;
  /** Absent when the target has none left. */
  readonly targetPrivate?: IpAddress;
  readonly policy: RemapPolicy;
  /** Absent when none can be had. */
  readonly channel?: RemapChannel;
  readonly flows: number;
  readonly medianAgeMs?: number;
  readonly oldestAgeMs?: number;
  /** Everything for which the remap would be refused; empty: it would start. */
  readonly refusals: readonly BatonError[];
  /** Absent when no way between the two instances is known at all. */
  readonly mtu?: MtuVerdict;
  /** What the operator should know besides. */
  readonly remarks?: readonly string[];
}

export function policyToProto(policy: RemapPolicy): RemapPolicyMessage {
  return {
    deadlineMs: policy.deadlineMs === undefined ? undefined : BigInt(policy.deadlineMs),
    onDeadline: onDeadlines[policy.onDeadline],
    lingerMs: BigInt(policy.lingerMs),
    unknown: unknownPolicies[policy.unknown],
    returnPath: returnPaths[policy.returnPath],
    channel: channelChoices[policy.channel],
    follow: policy.follow,
    offlineSource: policy.offlineSource,
  };
}

/** A wish: what it leaves out is left to the coordinator's defaults. */
export function policyRequestToProto(wish: Partial<RemapPolicy>): RemapPolicyRequestMessage {
  return {
    deadlineMs: wish.deadlineMs === undefined ? undefined : BigInt(wish.deadlineMs),
    onDeadline: wish.onDeadline === undefined ? 0 : onDeadlines[wish.onDeadline],
    lingerMs: wish.lingerMs === undefined ? undefined : BigInt(wish.lingerMs),
    unknown: wish.unknown === undefined ? 0 : unknownPolicies[wish.unknown],
    returnPath: wish.returnPath === undefined ? 0 : returnPaths[wish.returnPath],
    channel: wish.channel === undefined ? 0 : channelChoices[wish.channel],
    follow: wish.follow,
    offlineSource: wish.offlineSource ?? false,
  };
}

/** The policy that a wish comes to; without one, the default. */
export function policyRequestFromProto(message: RemapPolicyRequestMessage | undefined): Decoded<RemapPolicy> {
  if (message === undefined) return { ok: true, value: defaultPolicy };
  return decode(() => ({
    ...readDeadline(message.deadlineMs),
    onDeadline: readOptionalEnum("policy.on_deadline", onDeadlines, message.onDeadline) ?? defaultPolicy.onDeadline,
    lingerMs:
      message.lingerMs === undefined ? defaultPolicy.lingerMs : readDuration("policy.linger_ms", message.lingerMs),
    unknown: readOptionalEnum("policy.unknown", unknownPolicies, message.unknown) ?? defaultPolicy.unknown,
    returnPath: readOptionalEnum("policy.return_path", returnPaths, message.returnPath) ?? defaultPolicy.returnPath,
    channel: readOptionalEnum("policy.channel", channelChoices, message.channel) ?? defaultPolicy.channel,
    follow: message.follow ?? defaultPolicy.follow,
    offlineSource: message.offlineSource,
  }));
}

export function remapToProto(remap: Remap): RemapMessage {
  const { flows } = remap;
  return {
    id: remap.id,
    address: remap.address,
    source: remap.source,
    sourcePrivate: remap.sourcePrivate,
    target: remap.target,
    targetPrivate: remap.targetPrivate,
    generation: remap.generation,
    phase: phases[remap.phase],
    outcome: remap.outcome === undefined ? 0 : outcomes[remap.outcome],
    requestedBy: remap.requestedBy,
    phaseAt: enteredPhases(remap).map(([phase, atMs]) => ({ phase: phases[phase], atMs: BigInt(atMs) })),
    policy: policyToProto(remap.policy),
    channel: remap.channel && channelToProto(remap.channel),
    flows: {
      atSwitch: BigInt(flows.atSwitch),
      remaining: BigInt(flows.remaining),
      closed: BigInt(flows.closed),
      superseded: BigInt(flows.superseded),
      cut: BigInt(flows.cut),
      lost: BigInt(flows.lost),
      newAtTarget: BigInt(flows.newAtTarget),
    },
    followed: { ...remap.followed },
    switchMs: remap.switchMs,
    longestSilenceMs: remap.longestSilenceMs,
    waitingFor: remap.waitingFor.map(({ node, sinceMs, what }) => ({ node, sinceMs: BigInt(sinceMs), what })),
    error: remap.error && errorToProto(remap.error),
    offline: remap.offline && { ...remap.offline, outcome: hookOutcomeNumbers[remap.offline.outcome] },
    remarks: [...(remap.remarks ?? [])],
  };
}

export function remapFromProto(message: RemapMessage): Decoded<Remap> {
  return decode(() => {
    const outcome = readOptionalEnum("outcome", outcomes, message.outcome);
    return {
      id: readId("id", message.id),
      address: readAddress("address", message.address),
      source: readName("source", message.source),
      sourcePrivate: readAddress("source_private", message.sourcePrivate),
      target: readName("target", message.target),
      targetPrivate: readAddress("target_private", message.targetPrivate),
      generation: message.generation,
      phase: readEnum("phase", phases, message.phase),
      ...(outcome !== undefined && { outcome }),
      requestedBy: readText("requested_by", message.requestedBy),
      phaseAtMs: Object.fromEntries(
        readList("phase_at", message.phaseAt, remapPhases.length, ({ phase, atMs }, field) => [
          readEnum(`${field}.phase`, phases, phase),
          readCount(`${field}.at_ms`, atMs),
        ]),
      ),
      policy: readPolicy(readPresent("policy", message.policy)),
      ...(message.channel && { channel: readChannel("channel", message.channel) }),
      flows: readFlows(readPresent("flows", message.flows)),
      followed: { packets: message.followed?.packets ?? 0n, bytes: message.followed?.bytes ?? 0n },
      ...(message.switchMs !== undefined && { switchMs: readDecimal("switch_ms", message.switchMs) }),
      ...(message.longestSilenceMs !== undefined && {
        longestSilenceMs: readDecimal("longest_silence_ms", message.longestSilenceMs),
      }),
      waitingFor: readList("waiting_for", message.waitingFor, waitingForMax, ({ node, sinceMs, what }, field) => ({
        node: readText(`${field}.node`, node),
        sinceMs: readCount(`${field}.since_ms`, sinceMs),
        what: readText(`${field}.what`, what),
      })),
      ...(message.error && { error: readError("error", message.error) }),
      ...(message.offline && { offline: readOffline("offline", message.offline) }),
      ...(message.remarks.length > 0 && { remarks: readRemarks(message.remarks) }),
    };
  });
}

export function previewToProto(preview: RemapPreview): RemapPreviewMessage {
  return {
    address: preview.address,
    source: preview.source,
    target: preview.target,
    targetPrivate: preview.targetPrivate ?? "",
    policy: policyToProto(preview.policy),
    channel: preview.channel && channelToProto(preview.channel),
    flows: BigInt(preview.flows),
    medianAgeMs: preview.medianAgeMs === undefined ? undefined : BigInt(preview.medianAgeMs),
    oldestAgeMs: preview.oldestAgeMs === undefined ? undefined : BigInt(preview.oldestAgeMs),
    refusals: preview.refusals.map(errorToProto),
    mtu: preview.mtu && { ...preview.mtu },
    remarks: [...(preview.remarks ?? [])],
  };
}

export function previewFromProto(message: RemapPreviewMessage): Decoded<RemapPreview> {
  return decode(() => ({
    address: readAddress("address", message.address),
    source: readText("source", message.source),
    target: readText("target", message.target),
    ...(message.targetPrivate !== "" && { targetPrivate: readAddress("target_private", message.targetPrivate) }),
    policy: readPolicy(readPresent("policy", message.policy)),
    ...(message.channel && { channel: readChannel("channel", message.channel) }),
    flows: readCount("flows", message.flows),
    ...(message.medianAgeMs !== undefined && { medianAgeMs: readCount("median_age_ms", message.medianAgeMs) }),
    ...(message.oldestAgeMs !== undefined && { oldestAgeMs: readCount("oldest_age_ms", message.oldestAgeMs) }),
    refusals: readList("refusals", message.refusals, refusalsMax, (error, field) => readError(field, error)),
    ...(message.mtu && { mtu: readVerdict(message.mtu) }),
    ...(message.remarks.length > 0 && { remarks: readRemarks(message.remarks) }),
  }));
}

function enteredPhases(remap: Remap): [RemapPhase, number][] {
  const entries = remapPhases.flatMap((phase): [RemapPhase, number][] => {
    const atMs = remap.phaseAtMs[phase];
    return atMs === undefined ? [] : [[phase, atMs]];
  });
  return entries.sort(([, a], [, b]) => a - b);
}

function channelToProto(channel: RemapChannel): RemapChannelMessage {
  return { ...channel, kind: channelKinds[channel.kind] };
}

function errorToProto({ code, message }: BatonError): RemapErrorMessage {
  return { code: errorCodeNumbers[code], message };
}

function readPolicy(message: RemapPolicyMessage): RemapPolicy {
  return {
    ...readDeadline(message.deadlineMs),
    onDeadline: readEnum("policy.on_deadline", onDeadlines, message.onDeadline),
    lingerMs: readDuration("policy.linger_ms", message.lingerMs),
    unknown: readEnum("policy.unknown", unknownPolicies, message.unknown),
    returnPath: readEnum("policy.return_path", returnPaths, message.returnPath),
    channel: readEnum("policy.channel", channelChoices, message.channel),
    follow: message.follow,
    offlineSource: message.offlineSource,
  };
}

function readDeadline(deadlineMs: bigint | undefined): Pick<RemapPolicy, "deadlineMs"> {
  return deadlineMs === undefined ? {} : { deadlineMs: readDuration("policy.deadline_ms", deadlineMs) };
}

export function readDuration(field: string, ms: bigint): number {
  return readInteger(field, readCount(field, ms), 0, durationMsMax);
}

function readChannel(field: string, message: RemapChannelMessage): RemapChannel {
  return {
    kind: readEnum(`${field}.kind`, channelKinds, message.kind),
    mtu: readMtu(`${field}.mtu`, message.mtu),
    provenMtu: message.provenMtu === 0 ? 0 : readMtu(`${field}.proven_mtu`, message.provenMtu),
  };
}

function readError(field: string, { code, message }: RemapErrorMessage): BatonError {
  return { code: readEnum(`${field}.code`, errorCodeNumbers, code), message: readText(`${field}.message`, message) };
}

function readVerdict({ needed, carried, fits }: NonNullable<RemapPreviewMessage["mtu"]>): MtuVerdict {
  return {
    needed: readInteger("mtu.needed", needed, 0, packetBytesMax),
    carried: readInteger("mtu.carried", carried, 0, packetBytesMax),
    fits,
  };
}

function readOffline(field: string, { outcome, message }: NonNullable<RemapMessage["offline"]>): OfflineReport {
  return {
    outcome: readEnum(`${field}.outcome`, hookOutcomeNumbers, outcome),
    message: readText(`${field}.message`, message),
  };
}

function readRemarks(remarks: readonly string[]): readonly string[] {
  return readList("remarks", remarks, remarksMax, (text, field) => readText(field, text));
}

function readFlows(message: NonNullable<RemapMessage["flows"]>): RemapFlows {
  return {
    atSwitch: readCount("flows.at_switch", message.atSwitch),
    remaining: readCount("flows.remaining", message.remaining),
    closed: readCount("flows.closed", message.closed),
    superseded: readCount("flows.superseded", message.superseded),
    cut: readCount("flows.cut", message.cut),
    lost: readCount("flows.lost", message.lost),
    newAtTarget: readCount("flows.new_at_target", message.newAtTarget),
  };
}
