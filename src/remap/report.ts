/**
 * A remap as JSON: one shape for the CLI and for NATS, where it is one message of `baton.remaps.<id>` for each change.
 *
 * Times are RFC 3339, durations milliseconds, zeros written. A field is left out only where nothing was measured or
 * nothing is so.
 */
import { type Remap, type RemapPolicy, remapPhases } from "./remap.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export function remapToJson(remap: Remap): { readonly [key: string]: Json } {
  const { channel, error } = remap;
  return {
    id: remap.id,
    address: remap.address,
    source: remap.source,
    sourcePrivate: remap.sourcePrivate,
    target: remap.target,
    targetPrivate: remap.targetPrivate,
    generation: Number(remap.generation),
    phase: remap.phase,
    ...(remap.outcome !== undefined && { outcome: remap.outcome }),
    requestedBy: remap.requestedBy,
    phaseAt: phaseTimes(remap),
    policy: policyToJson(remap.policy),
    ...(channel && { channel: { kind: channel.kind, mtu: channel.mtu, provenMtu: channel.provenMtu } }),
    flows: {
      atSwitch: remap.flows.atSwitch,
      remaining: remap.flows.remaining,
      closed: remap.flows.closed,
      superseded: remap.flows.superseded,
      cut: remap.flows.cut,
      lost: remap.flows.lost,
      newAtTarget: remap.flows.newAtTarget,
    },
    followed: { packets: Number(remap.followed.packets), bytes: Number(remap.followed.bytes) },
    ...(remap.switchMs !== undefined && { switchMs: remap.switchMs }),
    ...(remap.longestSilenceMs !== undefined && { longestSilenceMs: remap.longestSilenceMs }),
    waitingFor: remap.waitingFor.map(({ node, sinceMs, what }) => ({ node, since: timeText(sinceMs), what })),
    ...(error && { error: { code: error.code, message: error.message } }),
    ...(remap.offline && { offline: { outcome: remap.offline.outcome, message: remap.offline.message } }),
    ...(remap.remarks !== undefined && remap.remarks.length > 0 && { remarks: remap.remarks }),
  };
}

/** One line, without its end. */
export function remapToText(remap: Remap): string {
  return JSON.stringify(remapToJson(remap));
}

export function policyToJson(policy: RemapPolicy): { readonly [key: string]: Json } {
  return {
    ...(policy.deadlineMs !== undefined && { deadline: policy.deadlineMs }),
    onDeadline: policy.onDeadline,
    linger: policy.lingerMs,
    unknown: policy.unknown,
    return: policy.returnPath,
    channel: policy.channel,
    follow: policy.follow,
    offlineSource: policy.offlineSource,
  };
}

/** RFC 3339, UTC, milliseconds. */
export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function phaseTimes(remap: Remap): { readonly [phase: string]: Json } {
  const entered = remapPhases.flatMap((phase): [string, number][] => {
    const atMs = remap.phaseAtMs[phase];
    return atMs === undefined ? [] : [[phase, atMs]];
  });
  entered.sort(([, a], [, b]) => a - b);
  return Object.fromEntries(entered.map(([phase, atMs]) => [phase, timeText(atMs)]));
}
