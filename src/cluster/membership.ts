/**
 * The members of the cluster, as this process believes: who they are, what they offer, how busy they are.
 *
 * Owns this process's place in the gossip: it joins through any seed, tells its load, and leaves when it is disposed of. Until it
 * joins it is no member, so that nobody is told of services that do not answer yet.
 * Whoever places work asks {@link Membership.members}, and waits for {@link Membership.changes}.
 */
import type { Registry } from "prom-client";
import { Gauge } from "prom-client";
import { type GossipConfig, lanConfig } from "../gossip/config.ts";
import type { FeedEvent } from "../gossip/edge/event-feed.ts";
import { Keyring } from "../gossip/edge/keyring.ts";
import { registerGossipMetrics } from "../gossip/edge/metrics.ts";
import { Gossip } from "../gossip/edge/node.ts";
import { openSockets } from "../gossip/edge/sockets.ts";
import { loadLevels, type Member, type MemberState } from "../gossip/member.ts";
import { decodeMetadata, encodeMetadata, type MemberRole } from "../gossip/metadata.ts";
import type { HostingReadiness } from "../placement/candidate.ts";
import { type Clock, systemClock } from "../runtime/clock.ts";
import { listenFault } from "../runtime/listen-fault.ts";
import type { Logger } from "../runtime/log.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import { ServiceError } from "../runtime/service-error.ts";
import { type Characteristics, characteristics } from "./characteristics.ts";
import type { GossipSection } from "./config.ts";
import { LoadMeter, loadOf, smoothed } from "./load.ts";
import { literalSeeds, type Resolve, resolveBySystem, watchSeeds } from "./seeds.ts";

export interface ClusterMember {
  readonly name: string;
  readonly roles: readonly MemberRole[];
  readonly state: MemberState;
  /** 0 to 1, in steps of a seventh, as it told last. A change may have to wait for half a minute. */
  readonly load: number;
  /** Endpoints of its services: `grpc`. */
  readonly services: Readonly<Record<string, string>>;
  /** As configured: `zone` and others. */
  readonly labels: Readonly<Record<string, string>>;
  /** Whether it takes shards; of a tracker. */
  readonly hosting: HostingReadiness;
  /** Absent: it does not say. */
  readonly characteristics?: Characteristics;
  /** Where its gossip is reached. */
  readonly gossip: string;
  /** Raised by the member alone, with every start, refutation and change of what it says of itself. */
  readonly incarnation: number;
}

/** `conflict`: somebody at `claimant` calls itself by the name of a member that lives, or ours. */
export type MembershipChange =
  /** What holds now, whatever was told before: at the beginning, and after changes were missed. */
  | { readonly kind: "members"; readonly members: readonly ClusterMember[] }
  | {
      readonly kind: "joined" | "updated" | "load" | "suspect" | "refuted" | "dead" | "left";
      readonly member: ClusterMember;
    }
  | { readonly kind: "conflict"; readonly member: ClusterMember; readonly claimant: string };

/** All that others need; {@link ClusterMembership} is the real one. */
export interface Membership {
  readonly self: ClusterMember;
  /** Ourselves among them, and those who died or left within a day. */
  members(): readonly ClusterMember[];
  /** First `members`, then every change, in order. A slow reader misses some and gets `members` anew. */
  changes(signal: AbortSignal): AsyncGenerator<MembershipChange, void, undefined>;
}

/** What a member may say of itself otherwise while it runs. */
export interface Offer {
  readonly roles: readonly MemberRole[];
  readonly services: Readonly<Record<string, string>>;
  /** Absent: ready. */
  readonly hosting?: HostingReadiness;
}

export interface MembershipOptions extends Offer {
  readonly name: string;
  readonly section: GossipSection;
  readonly log: Logger;
  /** How busy what works for this member in other processes is, 0 to 1: its load is the highest of all. */
  readonly loadElsewhere?: () => number;
  /** The protocol's times; for tests. */
  readonly config?: GossipConfig;
  readonly clock?: Clock;
  readonly resolve?: Resolve;
}

const loadIntervalMs = 1_000;

export class ClusterMembership implements Membership, AsyncDisposable {
  readonly #gossip: Gossip;
  readonly #options: MembershipOptions;
  readonly #end = new AbortController();
  #tasks: readonly Promise<void>[] = [];
  #load = 0;
  #offer: Offer | undefined;

  private constructor(gossip: Gossip, options: MembershipOptions) {
    this.#gossip = gossip;
    this.#options = options;
  }

  /** To be called once, when the services answer; whoever is there is found later. */
  join(): void {
    const { section, log, resolve } = this.#options;
    const { signal } = this.#end;
    this.#gossip.start();
    log.info({ gossip: this.#gossip.self.profile.address, seeds: section.seeds.length }, "gossiping");
    this.#tasks = [
      this.#measure(signal),
      this.#logChanges(signal),
      watchSeeds({
        seeds: section.seeds,
        resolve: resolve ?? resolveBySystem,
        onSeeds: (seeds) => this.#gossip.setSeeds(seeds),
        log,
        signal,
      }),
    ];
    if (this.#offer !== undefined) this.offer(this.#offer);
  }

  /** From now on, or from when it joins, it says this of itself. Roles and services are some of those that it was opened with. */
  offer(offer: Offer): void {
    this.#offer = offer;
    if (this.#tasks.length === 0) return;
    this.#gossip.setMetadata(metadataOf({ ...this.#options, ...offer }));
  }

  /** Takes the gossip's ports. Rejects with a ServiceError. */
  static async open(options: MembershipOptions): Promise<ClusterMembership> {
    const { section, name } = options;
    const metadata = metadataOf(options);
    // What it may have to say later has room as well.
    metadataOf({ ...options, hosting: "draining" });
    const { host, port } = section.listen;
    const transport = await openSockets({ host, port }).catch((error: unknown) => {
      const cause = error instanceof Error ? error : new Error(String(error));
      throw new ServiceError(listenFault("gossip.listen", `${host}:${port}`, cause));
    });
    const gossip = new Gossip(
      {
        config: options.config ?? lanConfig,
        name,
        ...(section.advertise !== undefined && { advertise: section.advertise }),
        metadata,
        seeds: literalSeeds(section.seeds),
        envelope: envelopeOf(section),
        clock: options.clock ?? systemClock,
        random: Math.random,
      },
      transport,
    );
    return new ClusterMembership(gossip, options);
  }

  get self(): ClusterMember {
    return memberOf(this.#gossip.self);
  }

  members(): readonly ClusterMember[] {
    return this.#gossip.members().map(memberOf);
  }

  async *changes(signal: AbortSignal): AsyncGenerator<MembershipChange, void, undefined> {
    for await (const event of this.#gossip.events(signal)) yield changeOf(event);
  }

  register(registry: Registry): void {
    registerGossipMetrics(this.#gossip, registry);
    const load = (): number => this.#load;
    new Gauge({
      name: "baton_gossip_load",
      help: "Own load as measured, 0 to 1; others are told one of eight levels",
      registers: [registry],
      collect() {
        this.set(load());
      },
    });
  }

  /** Tells the others that we go, and ends when they know, or after five seconds. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new Error("the gossip was left"));
    await Promise.all(this.#tasks);
    await this.#gossip.leave();
    await this.#gossip[Symbol.asyncDispose]();
  }

  async #measure(signal: AbortSignal): Promise<void> {
    const { clock = systemClock, section, loadElsewhere = () => 0 } = this.#options;
    using meter = new LoadMeter();
    // Not what was measured first: what a start costs says nothing of what comes, and would be told for half a minute.
    let load = 0;
    let atMs = clock.monotonicMs();
    try {
      for (;;) {
        await sleep(loadIntervalMs, signal);
        const nowMs = clock.monotonicMs();
        const now = Math.max(loadOf(meter.sample(), section.load), loadElsewhere());
        load = smoothed(load, now, nowMs - atMs);
        atMs = nowMs;
        this.#load = load;
        this.#gossip.setLoad(load);
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  async #logChanges(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    try {
      for await (const change of this.changes(signal)) {
        if (change.kind === "members" || change.kind === "load") continue;
        const { name: member, gossip } = change.member;
        if (change.kind === "conflict")
          log.warn({ member, gossip, claimant: change.claimant }, "two members claim one name: rename one of them");
        else log.info({ member, gossip, change: change.kind }, "a member has changed");
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }
}

function metadataOf({ roles, services, hosting = "ready", section }: MembershipOptions): Uint8Array {
  const { cpus, memoryMiB } = characteristics();
  const labels = { ...section.labels, cpus: String(cpus), memoryMiB: String(memoryMiB) };
  const encoded = encodeMetadata({ roles, services, labels, hosting });
  if (!encoded.ok) throw new ServiceError(`gossip.labels: ${encoded.message}`);
  return encoded.bytes;
}

function envelopeOf({ label, encryption: { mode, keys } }: GossipSection) {
  if (keys.length === 0) return { label, mode, keyring: undefined };
  const keyring = Keyring.parse(keys);
  if (!keyring.ok) throw new ServiceError(`gossip.encryption.keys: ${keyring.message}`);
  return { label, mode, keyring: keyring.value };
}

function memberOf({ profile, state, incarnation, load }: Member): ClusterMember {
  const { roles, services, labels: told, hosting = "ready" } = decodeMetadata(profile.metadata);
  const { cpus, memoryMiB, ...labels } = told;
  const measured = { cpus: Number(cpus), memoryMiB: Number(memoryMiB) };
  const isMeasured = measured.cpus > 0 && measured.memoryMiB > 0;
  return {
    name: profile.name,
    roles,
    state,
    load: load / (loadLevels - 1),
    services,
    labels,
    hosting,
    ...(isMeasured && { characteristics: measured }),
    gossip: profile.address,
    incarnation,
  };
}

function changeOf(event: FeedEvent): MembershipChange {
  if (event.kind === "resync") return { kind: "members", members: event.members.map(memberOf) };
  if (event.kind === "conflict") return { kind: "conflict", member: memberOf(event.member), claimant: event.claimant };
  return { kind: event.kind, member: memberOf(event.member) };
}
