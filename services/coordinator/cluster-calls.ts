/** The coordinator's calls, with those about members and shards that need trackers and the stream as well. */
import type { NatsBus } from "../../src/bus/nats.ts";
import type { Membership } from "../../src/cluster/membership.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { flowStreamName, flowSubjects } from "../../src/flow/events.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import type { EpochHistory } from "../../src/placement/epoch-log.ts";
import { trackersOf } from "../../src/placement/operator-move.ts";
import type { MemberView, ShardsView } from "../../src/rpc/cluster-codec.ts";
import type { CoordinatorApi } from "../../src/rpc/coordinator-server.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import { Refusal, type Reply } from "../../src/rpc/handler.ts";
import { candidatesMax, livingTrackers } from "../../src/tracker/candidates.ts";
import type { PeerReport, Peers } from "../../src/tracker/peers.ts";
import { BucketChanges } from "./bucket-changes.ts";
import { bucketsOf, membersOf, shardsOf } from "./cluster-view.ts";
import { ShardMoves } from "./shard-moves.ts";

export interface ClusterCallsOptions {
  readonly coordinator: Coordinator;
  readonly epochs: EpochHistory;
  readonly peers: Peers;
  readonly trackerEndpoints: readonly string[];
  readonly bus: NatsBus;
  readonly membership: Membership;
  /** Who did what. */
  readonly audit: (action: string, entry: Readonly<Record<string, string>>) => void;
}

const askDeadlineMs = 2_000;

export class ClusterCalls {
  readonly #options: ClusterCallsOptions;
  readonly #moves: ShardMoves;
  readonly #buckets: BucketChanges;

  constructor(options: ClusterCallsOptions) {
    this.#options = options;
    this.#moves = new ShardMoves({ ...options, reports: (signal) => this.reports(signal) });
    const { coordinator } = options;
    const leadership = { leader: () => coordinator.leader, notLeader: () => coordinator.notLeader() };
    this.#buckets = new BucketChanges({ ...options, ...leadership });
  }

  api(): CoordinatorApi {
    const { coordinator } = this.#options;
    return {
      createRemap: (wish) => coordinator.createRemap(wish),
      previewRemap: (wish, signal) => coordinator.previewRemap(wish, signal),
      getRemap: (id) => coordinator.getRemap(id),
      listRemaps: (address, openOnly) => coordinator.listRemaps(address, openOnly),
      watchRemap: (id, signal) => coordinator.watchRemap(id, signal),
      orderRemap: (id, order, by) => coordinator.orderRemap(id, order, by),
      listAddresses: () => coordinator.listAddresses(),
      addAddress: (wish, by) => coordinator.addAddress(wish, by),
      removeAddress: (address, by) => coordinator.removeAddress(address, by),
      listInstances: () => coordinator.listInstances(),
      removeInstance: (name, by) => coordinator.removeInstance(name, by),
      listGateways: () => coordinator.listGateways(),
      removeGateway: (name, by) => coordinator.removeGateway(name, by),
      beginAnew: (by) => coordinator.beginAnew(by),
      listMembers: async () => this.#members(),
      listShards: (signal) => this.#shards(signal),
      moveShard: (move, by, signal) => this.#moves.order(move, by, signal),
      setBuckets: (address, buckets, by, signal) => this.#buckets.order(address, buckets, by, signal),
    };
  }

  async assignment(): Promise<Assignment> {
    const { current } = this.#options.epochs;
    if (current === undefined) throw new Refusal(noEpoch);
    return current;
  }

  #members(): Reply<readonly MemberView[]> {
    const { coordinator, membership } = this.#options;
    const leader = coordinator.leader;
    if (leader === undefined) return { ok: false, error: coordinator.notLeader() };
    return { ok: true, value: membersOf(membership.members(), leader) };
  }

  async #shards(signal: AbortSignal): Promise<Reply<ShardsView>> {
    const { current } = this.#options.epochs;
    if (current === undefined) return { ok: false, error: noEpoch };
    const [reports, stored] = await Promise.all([this.reports(signal), this.#storedMessages(signal)]);
    return { ok: true, value: { shards: shardsOf(current, reports, stored), addresses: bucketsOf(current) } };
  }

  /** Of every tracker that is known and answers. */
  async reports(signal: AbortSignal): Promise<PeerReport[]> {
    const { trackerEndpoints, epochs, peers, membership } = this.#options;
    const assigned = epochs.current === undefined ? [] : [...trackersOf(epochs.current).values()];
    const named = [...assigned, ...livingTrackers(membership.members()).slice(0, candidatesMax)];
    const endpoints = new Set([...named.map(({ endpoint }) => endpoint), ...trackerEndpoints]);
    const reports = await Promise.all([...endpoints].map((endpoint) => peers.report(endpoint, [], signal)));
    const byName = new Map<string, PeerReport>();
    for (const report of reports) if (report !== undefined && !byName.has(report.name)) byName.set(report.name, report);
    return [...byName.values()];
  }

  /** Messages in the stream, by shard. */
  async #storedMessages(signal: AbortSignal): Promise<ReadonlyMap<number, number>> {
    const connection = await this.#options.bus.connection(signal);
    const manager = await connection.jetstreamManager({ timeout: askDeadlineMs });
    const { state } = await manager.streams.info(flowStreamName, { subjects_filter: flowSubjects });
    return new Map(Object.entries(state.subjects ?? {}).map(([subject, count]) => [shardOfSubject(subject), count]));
  }
}

function shardOfSubject(subject: string): number {
  return Number(subject.slice(subject.lastIndexOf(".") + 1));
}

const noEpoch: DetailedError = {
  code: "STORE_UNAVAILABLE",
  message: "no epoch is known yet: see whether a tracker runs, and whether this coordinator reaches NATS",
};
