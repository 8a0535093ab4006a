/**
 * What has to change, whatever the moment: copies of members that are gone or are to stop, missing standbys, pins.
 *
 * Only standbys are copied, at most so many at a time; a primary changes by promoting a standby that has caught up. So a
 * shard has a copy that can answer all the while, as long as one lives.
 */
import { chooseHeir, chooseTaker } from "./choice.ts";
import type { Draft } from "./draft.ts";

export function repair(draft: Draft): void {
  renewEndpoints(draft);
  const lost = new Map<number, string>();
  for (let shard = 0; shard < draft.shards; shard++) replaceTheGone(draft, shard, lost);
  for (let shard = 0; shard < draft.shards; shard++) addStandby(draft, shard, lost.get(shard));
  for (let shard = 0; shard < draft.shards; shard++) drain(draft, shard);
  for (let shard = 0; shard < draft.shards; shard++) obeyPin(draft, shard);
}

function renewEndpoints(draft: Draft): void {
  for (const [shard, { primary, standby }] of draft.situation.previous?.holders.entries() ?? []) {
    const isOther = (name: string, endpoint: string): boolean =>
      (draft.members.get(name)?.endpoint ?? endpoint) !== endpoint;
    if (isOther(primary.name, primary.endpoint)) draft.renew(shard, "primary", primary.name);
    if (standby !== undefined && isOther(standby.name, standby.endpoint)) draft.renew(shard, "standby", standby.name);
  }
}

/** `lost`: standbys that are gone, for {@link addStandby}, which may have no place for another one yet. */
function replaceTheGone(draft: Draft, shard: number, lost: Map<number, string>): void {
  const standby = draft.standbyOf(shard);
  const isStandbyGone = standby !== undefined && !draft.members.has(standby);
  if (isStandbyGone) lost.set(shard, standby);
  const primary = draft.primaryOf(shard);
  if (primary === undefined || draft.members.has(primary)) return;
  const living = isStandbyGone ? undefined : standby;
  const heir = heirOf(draft, shard, living);
  if (heir === undefined) return;
  const reason = heir === living ? ({ kind: "promoted", insteadOf: primary } as const) : memberLeft(primary);
  draft.setPrimary(shard, heir, reason);
}

/** Whoever lacks nothing, the standby first; else the standby, which lacks least; else somebody new. */
function heirOf(draft: Draft, shard: number, standby: string | undefined): string | undefined {
  if (standby !== undefined && draft.isCaughtUp(standby, shard)) return standby;
  const complete = [...draft.members.values()].filter(
    ({ name, state }) => state === "alive" && draft.isCaughtUp(name, shard),
  );
  return complete[0]?.name ?? standby ?? chooseHeir(draft, shard)?.name;
}

function addStandby(draft: Draft, shard: number, lost: string | undefined): void {
  const primary = draft.primaryOf(shard);
  if (draft.standbyOf(shard) !== lost || primary === undefined) return;
  const pinned = draft.takers().find(({ name }) => draft.isPinnedTo(name, shard) && name !== primary);
  const taker = draft.handoffsLeft > 0 ? (pinned ?? chooseTaker(draft, shard, primary)) : undefined;
  if (lost === undefined && taker === undefined) return;
  draft.setStandby(shard, taker?.name, lost === undefined ? { kind: "standby-missing" } : memberLeft(lost));
}

function drain(draft: Draft, shard: number): void {
  const isDraining = (name: string | undefined): name is string =>
    name !== undefined && draft.members.get(name)?.hosting === "draining";
  const primary = draft.primaryOf(shard);
  const standby = draft.standbyOf(shard);
  if (isDraining(primary) && standby !== undefined && !isDraining(standby) && draft.isCaughtUp(standby, shard))
    draft.swap(shard, { kind: "promoted", insteadOf: primary });
  const leaving = draft.standbyOf(shard);
  if (!isDraining(leaving) || draft.handoffsLeft === 0) return;
  const taker = chooseTaker(draft, shard, draft.primaryOf(shard));
  if (taker !== undefined || isEnough(draft, shard))
    draft.setStandby(shard, taker?.name, { kind: "member-draining", member: leaving });
}

/** Where nobody will take a second copy, the primary's alone will do, if it lacks nothing and stays. */
function isEnough(draft: Draft, shard: number): boolean {
  const primary = draft.members.get(draft.primaryOf(shard) ?? "");
  if (primary?.state !== "alive" || primary.hosting === "draining") return false;
  // Who is suspect may be back in a moment, and take it then.
  const mayTake = [...draft.members.values()].some(({ name, hosting }) => name !== primary.name && hosting === "ready");
  return !mayTake && draft.isCaughtUp(primary.name, shard);
}

function obeyPin(draft: Draft, shard: number): void {
  const wanted = draft.situation.pins.get(shard);
  const member = wanted === undefined ? undefined : draft.members.get(wanted);
  if (member === undefined || member.hosting === "draining" || draft.primaryOf(shard) === wanted) return;
  if (draft.standbyOf(shard) === wanted) {
    if (draft.isSettled(shard)) draft.swap(shard, { kind: "pinned" });
    return;
  }
  if (member.state === "alive" && draft.isSettled(shard) && draft.handoffsLeft > 0)
    draft.setStandby(shard, wanted, { kind: "pinned" });
}

function memberLeft(member: string): { readonly kind: "member-left"; readonly member: string } {
  return { kind: "member-left", member };
}
