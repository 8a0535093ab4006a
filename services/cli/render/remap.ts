/** A remap for people: in a list, whole, and as a preview. Pure; the live view is in live.ts. */
import type { BatonError } from "../../../src/remap/error.ts";
import {
  type MtuVerdict,
  type Remap,
  type RemapPhase,
  type RemapPolicy,
  remapPhases,
} from "../../../src/remap/remap.ts";
import { type Json, policyToJson } from "../../../src/remap/report.ts";
import type { RemapPreview } from "../../../src/rpc/remap-codec.ts";
import { formatDuration } from "../duration.ts";
import { table } from "./table.ts";
import { type Line, type Paint, type Piece, paint, type Span } from "./text.ts";
import { counted, formatBytes, formatCount } from "./units.ts";

const labelWidth = 13;
/** Nodes that are named one by one; a live view must fit a terminal. */
const waitingShownMax = 5;

const phasePaint: Record<RemapPhase, Paint> = {
  preparing: "cyan",
  arming: "cyan",
  switching: "yellow",
  draining: "yellow",
  finalizing: "cyan",
  completed: "green",
  aborting: "red",
  aborted: "red",
};

export function hasEnded(remap: Remap): boolean {
  return remap.phase === "completed" || remap.phase === "aborted";
}

export function phasePiece(remap: Remap): Piece {
  const { phase, outcome } = remap;
  const text = outcome === undefined || outcome === phase ? phase : `${phase} (${outcome})`;
  const lost = outcome === "source-lost" || outcome === "target-lost";
  return paint(text, lost ? "red" : phasePaint[phase]);
}

/** Phases in the order in which they were entered, each with how long it took; the last one runs until `nowMs`. */
export function phaseDurations(remap: Remap, nowMs: number): { phase: RemapPhase; ms: number }[] {
  const entered = remapPhases.flatMap((phase) => {
    const atMs = remap.phaseAtMs[phase];
    return atMs === undefined ? [] : [{ phase, atMs }];
  });
  entered.sort((a, b) => a.atMs - b.atMs);
  return entered.map(({ phase, atMs }, index) => ({
    phase,
    ms: Math.max(0, (entered[index + 1]?.atMs ?? nowMs) - atMs),
  }));
}

export function remapTable(remaps: readonly Remap[], nowMs: number): Line[] {
  if (remaps.length === 0) return [["No remap yet. Start one: baton remap ADDRESS --to INSTANCE"]];
  const rows = remaps.map((remap) => [
    remap.id,
    remap.address,
    `${remap.source} → ${remap.target}`,
    phasePiece(remap),
    `${formatCount(remap.flows.remaining)}/${formatCount(remap.flows.atSwitch)}`,
    startedText(remap, nowMs),
  ]);
  return table(["ID", "ADDRESS", "MOVE", "PHASE", "OPEN", "STARTED"], rows, ["OPEN"]);
}

function startedText(remap: Remap, nowMs: number): string {
  const atMs = remap.phaseAtMs.preparing;
  return atMs === undefined ? "" : `${formatDuration(Math.max(0, nowMs - atMs))} ago`;
}

/** Everything that is known of one remap. */
export function remapDetails(remap: Remap, nowMs: number): Line[] {
  const times = phaseDurations(remap, nowMs)
    .filter(({ phase }) => phase !== "completed" && phase !== "aborted")
    .map(({ phase, ms }) => `${phase} ${formatDuration(ms)}`);
  return [
    remapTitle(remap),
    labelled("private", `${remap.sourcePrivate} → ${remap.targetPrivate}`),
    labelled("phase", phasePiece(remap)),
    labelled("times", times.join(", ")),
    labelled("asked by", remap.requestedBy),
    labelled("policy", policyText(remap.policy)),
    ...remapFigures(remap),
    ...offlineLine(remap),
    ...remarkLines(remap.remarks),
    ...remapHindrances(remap, nowMs),
  ];
}

function offlineLine({ source, offline }: Remap): Line[] {
  if (offline === undefined) return [];
  const outcome = paint(offline.outcome, offline.outcome === "done" ? "green" : "red");
  return [labelled("offline", [`${source}: `, outcome, `, ${offline.message}`])];
}

function remarkLines(remarks: readonly string[] | undefined): Line[] {
  return (remarks ?? []).map((remark) => labelled("note", paint(remark, "yellow")));
}

export function remapTitle(remap: Remap): Line {
  return [
    paint(remap.address, "bold"),
    `  ${remap.source} → ${remap.target}  `,
    paint(`remap ${remap.id}, generation ${remap.generation}`, "dim"),
  ];
}

/** What was counted and measured; what was not is left out. */
export function remapFigures(remap: Remap, bytesPerSecond?: number): Line[] {
  const { flows, followed, channel } = remap;
  const lines: Line[] = [];
  if (flows.atSwitch > 0 || remap.phase === "completed") lines.push(labelled("connections", flowsText(remap)));
  if (followed.packets > 0n) {
    const rate = bytesPerSecond === undefined ? "" : `, ${formatBytes(Math.round(bytesPerSecond))}/s`;
    lines.push(labelled("followed", `${formatBytes(followed.bytes)} in ${counted(followed.packets, "packet")}${rate}`));
  }
  if (flows.newAtTarget > 0) lines.push(labelled(`new at ${remap.target}`, counted(flows.newAtTarget, "connection")));
  const measured = [
    ...(remap.switchMs === undefined ? [] : [`switch ${formatDuration(remap.switchMs)}`]),
    ...(remap.longestSilenceMs === undefined ? [] : [`longest silence ${formatDuration(remap.longestSilenceMs)}`]),
  ];
  if (measured.length > 0) lines.push(labelled("measured", measured.join(", ")));
  if (channel !== undefined) {
    const proof = channel.provenMtu > 0 ? `proven with ${channel.provenMtu}` : "not proven yet";
    lines.push(labelled("channel", `${channel.kind}, packets of ${channel.mtu} bytes, ${proof}`));
  }
  return lines;
}

function flowsText({ flows }: Remap): string {
  const parts: [number, string][] = [
    [flows.remaining, "still open"],
    [flows.closed, "closed by themselves"],
    [flows.superseded, "superseded"],
    [flows.cut, "cut"],
    [flows.lost, "lost"],
  ];
  const shown = parts.filter(([count]) => count > 0).map(([count, what]) => `${formatCount(count)} ${what}`);
  return [`${formatCount(flows.atSwitch)} at the switch`, ...shown].join(", ");
}

/** What keeps it from going on, or ended it. */
export function remapHindrances(remap: Remap, nowMs: number): Line[] {
  const shown = remap.waitingFor.slice(0, waitingShownMax);
  const waiting = shown.map(({ node, sinceMs, what }) =>
    labelled("waiting for", [paint(node, "yellow"), `, ${formatDuration(Math.max(0, nowMs - sinceMs))}: ${what}`]),
  );
  const hidden = remap.waitingFor.length - shown.length;
  if (hidden > 0) waiting.push(labelled("", `and ${formatCount(hidden)} more`));
  if (remap.error === undefined) return waiting;
  return [...waiting, labelled("because", [paint(remap.error.code, "red"), `: ${remap.error.message}`])];
}

export function policyText(policy: RemapPolicy): string {
  const deadline =
    policy.deadlineMs === undefined
      ? "no deadline"
      : `deadline ${formatDuration(policy.deadlineMs)}, then ${policy.onDeadline}`;
  return [
    deadline,
    `linger ${formatDuration(policy.lingerMs)}`,
    `unknown ${policy.unknown}`,
    `return ${policy.returnPath}`,
    `channel ${policy.channel}`,
    ...(policy.follow ? [] : ["no follow"]),
    ...(policy.offlineSource ? ["source goes offline"] : []),
  ].join(", ");
}

export function labelled(label: string, content: Span | readonly Span[]): Line {
  const spans = typeof content === "string" || "text" in content ? [content] : content;
  return [paint(`${label.padEnd(labelWidth)} `, "dim"), ...spans];
}

export function previewJson(preview: RemapPreview): Json {
  const { channel } = preview;
  return {
    address: preview.address,
    source: preview.source,
    target: preview.target,
    ...(preview.targetPrivate !== undefined && { targetPrivate: preview.targetPrivate }),
    policy: policyToJson(preview.policy),
    ...(channel && { channel: { kind: channel.kind, mtu: channel.mtu, provenMtu: channel.provenMtu } }),
    flows: preview.flows,
    ...(preview.medianAgeMs !== undefined && { medianAgeMs: preview.medianAgeMs }),
    ...(preview.oldestAgeMs !== undefined && { oldestAgeMs: preview.oldestAgeMs }),
    ...(preview.mtu && { mtu: { needed: preview.mtu.needed, carried: preview.mtu.carried, fits: preview.mtu.fits } }),
    refusals: preview.refusals.map(errorJson),
    ...(preview.remarks !== undefined && { remarks: preview.remarks }),
  };
}

export function previewDetails(preview: RemapPreview): Line[] {
  const ages = [
    ...(preview.medianAgeMs === undefined ? [] : [`half of them older than ${formatDuration(preview.medianAgeMs)}`]),
    ...(preview.oldestAgeMs === undefined ? [] : [`the oldest ${formatDuration(preview.oldestAgeMs)}`]),
  ];
  const { channel, mtu } = preview;
  return [
    [paint(preview.address, "bold"), `  ${preview.source} → ${preview.target}`],
    ...(preview.targetPrivate === undefined ? [] : [labelled("private", preview.targetPrivate)]),
    labelled("connections", [`${formatCount(preview.flows)} open now`, ...ages].join(", ")),
    ...(channel === undefined ? [] : [labelled("channel", `${channel.kind}, packets of ${channel.mtu} bytes`)]),
    ...(mtu === undefined ? [] : [labelled("packet size", mtuText(mtu))]),
    labelled("policy", policyText(preview.policy)),
    ...remarkLines(preview.remarks),
    ...preview.refusals.map(({ code, message }) => labelled("refused", [paint(code, "red"), `: ${message}`])),
    ...(preview.refusals.length === 0 ? [labelled("verdict", paint("it would start", "green"))] : []),
  ];
}

function mtuText({ needed, carried, fits }: MtuVerdict): Span {
  const text = `connections send up to ${needed} bytes, the channel carries ${carried}`;
  return fits ? `${text}: they fit` : paint(`${text}: they don't fit`, "red");
}

function errorJson({ code, message }: BatonError): Json {
  return { code, message };
}
