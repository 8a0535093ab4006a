/**
 * Changes of the membership for whoever listens on NATS: subjects `baton.cluster.member-<what>` and
 * `baton.cluster.members`, in the stream BATON_CLUSTER. cluster.proto documents them.
 *
 * Every coordinator hears every change, the leading one publishes. Who does not lead keeps what it heard for a minute: so
 * what happens while nobody leads is published by the next leader. An id made of the change itself lets JetStream store it
 * once, whoever publishes it; it remembers ids for longer than a change is kept here.
 */
import type { Bus, StreamConfig } from "../bus/bus.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/log.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import type { ClusterMember, Membership } from "./membership.ts";

const dayMs = 86_400_000;

export const clusterStream = {
  name: "BATON_CLUSTER",
  subjects: ["baton.cluster.*"],
  maxAgeMs: 7 * dayMs,
  maxBytes: 67_108_864,
  duplicateWindowMs: 120_000,
} satisfies Omit<StreamConfig, "replicas">;

/** Changes that wait for a leader, or for the bus. */
const waitingMax = 1_024;
/** Half of the stream's duplicate window. */
const waitingMaxMs = 60_000;
/** How late a change may be published. */
const pollMs = 200;

/** Changes of load are not published: they would be most of the stream, and `ListMembers` tells loads. */
const eventOf = {
  joined: "member-joined",
  updated: "member-updated",
  suspect: "member-suspect",
  refuted: "member-alive",
  dead: "member-dead",
  left: "member-left",
} as const;

interface Waiting {
  readonly event: string;
  readonly atMs: number;
  readonly body: { readonly member: object };
  readonly id: string;
}

export interface ClusterEventsOptions {
  readonly membership: Membership;
  /** Term of this process's leadership; undefined: it does not lead. */
  readonly term: () => bigint | undefined;
  readonly bus: Pick<Bus, "publish">;
  readonly clock: Clock;
  readonly log: Logger;
}

export class ClusterEvents {
  readonly #options: ClusterEventsOptions;
  readonly #waiting: Waiting[] = [];
  #listedIn: bigint | undefined;
  #missed = false;

  constructor(options: ClusterEventsOptions) {
    this.#options = options;
  }

  /** Hears and publishes until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#hear(signal), this.#publish(signal)]);
  }

  async #hear(signal: AbortSignal): Promise<void> {
    const { membership, clock } = this.#options;
    try {
      for await (const change of membership.changes(signal)) {
        if (change.kind === "members") this.#missed = true;
        if (change.kind === "members" || change.kind === "load" || change.kind === "conflict") continue;
        const event = eventOf[change.kind];
        const { name, gossip, incarnation } = change.member;
        const id = `${event} ${name} ${gossip} ${incarnation}`;
        this.#waiting.push({ event, atMs: clock.nowMs(), body: { member: memberJson(change.member) }, id });
        if (this.#waiting.length <= waitingMax) continue;
        this.#waiting.shift();
        this.#missed = true;
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #publish(signal: AbortSignal): Promise<void> {
    const { term, clock, log } = this.#options;
    try {
      for (;;) {
        await sleep(pollMs, signal);
        const current = term();
        try {
          if (current === undefined) this.#forget(clock.nowMs() - waitingMaxMs);
          else await this.#lead(current, signal);
        } catch (error) {
          signal.throwIfAborted();
          log.warn({ error }, "a change of the cluster is not published yet");
        }
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #lead(term: bigint, signal: AbortSignal): Promise<void> {
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      await this.#send(term, next.event, next.atMs, next.body, next.id, signal);
      // The queue may have been too long meanwhile, and its first have gone.
      if (this.#waiting[0] === next) this.#waiting.shift();
      if (this.#options.term() !== term) return;
    }
    if (this.#listedIn === term && !this.#missed) return;
    this.#missed = false;
    const members = this.#options.membership.members().map(memberJson);
    const nowMs = this.#options.clock.nowMs();
    await this.#send(term, "members", nowMs, { members }, `members ${term} ${nowMs}`, signal);
    this.#listedIn = term;
  }

  async #send(
    term: bigint,
    event: string,
    atMs: number,
    body: object,
    messageId: string,
    signal: AbortSignal,
  ): Promise<void> {
    const by = this.#options.membership.self.name;
    const text = JSON.stringify({ event, at: new Date(atMs).toISOString(), term: Number(term), by, ...body });
    await this.#options.bus.publish(`baton.cluster.${event}`, new TextEncoder().encode(text), { messageId, signal });
  }

  #forget(beforeMs: number): void {
    const kept = this.#waiting.findIndex(({ atMs }) => atMs >= beforeMs);
    this.#waiting.splice(0, kept < 0 ? this.#waiting.length : kept);
  }
}

function memberJson(member: ClusterMember): object {
  const { name, roles, state, load, services, labels, hosting, characteristics, gossip, incarnation } = member;
  return {
    name,
    roles,
    address: addressOf(member),
    state,
    load,
    services,
    labels,
    ...(roles.includes("tracker") && { hosting }),
    ...(characteristics && { cpus: characteristics.cpus, memoryMiB: characteristics.memoryMiB }),
    gossip,
    incarnation,
  };
}

/** Where its calls are answered, or where it gossips if it answers none. */
export function addressOf({ services, gossip }: ClusterMember): string {
  return services["grpc"] ?? gossip;
}
