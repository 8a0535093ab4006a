/**
 * One address and all its remaps: who holds it, who still owns flows of it, and through which channels.
 *
 * A remap that flipped leaves a *structure*: its target holds the address, and each owner of older flows has one
 * channel to that target. The newest structure rules. Until its switch has settled, the one before is kept beside
 * it, so that packets under way find their owner.
 */
import type { AddressRecord } from "../inventory/inventory.ts";
import type { Layout } from "../placement/layout.ts";
import { hasEnded, hasReached, isFlipped, isPending, stillHolds } from "./phase.ts";
import type { OwnerLink, RemapState } from "./record.ts";

export interface Chain {
  readonly base: AddressRecord;
  /** Newest first. */
  readonly flipped: readonly RemapState[];
  /** The one that is before its flip. */
  readonly pending?: RemapState;
  /** In which shards the address's flows are told of; absent: one bucket. */
  readonly layout?: Layout;
}

export type Holder = Pick<AddressRecord, "instance" | "private" | "generation">;

export function chainOf(base: AddressRecord, remaps: Iterable<RemapState>): Chain {
  const own = [...remaps].filter(({ record }) => record.address === base.address);
  const pending = own.find(({ record }) => isPending(record));
  const flipped = own
    .filter(({ record }) => isFlipped(record))
    .sort((a, b) => Number(b.record.generation - a.record.generation));
  return { base, flipped, ...(pending && { pending }) };
}

export function holderOf(chain: Chain): Holder {
  const newest = chain.flipped[0]?.record;
  if (newest === undefined || newest.generation < chain.base.generation) return chain.base;
  return { instance: newest.target, private: newest.targetPrivate, generation: newest.generation };
}

/** The structures in force, newest first. */
export function structuresOf(chain: Chain): readonly RemapState[] {
  const structures: RemapState[] = [];
  for (const state of chain.flipped) {
    if (state.record.generation < chain.base.generation && structures.length === 0) break;
    structures.push(state);
    if (hasReached(state.record.phase, "retire")) break;
  }
  return structures;
}

/** Owners of a remap's list that still have flows. */
export function activeOwners(chain: Chain, state: RemapState): readonly OwnerLink[] {
  return state.record.owners.filter(({ remap }) => {
    const drains = remap === state.record.id ? state : chain.flipped.find(({ record }) => record.id === remap);
    return drains !== undefined && stillHolds(drains.record);
  });
}

/** Earlier remaps whose sources still own flows, when the address goes from one instance to another. */
export function predecessors(chain: Chain, source: string, target: string): readonly RemapState[] {
  return chain.flipped.filter(
    ({ record }) =>
      stillHolds(record) &&
      record.policy.follow &&
      record.source !== source &&
      record.source !== target &&
      !hasComeHome(chain, record.source, record.generation),
  );
}

/** What later remaps of the address have made of this one. */
export interface Later {
  /** The newest flipped remap is a later one. */
  readonly exists: boolean;
  /** And its switch has settled. */
  readonly settled: boolean;
  /** The source holds the address again, or held it in between: its old flows are local to it. */
  readonly home: boolean;
  /** The source is the target of a later remap that has not flipped: its reports speak of both. */
  readonly returning: boolean;
  /** Link by which the source's flows reach it now. */
  readonly link?: OwnerLink;
  /** Who follows them. */
  readonly holder: string;
}

export function laterOf(chain: Chain, state: RemapState): Later {
  const { record } = state;
  const newest = chain.flipped[0];
  const exists = newest !== undefined && newest.record.generation > record.generation;
  const ruling = exists ? newest : state;
  const link = ruling.record.owners.find(({ owner }) => owner === record.source);
  return {
    exists,
    settled: exists && hasReached(newest.record.phase, "retire"),
    home: hasComeHome(chain, record.source, record.generation),
    returning: chain.pending?.record.target === record.source,
    ...(link && { link }),
    holder: ruling.record.target,
  };
}

/** The source of a remap of that generation has become the holder again since. */
export function hasComeHome(chain: Chain, source: string, generation: bigint): boolean {
  return chain.flipped.some(({ record }) => record.generation > generation && record.target === source);
}

/** Links in use by an address, also those that are only being taken down. */
export function linksInUse(chain: Chain, all: Iterable<RemapState>): ReadonlySet<number> {
  const links = new Set<number>();
  const current = new Set(structuresOf(chain));
  for (const state of all) {
    if (state.record.address !== chain.base.address) continue;
    if (hasEnded(state.record) && !current.has(state)) continue;
    const owners = hasEnded(state.record) ? activeOwners(chain, state) : state.record.owners;
    for (const { link } of owners) links.add(link);
  }
  return links;
}
