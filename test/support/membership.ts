/** Members of a cluster, and one's belief in them, without any gossip. */
import type { ClusterMember, Membership, MembershipChange } from "../../src/cluster/membership.ts";
import { BoundedQueue } from "../../src/runtime/queue.ts";

export function member(name: string, state: ClusterMember["state"] = "alive", incarnation = 1): ClusterMember {
  const labels = { zone: "a" };
  const characteristics = { cpus: 2, memoryMiB: 4_096 };
  const services = { grpc: `${name}:1` };
  return {
    name,
    roles: ["tracker"],
    state,
    load: 0,
    services,
    labels,
    hosting: "ready",
    characteristics,
    gossip: `${name}:2`,
    incarnation,
  };
}

/** What one coordinator believes, as the test says. */
export class Believed implements Membership {
  readonly self: ClusterMember;
  #known: readonly ClusterMember[];
  readonly #changes = new BoundedQueue<MembershipChange>(100);

  constructor(self: string, known: readonly ClusterMember[]) {
    this.self = member(self);
    this.#known = known;
  }

  members(): readonly ClusterMember[] {
    return this.#known;
  }

  /** From now on, without anybody being told. */
  become(known: readonly ClusterMember[]): void {
    this.#known = known;
  }

  happens(...changes: readonly MembershipChange[]): void {
    for (const change of changes) this.#changes.push(change);
  }

  async *changes(signal: AbortSignal): AsyncGenerator<MembershipChange, void, undefined> {
    yield { kind: "members", members: this.#known };
    for (;;) yield* await this.#changes.takeAll(signal);
  }
}
