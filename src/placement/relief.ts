/** Members that have been over-loaded for a while give shards to idler ones, or at least what primaries do for clients. */
import { hasRoom, isIdle, levelAt, meanLevelOfOthers } from "./choice.ts";
import type { Draft } from "./draft.ts";
import { shardToMove } from "./movable.ts";
import type { MoveReason } from "./move.ts";
import { noShare } from "./share.ts";

/** In eighths: who gets a copy must lie this far below who gives it. */
const gapMin = 1.5;

/** To about an hour. */
const doublingsMax = 6;

/**
 * Of a member's part: it keeps as much. Which shard is the cause is not known: given away, it would over-load the next
 * member, and so on; where it stays, its holder comes to rest with few others beside it.
 */
const keptPart = 0.5;

export function relieve(draft: Draft): void {
  const { nowMs, epochAtMs, policy, loads, reliefs } = draft.situation;
  const intervalMs = policy.reliefIntervalMs * 2 ** Math.min(reliefs, doublingsMax);
  if (epochAtMs !== undefined && nowMs - epochAtMs < intervalMs) return;
  for (const name of draft.members.keys()) {
    const since = loads.members.get(name)?.overloadedSinceMs;
    if (since === undefined || nowMs - since < policy.overloadedMs) continue;
    const mean = meanLevelOfOthers(draft, name) ?? 0;
    const reason: MoveReason = { kind: "over-loaded", level: levelAt(draft, name), mean };
    if (!giveCopies(draft, name, mean, reason)) givePrimaries(draft, name, reason);
  }
}

/**
 * Half of what would make the loads equal, if this one came from its copies alone and evenly: then a wrong guess is no
 * swing to the other side.
 */
function giveCopies(draft: Draft, from: string, mean: number, reason: MoveReason): boolean {
  const copies = draft.copies(from);
  const level = levelAt(draft, from);
  const wanted = Math.max(1, Math.round((copies * (1 - mean / level)) / 2));
  const perCopy = level / Math.max(1, copies);
  const added = new Map<string, number>();
  let given = 0;
  while (given < Math.min(wanted, copies - keptBy(draft, from, "copies")) && draft.handoffsLeft > 0) {
    const levelOf = (name: string): number => levelAt(draft, name) + (added.get(name) ?? 0);
    const takers = draft
      .takers()
      .map(({ name }) => name)
      .filter((name) => name !== from && isIdle(draft, name))
      .filter((name) => levelOf(name) + perCopy <= level - perCopy && levelOf(name) <= level - gapMin)
      .toSorted((a, b) => levelOf(a) - levelOf(b));
    if (!takers.some((to) => giveOne(draft, from, to, perCopy, added, reason))) break;
    given++;
  }
  return given > 0;
}

function giveOne(
  draft: Draft,
  from: string,
  to: string,
  perCopy: number,
  added: Map<string, number>,
  reason: MoveReason,
): boolean {
  const shard = shardToMove(draft, from, to, { keepsZones: true, restMs: draft.situation.policy.restMs });
  if (shard === undefined) return false;
  draft.moveCopy(shard, from, to, reason);
  added.set(to, (added.get(to) ?? 0) + perCopy);
  return true;
}

function givePrimaries(draft: Draft, from: string, reason: MoveReason): void {
  const { policy } = draft.situation;
  const takers = new Set(draft.takers().map(({ name }) => name));
  let swaps = 0;
  const spare = draft.primaries(from) - keptBy(draft, from, "primaries");
  for (let shard = 0; shard < draft.shards && swaps < Math.min(spare, policy.swapsMax); shard++) {
    const standby = draft.standbyOf(shard);
    if (draft.primaryOf(shard) !== from || standby === undefined || !takers.has(standby)) continue;
    if (!draft.isSettled(shard) || draft.isPinnedTo(from, shard) || draft.restedMs(shard) < policy.restMs) continue;
    if (!isIdle(draft, standby) || !hasRoom(draft, standby, "primaries")) continue;
    draft.swap(shard, reason);
    swaps++;
  }
}

function keptBy(draft: Draft, name: string, count: "copies" | "primaries"): number {
  return Math.max(1, Math.floor((draft.shares[count].get(name) ?? noShare).fair * keptPart));
}
