/**
 * What part of the copies is whose, and how far from it a member may be.
 *
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016): nobody holds more than 1+ε times its
 * part. Here parts go by the members' sizes, and there is a lower bound too, below which a member is filled. Between both
 * nothing moves.
 */
import { type Candidate, sizeOf } from "./candidate.ts";

export interface Share {
  /** Its exact part. */
  readonly fair: number;
  /** More than this is given away. */
  readonly most: number;
  /** With fewer it is filled. */
  readonly least: number;
}

export interface Shares {
  /** Primaries and standbys together. */
  readonly copies: ReadonlyMap<string, Share>;
  readonly primaries: ReadonlyMap<string, Share>;
}

/** What is not in it has no part. */
export const noShare: Share = { fair: 0, most: 0, least: 0 };

export function sharesOf(members: readonly Candidate[], shards: number, slack: number): Shares {
  const copies = shards * Math.min(2, members.length);
  return { copies: divide(members, copies, shards, slack), primaries: divide(members, shards, shards, slack) };
}

/** Nobody's part is more than one copy of every shard; what a large member can't take is the others'. */
function divide(members: readonly Candidate[], total: number, each: number, slack: number): Map<string, Share> {
  const shares = new Map<string, Share>();
  let rest = members.toSorted((a, b) => sizeOf(b) - sizeOf(a));
  let left = total;
  while (rest.length > 0) {
    const size = rest.reduce((sum, member) => sum + sizeOf(member), 0);
    const [largest] = rest;
    const isFull = largest !== undefined && (left * sizeOf(largest)) / size > each;
    for (const member of isFull ? [largest] : rest) {
      const fair = Math.min(each, (left * sizeOf(member)) / size);
      const most = Math.min(each, Math.ceil(fair * (1 + slack)));
      shares.set(member.name, { fair, most, least: Math.floor(fair * (1 - slack)) });
    }
    left -= isFull ? each : left;
    rest = isFull ? rest.slice(1) : [];
  }
  return shares;
}
