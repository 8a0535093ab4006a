/**
 * The next assignment while it is being made: who holds what, how many copies each has, and what has been changed so far.
 *
 * Keeps that no shard has both copies on one member, and that every change is in {@link moves} with its reason.
 */
import type { ShardHolders, Tracker } from "./assignment.ts";
import { type Candidate, takesShards } from "./candidate.ts";
import type { Move, MoveReason } from "./move.ts";
import { Ring } from "./ring.ts";
import { type Shares, sharesOf } from "./share.ts";
import type { Situation } from "./situation.ts";

interface Copies {
  primary?: string;
  standby?: string;
}

export class Draft {
  readonly situation: Situation;
  /** By name, in the order of names. */
  readonly members: ReadonlyMap<string, Candidate>;
  /** Of those that keep shards. */
  readonly shares: Shares;
  readonly moves: Move[] = [];
  readonly #holders: Copies[];
  readonly #copies = new Map<string, number>();
  readonly #primaries = new Map<string, number>();
  readonly #caughtUp: ReadonlyMap<string, ReadonlySet<number> | undefined>;
  readonly #touched = new Set<number>();
  #handoffs: number;
  #ring: Ring | undefined;

  constructor(situation: Situation) {
    const { candidates, previous, shards, policy } = situation;
    this.situation = situation;
    const sorted = candidates.toSorted((a, b) => (a.name < b.name ? -1 : 1));
    this.members = new Map(sorted.map((candidate) => [candidate.name, candidate]));
    if (this.members.size !== candidates.length) throw new RangeError("two members have the same name");
    const staying = sorted.filter(({ hosting }) => hosting !== "draining");
    this.shares = sharesOf(staying.length > 0 ? staying : sorted, shards, policy.slack);
    this.#caughtUp = new Map(sorted.map(({ name, caughtUp }) => [name, caughtUp && new Set(caughtUp)]));
    this.#holders = Array.from({ length: shards }, (_, shard) => namesOf(previous?.holders[shard]));
    for (const { primary, standby } of this.#holders) {
      this.#count(primary, 1, this.#copies, this.#primaries);
      this.#count(standby, 1, this.#copies);
    }
    this.#handoffs = this.#holders.filter((_, shard) => this.#isBeingCopied(shard)).length;
  }

  get shards(): number {
    return this.#holders.length;
  }

  get handoffsLeft(): number {
    return Math.max(0, this.situation.policy.handoffsMax - this.#handoffs);
  }

  takers(): Candidate[] {
    return [...this.members.values()].filter(takesShards);
  }

  primaryOf(shard: number): string | undefined {
    return this.#holders[shard]?.primary;
  }

  standbyOf(shard: number): string | undefined {
    return this.#holders[shard]?.standby;
  }

  holds(name: string, shard: number): boolean {
    return this.primaryOf(shard) === name || this.standbyOf(shard) === name;
  }

  copies(name: string): number {
    return this.#copies.get(name) ?? 0;
  }

  primaries(name: string): number {
    return this.#primaries.get(name) ?? 0;
  }

  /** Place of each member in the shard's own order. */
  ranks(shard: number): ReadonlyMap<string, number> {
    this.#ring ??= new Ring([...this.members.keys()]);
    return this.#ring.ranks(shard);
  }

  /** For how long the shard's holders have been the same. */
  restedMs(shard: number): number {
    return this.situation.nowMs - (this.situation.movedAtMs.get(shard) ?? Number.NEGATIVE_INFINITY);
  }

  /** As far as it is known; what a holder does not tell is concluded from time. */
  isCaughtUp(name: string, shard: number): boolean {
    const { policy } = this.situation;
    const holds = this.holds(name, shard);
    const known = this.#caughtUp.get(name);
    if (known === undefined) return holds && this.#heldMs(name, shard) >= policy.handoffMs;
    return known.has(shard) && (!holds || this.#heldMs(name, shard) >= policy.toldMs);
  }

  /** It has two copies, of which none is being made: one of them may be given up. */
  isSettled(shard: number): boolean {
    const { primary, standby } = this.#holders[shard] ?? {};
    if (primary === undefined || standby === undefined || this.#touched.has(shard)) return false;
    return this.members.has(primary) && this.members.has(standby) && this.isCaughtUp(standby, shard);
  }

  isPinnedTo(name: string, shard: number): boolean {
    return this.situation.pins.get(shard) === name;
  }

  /** Whoever had the primary loses its copy. */
  setPrimary(shard: number, to: string, reason: MoveReason): void {
    const copies = this.#touch(shard);
    this.#move(shard, "primary", copies.primary, to, reason);
    this.#count(copies.primary, -1, this.#copies, this.#primaries);
    if (copies.standby === to) {
      delete copies.standby;
      this.#count(to, -1, this.#copies);
    }
    copies.primary = to;
    this.#count(to, 1, this.#copies, this.#primaries);
  }

  /** Primary and standby change places. */
  swap(shard: number, reason: MoveReason): void {
    const copies = this.#touch(shard);
    const { primary, standby } = copies;
    if (primary === undefined || standby === undefined) throw new Error(`shard ${shard} has no two copies to swap`);
    this.#move(shard, "primary", primary, standby, reason);
    this.#count(primary, -1, this.#primaries);
    this.#count(standby, 1, this.#primaries);
    copies.primary = standby;
    copies.standby = primary;
  }

  setStandby(shard: number, to: string | undefined, reason: MoveReason): void {
    const copies = this.#touch(shard);
    if (copies.primary === to) throw new Error(`shard ${shard} would have both copies on ${to}`);
    this.#move(shard, "standby", copies.standby, to, reason);
    this.#count(copies.standby, -1, this.#copies);
    this.#count(to, 1, this.#copies);
    if (to === undefined) delete copies.standby;
    else copies.standby = to;
    if (to !== undefined) this.#handoffs++;
  }

  /** Its copy goes to another; where it is the primary, the standby takes that over. */
  moveCopy(shard: number, from: string, to: string, reason: MoveReason): void {
    if (this.primaryOf(shard) === from) this.swap(shard, { kind: "promoted", insteadOf: from });
    this.setStandby(shard, to, reason);
  }

  renew(shard: number, role: "primary" | "standby", name: string): void {
    this.#move(shard, role, name, name, { kind: "endpoint-changed" });
  }

  holders(): ShardHolders[] {
    const { previous, pins } = this.situation;
    return this.#holders.map(({ primary, standby }, shard) => {
      if (primary === undefined) throw new Error(`shard ${shard} has no primary`);
      const before = previous?.holders[shard];
      const first = this.#tracker(primary, before);
      const pinned = pins.get(shard) === primary ? { pinned: true as const } : {};
      const second = standby === undefined ? {} : { standby: this.#tracker(standby, before) };
      return { primary: first, ...second, ...pinned };
    });
  }

  #tracker(name: string, before: ShardHolders | undefined): Tracker {
    const member = this.members.get(name);
    if (member !== undefined) return { name, endpoint: member.endpoint };
    const known = [before?.primary, before?.standby].find((tracker) => tracker?.name === name);
    if (known === undefined) throw new Error(`${name} is no member and holds nothing`);
    return known;
  }

  #isBeingCopied(shard: number): boolean {
    const standby = this.standbyOf(shard);
    if (standby === undefined || !this.members.has(standby)) return false;
    return !this.isCaughtUp(standby, shard) && this.#heldMs(standby, shard) < this.situation.policy.handoffMaxMs;
  }

  #heldMs(name: string, shard: number): number {
    return this.situation.nowMs - (this.situation.heldSinceMs.get(shard)?.get(name) ?? Number.NEGATIVE_INFINITY);
  }

  #touch(shard: number): Copies {
    this.#touched.add(shard);
    return this.#holders[shard] as Copies;
  }

  #move(shard: number, role: Move["role"], from: string | undefined, to: string | undefined, reason: MoveReason): void {
    const ends = { ...(from === undefined ? {} : { from }), ...(to === undefined ? {} : { to }) };
    this.moves.push({ shard, role, ...ends, reason });
  }

  #count(name: string | undefined, by: number, ...counts: readonly Map<string, number>[]): void {
    if (name === undefined) return;
    for (const count of counts) count.set(name, (count.get(name) ?? 0) + by);
  }
}

function namesOf(holders: ShardHolders | undefined): Copies {
  if (holders === undefined) return {};
  const { primary, standby } = holders;
  return standby === undefined ? { primary: primary.name } : { primary: primary.name, standby: standby.name };
}
