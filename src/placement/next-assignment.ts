/**
 * Which member holds which shard next: the pure function that any member may compute, and that all compute alike.
 *
 * After consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads",
 * 2016): each shard has its own order of members, and goes to the first with room. Different, and why:
 *
 * - Shards stay where they are until a rule moves them. The paper moves as little as its bound allows whenever anything
 *   changes; here a move costs a copy of a database, so there is room between the bounds in which nothing moves.
 * - Two copies, never on one member, in different zones where parts allow it.
 * - Parts go by the members' sizes; and beside them, whoever is far busier than the others gives shards away, however
 *   many it has: what an address costs is known only by the load of who serves it.
 * - Moves are paced. What has to change goes first, and all the rest waits for it.
 */
import type { Assignment } from "./assignment.ts";
import { takesShards } from "./candidate.ts";
import { chooseHeir, chooseTaker } from "./choice.ts";
import { Draft } from "./draft.ts";
import type { Move } from "./move.ts";
import { rebalance } from "./rebalance.ts";
import { repair } from "./repair.ts";
import type { Situation } from "./situation.ts";

export type Placement =
  | { readonly kind: "unchanged" }
  | { readonly kind: "changed"; readonly next: Assignment; readonly moves: readonly Move[] };

const unchanged: Placement = { kind: "unchanged" };

export function nextAssignment(situation: Situation): Placement {
  const { previous, candidates, shards } = situation;
  if (previous !== undefined && previous.holders.length !== shards)
    throw new RangeError(`the epoch has ${previous.holders.length} shards, and this cluster ${shards}`);
  const canBegin = previous === undefined ? candidates.some(takesShards) : candidates.length > 0;
  if (!canBegin) return unchanged;
  const draft = new Draft(situation);
  if (previous === undefined) assignAll(draft);
  else {
    repair(draft);
    if (draft.moves.length === 0 && isCalm(draft)) rebalance(draft);
  }
  if (draft.moves.length === 0) return unchanged;
  return {
    kind: "changed",
    next: { ...previous, epoch: (previous?.epoch ?? 0n) + 1n, holders: draft.holders() },
    moves: draft.moves,
  };
}

function assignAll(draft: Draft): void {
  for (let shard = 0; shard < draft.shards; shard++) {
    const pinned = draft.takers().find(({ name }) => draft.isPinnedTo(name, shard));
    const primary = pinned ?? chooseHeir(draft, shard);
    if (primary === undefined) throw new Error(`nobody can hold shard ${shard}`);
    draft.setPrimary(shard, primary.name, { kind: "first" });
    const standby = chooseTaker(draft, shard, primary.name);
    if (standby !== undefined) draft.setStandby(shard, standby.name, { kind: "first" });
  }
}

/** The last epoch is some time ago, and no holder is about to be declared dead. */
function isCalm(draft: Draft): boolean {
  const { epochAtMs, nowMs, policy } = draft.situation;
  if (epochAtMs !== undefined && nowMs - epochAtMs < policy.moveIntervalMs) return false;
  return [...draft.members.values()].every(({ state, name }) => state === "alive" || draft.copies(name) === 0);
}

/** What operators have pinned: it is in the epochs themselves, so that everybody knows it. */
export function pinsOf(assignment: Assignment | undefined): ReadonlyMap<number, string> {
  const holders = assignment?.holders ?? [];
  return new Map(holders.flatMap(({ primary, pinned }, shard) => (pinned === true ? [[shard, primary.name]] : [])));
}
