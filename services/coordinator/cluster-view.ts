/** Members, by gossip and by their streams; shards, as the trackers say. */
import { addressOf } from "../../src/cluster/events.ts";
import type { ClusterMember } from "../../src/cluster/membership.ts";
import type { Leader } from "../../src/coordinator/leader.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import { shardOf } from "../../src/placement/shard.ts";
import type { MemberView, ShardView } from "../../src/rpc/cluster-codec.ts";
import type { FlowCounts } from "../../src/rpc/tracker-client.ts";

/** Trackers and coordinators gossip; plain agents and gateways are known by their stream to the leader. */
export function membersOf(gossiping: readonly ClusterMember[], leader: Leader): readonly MemberView[] {
  const members = gossiping.map((member) => {
    const { name, roles, state, load } = member;
    return { name, roles, address: addressOf(member), state, load };
  });
  const nodes = [...leader.cluster.nodes.values()].map(({ name, kind, connected }) => ({
    name,
    roles: [kind],
    address: "",
    state: connected ? ("alive" as const) : ("dead" as const),
    load: 0,
  }));
  return [...members.toSorted((a, b) => (a.name < b.name ? -1 : 1)), ...nodes];
}

/** `last`: sequence of each shard's newest message in the stream; lag is counted in messages of the whole stream. */
export function shardsOf(assignment: Assignment, counts: FlowCounts, last: readonly bigint[]): readonly ShardView[] {
  const flows = new Map<number, number>();
  for (const count of counts.counts) {
    const shard = shardOf(count.address, assignment.holders.length);
    flows.set(shard, (flows.get(shard) ?? 0) + count.flows);
  }
  const applied = new Map(counts.positions.map(({ shard, sequence }) => [shard, sequence]));
  return assignment.holders.map(({ primary, standby }, shard) => {
    const behind = (last[shard] ?? 0n) - (applied.get(shard) ?? 0n);
    return {
      shard,
      primary: primary.name,
      ...(standby && { standby: standby.name }),
      epoch: assignment.epoch,
      lag: behind > 0n ? Number(behind) : 0,
      flows: flows.get(shard) ?? 0,
      complete: counts.complete,
    };
  });
}
