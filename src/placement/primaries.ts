/** Primaries answer most look-ups: where one member has too many of them, it changes places with standbys. */
import { hasRoom, isIdle, least, ratio } from "./choice.ts";
import type { Draft } from "./draft.ts";
import { noShare } from "./share.ts";

/** Nothing is copied by it, and each swap mends two members or one. */
export function evenPrimaries(draft: Draft): void {
  const takers = new Set(draft.takers().map(({ name }) => name));
  for (let swaps = 0; swaps < draft.situation.policy.swapsMax; swaps++) {
    const found = Array.from({ length: draft.shards }, (_, shard) => shard).filter((shard) => {
      const standby = draft.standbyOf(shard);
      return standby !== undefined && takers.has(standby) && isWorthwhile(draft, shard);
    });
    const shard = least(found, (it) => [
      ratio(draft, draft.standbyOf(it) ?? "", "primaries"),
      -ratio(draft, draft.primaryOf(it) ?? "", "primaries"),
    ]);
    if (shard === undefined) return;
    const [from, to] = [draft.primaries(draft.primaryOf(shard) ?? ""), draft.primaries(draft.standbyOf(shard) ?? "")];
    draft.swap(shard, { kind: "primaries-uneven", from, to });
  }
}

function isWorthwhile(draft: Draft, shard: number): boolean {
  const [from, to] = [draft.primaryOf(shard) ?? "", draft.standbyOf(shard) ?? ""];
  if (!draft.isSettled(shard) || draft.isPinnedTo(from, shard) || !hasRoom(draft, to, "primaries")) return false;
  if (!isIdle(draft, to) || ratio(draft, to, "primaries") >= 1) return false;
  const { most } = draft.shares.primaries.get(from) ?? noShare;
  const { least: fewest } = draft.shares.primaries.get(to) ?? noShare;
  if (draft.primaries(from) > most) return true;
  return draft.primaries(to) < fewest && ratio(draft, from, "primaries") > 1;
}
