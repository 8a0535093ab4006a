/** Which of a member's copies goes to another member, when one has to. */
import { sharesZone } from "./candidate.ts";
import { hasRoom, least, ratio } from "./choice.ts";
import type { Draft } from "./draft.ts";

export interface ShardWish {
  /** No shard whose copies would come to lie in one zone. */
  readonly keepsZones: boolean;
  /** For how long it must have stayed where it is. */
  readonly restMs: number;
}

/** The shard of `from` that `to` should have first, by its order; undefined: none may move. */
export function shardToMove(draft: Draft, from: string, to: string, wish: ShardWish): number | undefined {
  const taker = draft.members.get(to);
  if (taker === undefined || from === to || !hasRoom(draft, to, "copies")) return undefined;
  const movable: { readonly shard: number; readonly mixes: boolean; readonly swaps: number; readonly rank: number }[] =
    [];
  for (let shard = 0; shard < draft.shards; shard++) {
    if (!draft.holds(from, shard) || draft.holds(to, shard) || !draft.isSettled(shard)) continue;
    if (draft.restedMs(shard) < wish.restMs) continue;
    const isPrimary = draft.primaryOf(shard) === from;
    const other = draft.members.get((isPrimary ? draft.standbyOf(shard) : draft.primaryOf(shard)) ?? "");
    if (other === undefined || (isPrimary && (draft.isPinnedTo(from, shard) || other.hosting === "draining"))) continue;
    const giver = draft.members.get(from);
    const mixes = sharesZone(taker, other) && giver !== undefined && !sharesZone(giver, other);
    if (mixes && wish.keepsZones) continue;
    movable.push({
      shard,
      mixes,
      swaps: swapCost(draft, from, other.name, isPrimary),
      rank: draft.ranks(shard).get(to) ?? 0,
    });
  }
  return least(movable, ({ mixes, swaps, rank }) => [Number(mixes), swaps, rank])?.shard;
}

/** What moving it does to the primaries' evenness: 0 mends, 1 changes nothing, 2 harms. */
function swapCost(draft: Draft, from: string, heir: string, isPrimary: boolean): number {
  if (!isPrimary) return 1;
  if (!hasRoom(draft, heir, "primaries")) return 2;
  return ratio(draft, from, "primaries") > 1 ? 0 : 2;
}
