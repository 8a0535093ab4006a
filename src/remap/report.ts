/**
 * A remap as others see it: the domain's {@link Remap}, and its JSON, one shape for the CLI and for NATS.
 *
 * The JSON's names, their order and what is left out are a contract (page 5 of the design); tests compare it byte for byte.
 */
import type { RemapRecord, RemapState } from "./record.ts";
import { type Remap, type RemapOutcome, type RemapPolicy, remapPhases } from "./remap.ts";

export function remapOf(state: RemapState): Remap {
  const { record, live } = state;
  const own = record.owners.find(({ owner }) => owner === record.source);
  const outcome = outcomeOf(record);
  const error = record.phase.kind === "aborting" || record.phase.kind === "aborted" ? record.phase.why : live.trouble;
  return {
    id: record.id,
    address: record.address,
    source: record.source,
    sourcePrivate: record.sourcePrivate,
    target: record.target,
    targetPrivate: record.targetPrivate,
    generation: record.generation,
    phase: record.phase.kind,
    ...(outcome !== undefined && { outcome }),
    requestedBy: record.requestedBy,
    phaseAtMs: record.phaseAtMs,
    policy: record.policy,
    ...(own !== undefined && { channel: { kind: own.kind, mtu: own.mtu, provenMtu: record.provenMtu } }),
    flows: live.flows,
    followed: {
      packets: live.traffic.reduce((sum, link) => sum + link.packets, 0n),
      bytes: live.traffic.reduce((sum, link) => sum + link.bytes, 0n),
    },
    ...(record.switchMs !== undefined && { switchMs: record.switchMs }),
    waitingFor: live.waits.map(({ node, what, sinceMs }) => ({ node, what, sinceMs })),
    ...(error !== undefined && { error }),
  };
}

function outcomeOf({ phase }: RemapRecord): RemapOutcome | undefined {
  if (phase.kind === "completed") return phase.outcome;
  return phase.kind === "aborted" ? "aborted" : undefined;
}

/** One line, no line end. */
export function remapJson(remap: Remap): string {
  const { channel, error, outcome, switchMs, longestSilenceMs } = remap;
  return encode({
    id: remap.id,
    address: remap.address,
    source: remap.source,
    sourcePrivate: remap.sourcePrivate,
    target: remap.target,
    targetPrivate: remap.targetPrivate,
    generation: remap.generation,
    phase: remap.phase,
    outcome,
    requestedBy: remap.requestedBy,
    phaseAt: phaseTimes(remap),
    policy: policyFields(remap.policy),
    channel: channel && { kind: channel.kind, mtu: channel.mtu, provenMtu: channel.provenMtu },
    flows: {
      atSwitch: remap.flows.atSwitch,
      remaining: remap.flows.remaining,
      closed: remap.flows.closed,
      superseded: remap.flows.superseded,
      cut: remap.flows.cut,
      lost: remap.flows.lost,
      newAtTarget: remap.flows.newAtTarget,
    },
    followed: { packets: remap.followed.packets, bytes: remap.followed.bytes },
    switchMs: switchMs === undefined ? undefined : toMicroseconds(switchMs),
    longestSilenceMs: longestSilenceMs === undefined ? undefined : toMicroseconds(longestSilenceMs),
    waitingFor: remap.waitingFor.map(({ node, sinceMs, what }) => ({ node, since: time(sinceMs), what })),
    error: error && { code: error.code, message: error.message },
  });
}

type Json = string | number | bigint | boolean | undefined | readonly Json[] | { readonly [key: string]: Json };

function phaseTimes(remap: Remap): Json {
  const entered = remapPhases
    .flatMap((phase) => (remap.phaseAtMs[phase] === undefined ? [] : [{ phase, atMs: remap.phaseAtMs[phase] }]))
    .sort((a, b) => a.atMs - b.atMs);
  return Object.fromEntries(entered.map(({ phase, atMs }) => [phase, time(atMs)]));
}

function policyFields(policy: RemapPolicy): Json {
  return {
    deadline: policy.deadlineMs,
    onDeadline: policy.onDeadline,
    linger: policy.lingerMs,
    unknown: policy.unknown,
    return: policy.returnPath,
    channel: policy.channel,
    follow: policy.follow,
    offlineSource: policy.offlineSource,
  };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

/** Clocks give more digits than they know. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** JSON.stringify, but a bigint is a number, and undefined members are left out. */
function encode(value: Json): string {
  if (value === undefined) throw new TypeError("undefined has no JSON");
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(encode).join(",")}]`;
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${encode(member)}`).join(",")}}`;
}

function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}
