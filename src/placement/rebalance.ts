/**
 * What may change while nothing has to: parts, loads, zones. One rule at a time, the first that finds something to do.
 *
 * Each rule moves only towards where no other would move it back: parts have room between their bounds, a member that is
 * given shards is below its part and idle, one that is relieved is far above the others.
 */
import { sharesZone } from "./candidate.ts";
import { hasRoom, isIdle, isOverloaded, least, ratio } from "./choice.ts";
import type { Draft } from "./draft.ts";
import { shardToMove } from "./movable.ts";
import type { MoveReason } from "./move.ts";
import { evenPrimaries } from "./primaries.ts";
import { relieve } from "./relief.ts";
import { noShare } from "./share.ts";

export function rebalance(draft: Draft): void {
  for (const rule of [giveExcess, fill, separateZones, relieve, evenPrimaries]) {
    rule(draft);
    if (draft.moves.length > 0) return;
  }
}

function giveExcess(draft: Draft): void {
  const from = byRatio(draft, [...draft.members.keys()]).reverse();
  for (const giver of from.filter((name) => draft.members.get(name)?.hosting !== "draining")) {
    while (draft.handoffsLeft > 0) {
      const { most } = draft.shares.copies.get(giver) ?? noShare;
      const copies = draft.copies(giver);
      if (copies <= most) break;
      const takers = byRatio(draft, takersBelow(draft, 1)).filter((name) => !isOverloaded(draft, name));
      if (!moveOne(draft, [giver], takers, () => ({ kind: "over-bound", copies, most }))) break;
    }
  }
}

function fill(draft: Draft): void {
  while (draft.handoffsLeft > 0) {
    const takers = byRatio(draft, takersBelow(draft, 1)).filter(
      (name) => draft.copies(name) < leastOf(draft, name) && isIdle(draft, name),
    );
    const givers = byRatio(draft, [...draft.members.keys()])
      .reverse()
      .filter((name) => ratio(draft, name, "copies") > 1);
    const reasonFor = (to: string): MoveReason => {
      return { kind: "filling", copies: draft.copies(to), least: leastOf(draft, to) };
    };
    if (!moveOne(draft, givers, takers, reasonFor, true)) return;
  }
}

function separateZones(draft: Draft): void {
  for (let shard = 0; shard < draft.shards && draft.handoffsLeft > 0; shard++) {
    if (!draft.isSettled(shard)) continue;
    const primary = draft.members.get(draft.primaryOf(shard) ?? "");
    const standby = draft.members.get(draft.standbyOf(shard) ?? "");
    if (primary?.zone === undefined || standby === undefined || !sharesZone(primary, standby)) continue;
    const apart = draft.takers().filter((taker) => !sharesZone(taker, primary) && hasRoom(draft, taker.name, "copies"));
    const idle = apart.filter(({ name }) => !isOverloaded(draft, name));
    const ranks = draft.ranks(shard);
    const to = least(idle, ({ name }) => [ranks.get(name) ?? 0]);
    if (to !== undefined) draft.setStandby(shard, to.name, { kind: "zone-shared", zone: primary.zone });
  }
}

/** One copy of the first giver that can give to the first taker that can take. */
function moveOne(
  draft: Draft,
  givers: readonly string[],
  takers: readonly string[],
  reasonFor: (to: string) => MoveReason,
  keepsZones = false,
): boolean {
  for (const to of takers)
    for (const from of givers) {
      const shard = shardToMove(draft, from, to, { keepsZones, restMs: 0 });
      if (shard === undefined) continue;
      draft.moveCopy(shard, from, to, reasonFor(to));
      return true;
    }
  return false;
}

function takersBelow(draft: Draft, part: number): string[] {
  return draft
    .takers()
    .map(({ name }) => name)
    .filter((name) => ratio(draft, name, "copies") < part);
}

/** The emptiest first. */
function byRatio(draft: Draft, names: readonly string[]): string[] {
  return names.toSorted((a, b) => ratio(draft, a, "copies") - ratio(draft, b, "copies"));
}

function leastOf(draft: Draft, name: string): number {
  return (draft.shares.copies.get(name) ?? noShare).least;
}
