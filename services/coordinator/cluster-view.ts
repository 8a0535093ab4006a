/** Members and shards, as far as a cluster without gossip can tell: what is connected, and what the trackers say. */
import type { Leader } from "../../src/coordinator/leader.ts";
import { type Assignment, holdersOf } from "../../src/placement/assignment.ts";
import type { MemberView, ShardView } from "../../src/rpc/cluster-codec.ts";
import type { PeerReplica, PeerReport } from "../../src/tracker/peers.ts";

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

/** `stored`: messages that the stream holds, by shard; for where a primary does not tell its lag. */
export function shardsOf(
  assignment: Assignment,
  reports: readonly PeerReport[],
  stored: ReadonlyMap<number, number>,
): readonly ShardView[] {
  const byName = new Map(reports.map((report) => [report.name, report]));
  return assignment.holders.map(({ primary, standby, pinned = false }, shard) => {
    const told = byName.get(primary.name);
    const own = told?.replicas.get(shard);
    const answering = answeringCopy(shard, [primary.name, standby?.name], reports);
    return {
      shard,
      primary: primary.name,
      ...(standby && { standby: standby.name }),
      epoch: assignment.epoch,
      lag: (own?.phase === "joining" ? undefined : own?.lag) ?? stored.get(shard) ?? 0,
      flows: answering?.flows ?? 0,
      complete: answering?.complete ?? false,
      state: own?.phase ?? (told === undefined ? "away" : "joining"),
      pinned,
    };
  });
}

/** The primary's or the standby's where one of them serves, else any that does. */
export function answeringCopy(
  shard: number,
  first: readonly (string | undefined)[],
  reports: readonly PeerReport[],
): PeerReplica | undefined {
  const copies = reports.flatMap(({ name, replicas }) => {
    const replica = replicas.get(shard);
    return replica === undefined || replica.phase === "gone" || replica.phase === "joining" ? [] : [{ name, replica }];
  });
  const rank = ({ name, replica }: (typeof copies)[number]): number => {
    const place = first.indexOf(name);
    return (replica.phase === "tailing" ? first.length + 1 : 0) + (place < 0 ? first.length : place);
  };
  return copies.sort((a, b) => rank(a) - rank(b))[0]?.replica;
}
