/** Who gets a copy that has to go somewhere: the shard's order, bounded by parts, loads and zones. */
import { type Candidate, sharesZone, takesShards } from "./candidate.ts";
import type { Draft } from "./draft.ts";
import { meanOfOthers } from "./load-history.ts";
import { noShare } from "./share.ts";

type Count = "copies" | "primaries";

/** Compared from the first figure on; the lowest wins. */
type Score = readonly number[];

/**
 * The first of the shard's order that has room, is not over-loaded, and lies in another zone than the other copy. Where
 * nobody is all of that: room counts most, then the zone, then the load; where nobody has room, who is least beyond it.
 */
export function chooseTaker(draft: Draft, shard: number, other: string | undefined): Candidate | undefined {
  return choose(draft, shard, other, draft.takers());
}

/** A primary for a shard that has no copy left: whoever there is. */
export function chooseHeir(draft: Draft, shard: number): Candidate | undefined {
  const members = [...draft.members.values()];
  const tiers = [takesShards, isAlive, () => true];
  return tiers
    .map((tier) => choose(draft, shard, undefined, members.filter(tier), "primaries"))
    .find((found) => found !== undefined);
}

function isAlive({ state }: Candidate): boolean {
  return state === "alive";
}

function choose(
  draft: Draft,
  shard: number,
  other: string | undefined,
  candidates: readonly Candidate[],
  count: Count = "copies",
): Candidate | undefined {
  const free = candidates.filter(({ name }) => !draft.holds(name, shard));
  if (free.length <= 1) return free[0];
  const ranks = draft.ranks(shard);
  const otherMember = other === undefined ? undefined : draft.members.get(other);
  return least(free, (candidate) => {
    const { name } = candidate;
    const isFull = !hasRoom(draft, name, "copies") || !hasRoom(draft, name, count);
    const isNear = otherMember !== undefined && sharesZone(candidate, otherMember);
    const excess = isFull ? ratio(draft, name, "copies") : 0;
    return [Number(isFull), Number(isNear), Number(isOverloaded(draft, name)), excess, ranks.get(name) ?? 0];
  });
}

export function hasRoom(draft: Draft, name: string, count: Count): boolean {
  return draft[count](name) < (draft.shares[count].get(name) ?? noShare).most;
}

/** 1: it has exactly its part. */
export function ratio(draft: Draft, name: string, count: Count): number {
  const { fair } = draft.shares[count].get(name) ?? noShare;
  return fair === 0 ? Number.POSITIVE_INFINITY : draft[count](name) / fair;
}

export function isOverloaded({ situation }: Draft, name: string): boolean {
  return situation.loads.members.get(name)?.overloadedSinceMs !== undefined;
}

/** In eighths; who has told nothing yet is idle. */
export function levelAt({ situation }: Draft, name: string): number {
  return situation.loads.members.get(name)?.level ?? 0;
}

/** It may be given more without need: no busier than the others, and long since its last over-load that lasted. */
export function isIdle(draft: Draft, name: string): boolean {
  const { loads, nowMs, policy } = draft.situation;
  const last = loads.members.get(name)?.lastOverloadedMs;
  if (isOverloaded(draft, name)) return false;
  if (last !== undefined && nowMs - last < policy.calmMs) return false;
  const mean = meanLevelOfOthers(draft, name);
  return mean === undefined || levelAt(draft, name) <= mean + idleMargin;
}

const idleMargin = 0.5;

export function meanLevelOfOthers(draft: Draft, name: string): number | undefined {
  const alive = [...draft.members.values()].filter(isAlive);
  return meanOfOthers(new Map(alive.map((member) => [member.name, levelAt(draft, member.name)])), name);
}

/** The first of those with the lowest score. */
export function least<T>(items: readonly T[], scoreOf: (item: T) => Score): T | undefined {
  let best: { readonly item: T; readonly score: Score } | undefined;
  for (const item of items) {
    const score = scoreOf(item);
    if (best === undefined || isLower(score, best.score)) best = { item, score };
  }
  return best?.item;
}

function isLower(score: Score, other: Score): boolean {
  for (const [index, figure] of score.entries()) {
    const against = other[index] ?? 0;
    if (figure !== against) return figure < against;
  }
  return false;
}
