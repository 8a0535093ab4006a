/** The coordinator's calls, with those about members and shards that need trackers and the stream as well. */
import type { NatsBus } from "../../src/bus/nats.ts";
import type { Membership } from "../../src/cluster/membership.ts";
import type { Coordinator } from "../../src/coordinator/coordinator.ts";
import { flowStreamName, flowSubject } from "../../src/flow/events.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import type { MemberView, ShardView } from "../../src/rpc/cluster-codec.ts";
import type { CoordinatorApi } from "../../src/rpc/coordinator-server.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import type { Reply } from "../../src/rpc/handler.ts";
import { askAssignment } from "../../src/rpc/tracker-assignment.ts";
import type { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { membersOf, shardsOf } from "./cluster-view.ts";

export interface ClusterCallsOptions {
  readonly coordinator: Coordinator;
  readonly trackers: TrackerClient;
  readonly trackerEndpoints: readonly string[];
  readonly bus: NatsBus;
  readonly membership: Membership;
}

const askDeadlineMs = 2_000;

export class ClusterCalls {
  readonly #options: ClusterCallsOptions;

  constructor(options: ClusterCallsOptions) {
    this.#options = options;
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
      moveShard: async () => ({
        ok: false,
        error: {
          code: "UNSUPPORTED",
          message: "shards can't be moved yet: every tracker computes the same assignment from its configuration",
        },
      }),
    };
  }

  /** As the first tracker that answers tells it. */
  async assignment(signal: AbortSignal): Promise<Assignment> {
    const asked = await this.#ask(signal);
    const [first] = asked.values();
    if (first === undefined) throw new Error("no tracker answers");
    return first;
  }

  #members(): Reply<readonly MemberView[]> {
    const { coordinator, membership } = this.#options;
    const leader = coordinator.leader;
    if (leader === undefined) return { ok: false, error: coordinator.notLeader() };
    return { ok: true, value: membersOf(membership.members(), leader) };
  }

  async #shards(signal: AbortSignal): Promise<Reply<readonly ShardView[]>> {
    const { trackers } = this.#options;
    const [assignment] = (await this.#ask(signal)).values();
    if (assignment === undefined) return { ok: false, error: noTracker };
    const counts = await trackers.count({}, { signal, deadlineMs: askDeadlineMs });
    const last = await this.#lastSequences(assignment.holders.length, signal);
    return { ok: true, value: shardsOf(assignment, counts, last) };
  }

  /** Answers by endpoint; whoever is silent is left out. */
  async #ask(signal: AbortSignal): Promise<ReadonlyMap<string, Assignment>> {
    const answers = await Promise.all(
      this.#options.trackerEndpoints.map(async (endpoint) => {
        const answer = await askAssignment(endpoint, { signal, deadlineMs: askDeadlineMs }).catch(() => undefined);
        return answer === undefined ? [] : ([[endpoint, answer]] as const);
      }),
    );
    return new Map(answers.flat());
  }

  async #lastSequences(shards: number, signal: AbortSignal): Promise<readonly bigint[]> {
    const connection = await this.#options.bus.connection(signal);
    const manager = await connection.jetstreamManager({ timeout: askDeadlineMs });
    return await Promise.all(
      Array.from({ length: shards }, async (_, shard) => {
        const query = { last_by_subj: flowSubject(shard) };
        const found = await manager.streams.getMessage(flowStreamName, query).catch(() => undefined);
        return BigInt(found?.seq ?? 0);
      }),
    );
  }
}

const noTracker: DetailedError = {
  code: "TRACKER_BEHIND",
  message: "no tracker answers: see whether the trackers run, and whether this host reaches them",
};
