/**
 * Each shard's own order of members, so that one that comes or goes changes nobody else's place in it.
 *
 * Every member has a stated number of points: by default `hashring` divides them by weights, and rounds off one point of
 * everybody's in clusters of 7, 14, 28 and others, which would move shards between members that were there before.
 */
import HashRing from "hashring";

/** Must differ from the default of 40, which is what turns the division off. Four points each. */
const pointsPerMember = 41;

/** A member's name may be a number or `__proto__`; the ring keeps names as keys of an object. */
const prefix = "member ";

export class Ring {
  readonly #members: number;
  readonly #ring: HashRing;
  readonly #ranks = new Map<number, ReadonlyMap<string, number>>();

  /** Distinct names. */
  constructor(members: readonly string[]) {
    this.#members = members.length;
    const points = members.toSorted().map((name) => [prefix + name, { vnodes: pointsPerMember }] as const);
    this.#ring = new HashRing(Object.fromEntries(points));
  }

  /** Name → place, from 0: who should hold the shard if all had room. */
  ranks(shard: number): ReadonlyMap<string, number> {
    const known = this.#ranks.get(shard);
    if (known !== undefined) return known;
    const order = this.#ring.range(`shard ${shard}`, this.#members);
    const ranks = new Map(order.map((name, rank) => [name.slice(prefix.length), rank]));
    this.#ranks.set(shard, ranks);
    return ranks;
  }
}
