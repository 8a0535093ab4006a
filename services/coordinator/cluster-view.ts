/** Members and shards, as far as a cluster without gossip can tell: what is connected, and what the trackers say. */
import type { Leader } from "../../src/coordinator/leader.ts";
import { type Assignment, holdersOf } from "../../src/placement/assignment.ts";
import { shardOf } from "../../src/placement/shard.ts";
import type { MemberView, ShardView } from "../../src/rpc/cluster-codec.ts";
import type { FlowCounts } from "../../src/rpc/tracker-client.ts";

/** `assignment` absent: no tracker has answered. */
export function membersOf(
  self: { readonly name: string; readonly endpoint: string },
  leader: Leader,
  assignment: Assignment | undefined,
  answering: ReadonlySet<string>,
): readonly MemberView[] {
  const trackers = new Map(
    (assignment?.holders ?? [])
      .flatMap((_, shard) => holdersOf(assignment as Assignment, shard))
      .map((t) => [t.name, t]),
  );
  const nodes = [...leader.cluster.nodes.values()].map(({ name, kind, connected }) => ({
    name,
    roles: [kind],
    address: "",
    state: connected ? ("alive" as const) : ("dead" as const),
    load: 0,
  }));
  const named = [...trackers.values()].map(({ name, endpoint }) => ({
    name,
    roles: ["tracker"],
    address: endpoint,
    state: answering.has(endpoint) ? ("alive" as const) : ("dead" as const),
    load: 0,
  }));
  return [
    { name: self.name, roles: ["coordinator"], address: self.endpoint, state: "alive", load: 0 },
    ...named,
    ...nodes,
  ];
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
