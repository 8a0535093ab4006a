/**
 * How loaded each member has been for how long. Pure: folded from what gossip told at one moment after another.
 *
 * Gossip knows eight levels. A level stands for its middle, and is smoothed, so that a member on the border of two is
 * neither. Over-loaded is who has at least twice the mean of the others and a level and a half more, or half of the whole
 * scale more: loads that stray from a common mean by a fifth never come so far, wherever that mean lies.
 */
import type { Candidate } from "./candidate.ts";
import { defaultPolicy } from "./policy.ts";

export interface MemberLoad {
  /** Smoothed, in levels: 0.5 to 7.5. */
  readonly level: number;
  /** Absent: it is not over-loaded. */
  readonly overloadedSinceMs?: number;
  /** When it was last so for longer than a start or a burst takes. Absent: never since it is known. */
  readonly lastOverloadedMs?: number;
}

export interface LoadHistory {
  readonly atMs: number;
  readonly members: ReadonlyMap<string, MemberLoad>;
}

const levels = 8;
const halfLevel = 0.5;
const smoothingMs = 30_000;
const ratioMin = 2;
const gapMin = 1.5;
const gapAlone = levels / 2;

export const noLoads: LoadHistory = { atMs: 0, members: new Map() };

export function levelOf(load: number): number {
  const level = Number.isFinite(load) ? Math.floor(load * levels) : 0;
  return Math.min(levels - 1, Math.max(0, level)) + halfLevel;
}

/** Who is not alive says nothing of its load, and keeps what was known. `lastingMs`: shorter over-loads are forgotten. */
export function foldLoads(
  history: LoadHistory,
  candidates: readonly Candidate[],
  atMs: number,
  lastingMs = defaultPolicy.overloadedMs,
): LoadHistory {
  const weight = Math.exp(-Math.max(0, atMs - history.atMs) / smoothingMs);
  const alive = candidates.filter(({ state }) => state === "alive");
  const smoothed = new Map(
    alive.map(({ name, load }) => {
      const told = levelOf(load);
      const before = history.members.get(name)?.level ?? told;
      return [name, told + (before - told) * weight];
    }),
  );
  const members = new Map<string, MemberLoad>();
  for (const { name, state } of candidates) {
    const before = history.members.get(name);
    const level = smoothed.get(name) ?? before?.level;
    if (level === undefined) continue;
    const isOverloaded = state === "alive" && exceeds(level, meanOfOthers(smoothed, name));
    const overloadedSinceMs = isOverloaded ? (before?.overloadedSinceMs ?? atMs) : undefined;
    const hasLasted = overloadedSinceMs !== undefined && atMs - overloadedSinceMs >= lastingMs;
    const lastOverloadedMs = hasLasted ? atMs : before?.lastOverloadedMs;
    members.set(name, {
      level,
      ...(overloadedSinceMs !== undefined && { overloadedSinceMs }),
      ...(lastOverloadedMs !== undefined && { lastOverloadedMs }),
    });
  }
  return { atMs, members };
}

/** In levels. Undefined: there are no others. */
export function meanOfOthers(levelsByName: ReadonlyMap<string, number>, name: string): number | undefined {
  const others = [...levelsByName].filter(([other]) => other !== name);
  return others.length === 0 ? undefined : others.reduce((sum, [, level]) => sum + level, 0) / others.length;
}

function exceeds(level: number, mean: number | undefined): boolean {
  if (mean === undefined) return false;
  const gap = level - mean;
  return gap >= gapAlone || (gap >= gapMin && level >= ratioMin * mean);
}
