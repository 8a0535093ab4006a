/** The coordinator's own record of a remap, turned into what everybody else sees. */
import type { RemapRecord, RemapState } from "./record.ts";
import type { Remap, RemapOutcome } from "./remap.ts";

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
    ...(record.switchMs !== undefined && { switchMs: toMicroseconds(record.switchMs) }),
    ...(record.longestSilenceMs !== undefined && { longestSilenceMs: record.longestSilenceMs }),
    waitingFor: live.waits.map(({ node, what, sinceMs }) => ({ node, what, sinceMs })),
    ...(error !== undefined && { error }),
    ...(record.offline !== undefined && { offline: record.offline }),
    ...(record.remarks !== undefined && { remarks: record.remarks }),
  };
}

function outcomeOf({ phase }: RemapRecord): RemapOutcome | undefined {
  if (phase.kind === "completed") return phase.outcome;
  return phase.kind === "aborted" ? "aborted" : undefined;
}

/** Clocks give more digits than they know. */
function toMicroseconds(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
