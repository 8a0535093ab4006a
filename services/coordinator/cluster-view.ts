/** Members, by gossip and by their streams; shards, as the trackers say. */
import { addressOf } from "../../src/cluster/events.ts";
import type { ClusterMember } from "../../src/cluster/membership.ts";
import type { Leader } from "../../src/coordinator/leader.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import { shardsOf as addressShards } from "../../src/placement/layout.ts";
import type { AddressShardsView, MemberView, ShardView } from "../../src/rpc/cluster-codec.ts";
import type { PeerReplica, PeerReport } from "../../src/tracker/peers.ts";

/**
 * Trackers, coordinators and agents that may host a tracker gossip; plain agents and gateways are known by their stream to
 * the leader.
 */
export function membersOf(gossiping: readonly ClusterMember[], leader: Leader): readonly MemberView[] {
  const { nodes } = leader.cluster;
  // An agent that hosts no more has left the gossip, which remembers it for a day, and is connected all the same.
  const isPlain = ({ name, state }: ClusterMember): boolean =>
    (state === "left" || state === "dead") && nodes.get(name)?.connected === true;
  const told = gossiping.filter((member) => !isPlain(member));
  const members = told.map((member) => {
    const { name, roles, state, load, hosting } = member;
    const hosts = roles.includes("tracker") && { hosting };
    return { name, roles, address: addressOf(member), state, load, ...hosts };
  });
  const gossips = new Set(told.filter(({ roles }) => roles.includes("agent")).map(({ name }) => name));
  const plain = [...nodes.values()].filter(({ name }) => !gossips.has(name));
  const connected = plain.map(({ name, kind, connected: isConnected }) => ({
    name,
    roles: [kind],
    address: "",
    state: isConnected ? ("alive" as const) : ("dead" as const),
    load: 0,
  }));
  return [...members.toSorted((a, b) => (a.name < b.name ? -1 : 1)), ...connected];
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

/** Addresses with more buckets than one, and those whose flows are on their way. */
export function bucketsOf({ layouts, holders }: Assignment): readonly AddressShardsView[] {
  return [...(layouts ?? [])]
    .filter(([, { buckets, before }]) => buckets > 1 || before !== undefined)
    .map(([address, layout]) => ({ address, layout, shards: addressShards(address, layout, holders.length) }));
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
