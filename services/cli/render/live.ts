/**
 * The live view of a remap: a pure reducer over what was watched, and a frame of it at a moment. Times of the remap are
 * the coordinator's; where its clock is ahead, elapsed times stand at zero rather than below.
 */
import { type Remap, remapPhases } from "../../../src/remap/remap.ts";
import { formatDuration } from "../duration.ts";
import { hasEnded, labelled, phaseDurations, phasePiece, remapFigures, remapHindrances, remapTitle } from "./remap.ts";
import { type Line, paint, type Span } from "./text.ts";
import { formatCount } from "./units.ts";

interface Sample {
  readonly atMs: number;
  readonly bytes: bigint;
}

export interface LiveView {
  readonly remap: Remap;
  /** Of followed bytes; oldest first, all within {@link rateWindowMs} of the newest. */
  readonly samples: readonly Sample[];
}

/** Throughput is taken over this long. */
const rateWindowMs = 5_000;
const samplesMax = 100;
const barWidth = 30;
const spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const spinnerStepMs = 100;
const usualPhases = remapPhases.filter((phase) => !phase.startsWith("abort"));

export function advanceView(view: LiveView | undefined, remap: Remap, nowMs: number): LiveView {
  const sample = { atMs: nowMs, bytes: remap.followed.bytes };
  const kept = (view?.samples ?? []).filter(({ atMs }) => nowMs - atMs <= rateWindowMs);
  return { remap, samples: [...kept, sample].slice(-samplesMax) };
}

export function liveFrame(view: LiveView, nowMs: number): Line[] {
  const { remap } = view;
  return [
    remapTitle(remap),
    phaseLine(remap, nowMs),
    ...progressLine(remap),
    ...remapFigures(remap, bytesPerSecond(view, nowMs)),
    ...deadlineLine(remap, nowMs),
    ...remapHindrances(remap, nowMs),
  ];
}

/** One line for logs, where nothing can be drawn over. */
export function phaseChangeLine(remap: Remap): Line {
  const { flows } = remap;
  const open = flows.atSwitch > 0 ? `, ${formatCount(flows.remaining)} of ${formatCount(flows.atSwitch)} open` : "";
  const cause = remap.error === undefined ? "" : `: ${remap.error.message}`;
  return [`${remap.address} ${remap.source} → ${remap.target}: `, phasePiece(remap), open, cause];
}

function phaseLine(remap: Remap, nowMs: number): Line {
  const durations = phaseDurations(remap, nowMs);
  const done: Span[] = durations.flatMap(({ phase, ms }) => {
    if (phase !== remap.phase) return [paint("✓ ", "green"), `${phase} ${formatDuration(ms)}  `];
    if (hasEnded(remap)) return [phase === "completed" ? paint("✓ ", "green") : paint("✗ ", "red"), phasePiece(remap)];
    return [paint(`${spinnerAt(nowMs)} `, "yellow"), phasePiece(remap), ` ${formatDuration(ms)}  `];
  });
  if (hasEnded(remap) || remap.phase === "aborting") return done;
  const ahead = usualPhases.slice(usualPhases.indexOf(remap.phase) + 1);
  return [...done, paint(ahead.map((phase) => `· ${phase}`).join("  "), "dim")];
}

function spinnerAt(nowMs: number): string {
  return spinner[Math.floor(nowMs / spinnerStepMs) % spinner.length] ?? "";
}

function progressLine({ phase, flows }: Remap): Line[] {
  if (flows.atSwitch === 0 || (phase !== "draining" && phase !== "finalizing")) return [];
  const ended = Math.min(1, Math.max(0, 1 - flows.remaining / flows.atSwitch));
  const filled = Math.floor(ended * barWidth);
  const bar: Span[] = [paint("█".repeat(filled), "green"), paint("░".repeat(barWidth - filled), "dim")];
  return [labelled("drained", [...bar, ` ${Math.floor(ended * 100)}%, ${formatCount(flows.remaining)} still open`])];
}

function bytesPerSecond({ remap, samples }: LiveView, nowMs: number): number | undefined {
  const [oldest] = samples;
  if (hasEnded(remap) || oldest === undefined || nowMs <= oldest.atMs) return undefined;
  return (Number(remap.followed.bytes - oldest.bytes) * 1_000) / (nowMs - oldest.atMs);
}

function deadlineLine(remap: Remap, nowMs: number): Line[] {
  const { deadlineMs, onDeadline } = remap.policy;
  const startedMs = remap.phaseAtMs.draining;
  if (deadlineMs === undefined || startedMs === undefined || remap.phase !== "draining") return [];
  const leftMs = startedMs + deadlineMs - nowMs;
  if (leftMs > 0) return [labelled("deadline", `in ${formatDuration(leftMs)}, then ${onDeadline}`)];
  return [labelled("deadline", paint(`passed ${formatDuration(-leftMs)} ago (${onDeadline})`, "yellow"))];
}
