/** Whether the agents have told where the flows of an address lie by its layout, and up to where the trackers have to come. */
import type { IpAddress } from "../flow/address.ts";
import type { ShardPosition } from "../node/state.ts";
import { type Layout, shardsOf } from "../placement/layout.ts";
import type { Chain } from "../remap/chain.ts";
import { hasEnded } from "../remap/phase.ts";
import { hasPart, layoutMarkId } from "../remap/projection.ts";
import type { ClusterState } from "./cluster-state.ts";

/**
 * Undefined: somebody who has a part in the address has not told yet, or is not known to have heard of the layout. Of several
 * positions in one shard the last counts.
 */
export function toldPositions(
  cluster: ClusterState,
  address: IpAddress,
  layout: Layout,
  shards: number,
): readonly ShardPosition[] | undefined {
  const chain = cluster.chain(address);
  // An address that nobody has any more has no flows.
  if (chain === undefined) return [];
  if (chain.layout?.generation !== layout.generation) return undefined;
  const id = layoutMarkId(address, layout.generation);
  const leaving = namedByOpenRemaps(chain);
  const wanted = shardsOf(address, layout, shards);
  const last = new Map<number, bigint>();
  for (const name of cluster.agentsOf(chain)) {
    const node = cluster.nodes.get(name);
    const facts = cluster.world.agents.get(name);
    if (!hasPart(name, chain)) {
      // It is to let go of the address, and has not said to this leader that it has.
      if (facts?.applied?.addresses.some((held) => held.address === address)) return undefined;
      if (leaving.has(name) && node?.current === false) return undefined;
      continue;
    }
    const mark = facts?.status.marks.find((told) => told.id === id);
    // Who is not here may have begun anew, by the layout before, and has told nothing since.
    if (mark === undefined || node?.connected !== true || !node.current) return undefined;
    // An agent that knows of no buckets tells one shard, whatever it is asked.
    if (!wanted.every((shard) => mark.positions.some((position) => position.shard === shard))) return undefined;
    for (const { shard, sequence } of mark.positions) if (sequence > (last.get(shard) ?? 0n)) last.set(shard, sequence);
  }
  return [...last].map(([shard, sequence]) => ({ shard, sequence }));
}

/** A remap ends only when its source has let go of the address, or is given up for lost. */
function namedByOpenRemaps({ flipped }: Chain): ReadonlySet<string> {
  const open = flipped.filter(({ record }) => !hasEnded(record));
  return new Set(open.flatMap(({ record: { source, owners } }) => [source, ...owners.map(({ owner }) => owner)]));
}
