/**
 * An agent as one that may host a tracker: its place among the members, the epochs that may name it, the tracker beside it.
 *
 * The agent is the member, whether its tracker runs or not; so shards can be placed with it before there is one.
 */
import { performance } from "node:perf_hooks";
import type { Registry } from "prom-client";
import { KvEpochLog } from "../../../src/bus/kv-epoch-log.ts";
import { connectBus, type NatsBus } from "../../../src/bus/nats.ts";
import { ClusterMembership, type Offer } from "../../../src/cluster/membership.ts";
import type { HostingReport } from "../../../src/node/status.ts";
import { shardsOf } from "../../../src/placement/assignment.ts";
import type { EpochLog } from "../../../src/placement/epoch-log.ts";
import type { Logger } from "../../../src/runtime/log.ts";
import { isAbort, sleep } from "../../../src/runtime/retry.ts";
import type { HostingPlan } from "./config.ts";
import { TrackerData } from "./tracker-data.ts";
import { type Named, TrackerKeeper } from "./tracker-keeper.ts";
import { TrackerProcess } from "./tracker-process.ts";

/**
 * How long it must have been draining before it says that nothing comes any more: an epoch that somebody has computed
 * before gossip told him is stored by then, or never (placer.ts: a turn of 1 s, and 5 s to store it).
 */
export const drainSettleMs = 8_000;
const lookMs = 500;

export class Hosting implements AsyncDisposable {
  readonly #plan: HostingPlan;
  readonly #membership: ClusterMembership;
  readonly #bus: NatsBus;
  readonly #epochs: KvEpochLog;
  readonly #keeper: TrackerKeeper;
  readonly #log: Logger;
  readonly #end = new AbortController();
  #tasks: readonly Promise<void>[] = [];
  #isToVacate = false;
  #isDrained = false;
  #takers = 0;
  #drainingSinceMs: number | undefined;
  #offered = "";
  #told = "";
  /** Called when what it reports is otherwise than before. */
  onChange: () => void = () => {};

  private constructor(plan: HostingPlan, membership: ClusterMembership, bus: NatsBus, log: Logger) {
    const { setup } = plan;
    this.#plan = plan;
    this.#membership = membership;
    this.#bus = bus;
    this.#log = log;
    this.#epochs = new KvEpochLog({
      bus,
      shards: setup.shards,
      log,
      onMalformed: (key, reason) => log.error({ key, reason }, "an epoch record can't be read, and is stepped over"),
    });
    this.#keeper = new TrackerKeeper({
      named: () => this.#named(),
      data: new TrackerData(setup.dataDirectory),
      start: (onReport) => new TrackerProcess({ setup, onReport, log }),
      onChange: () => this.#look(),
      log,
    });
  }

  /** Takes the gossip's ports. Rejects with a ServiceError. */
  static async open(plan: HostingPlan, log: Logger): Promise<Hosting> {
    const { setup, gossip: section, readiness: hosting } = plan;
    const { name, endpoint, nats } = setup;
    let load = (): number => 0;
    const membership = await ClusterMembership.open({
      ...{ name, section, log, hosting },
      roles: ["agent", "tracker"],
      services: { grpc: endpoint },
      loadElsewhere: () => load(),
    });
    const host = new Hosting(plan, membership, connectBus({ servers: nats.servers, name: `host ${name}` }), log);
    load = () => host.#keeper.report?.load ?? 0;
    return host;
  }

  get epochs(): EpochLog {
    return this.#epochs;
  }

  get tracker(): TrackerKeeper {
    return this.#keeper;
  }

  registerGossip(registry: Registry): void {
    this.#membership.register(registry);
  }

  /** From now on it is a member, and hosts what epochs give it. Once; `fail`: it can't go on. */
  begin(fail: (error: Error) => void): void {
    const { signal } = this.#end;
    this.#membership.join();
    const tasks = [this.#epochs.run(signal), this.#follow(signal), this.#keeper.run(signal), this.#watch(signal)];
    this.#tasks = tasks.map((task) => task.catch((error: unknown) => fail(asError(error))));
    this.#look();
  }

  /** The host is to go, or is not. `isFinal`: what was begun is not taken back while this process lives. */
  vacate(wanted: boolean, isFinal: boolean): void {
    this.#isToVacate = wanted || (this.#isToVacate && isFinal);
    this.#look();
  }

  /** An operator wants it so; until the agent is started anew. */
  drain(): void {
    this.#isDrained = true;
    this.#look();
  }

  report(): HostingReport {
    const { readiness } = this.#plan;
    const { shards } = this.#named();
    const held = this.#keeper.report?.shards ?? [];
    return {
      readiness: this.#drains ? "draining" : readiness,
      shards: [...new Set([...shards, ...held])].sort((a, b) => a - b),
      vacated: this.#isVacated(),
      takers: this.#takers,
    };
  }

  /** Why what it should host is not there; empty: nothing is wrong. */
  troubles(): readonly string[] {
    const { isNeeded, report, restarts } = this.#keeper;
    if (!this.#keeper.offers)
      return [
        `the tracker beside this agent has died ${restarts.total} times: its log says why; others get its shards`,
      ];
    if (!isNeeded || (report === undefined && restarts.total === 0)) return [];
    return report === undefined ? ["the tracker beside this agent is being started again"] : [];
  }

  /** Others hear that it goes, while the tracker still answers; then that ends. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.onChange = () => {};
    await this.#membership[Symbol.asyncDispose]();
    this.#end.abort(new Error("hosting has ended"));
    await Promise.all(this.#tasks);
    await this.#bus[Symbol.asyncDispose]();
  }

  get #drains(): boolean {
    return this.#isToVacate || this.#isDrained;
  }

  #named(): Named {
    const { current } = this.#epochs;
    return { epoch: current?.epoch, shards: current === undefined ? [] : shardsOf(current, this.#plan.setup.name) };
  }

  #isVacated(): boolean {
    const sinceMs = this.#drainingSinceMs;
    if (sinceMs === undefined || performance.now() - sinceMs < drainSettleMs) return false;
    return this.#bus.connected && this.#keeper.isIdle;
  }

  #countTakers(): number {
    const { name } = this.#plan.setup;
    return this.#membership
      .members()
      .filter((member) => member.name !== name && member.state === "alive")
      .filter(({ roles, hosting }) => roles.includes("tracker") && hosting === "ready").length;
  }

  async #follow(signal: AbortSignal): Promise<void> {
    try {
      for await (const _ of this.#epochs.changes(signal)) {
        this.#keeper.look();
        this.#look();
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  /** For what changes by time alone, or is told of by nobody. */
  async #watch(signal: AbortSignal): Promise<void> {
    try {
      for (;;) {
        await sleep(lookMs, signal);
        this.#look();
      }
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  /** Says what has changed, to the members and to the coordinator. */
  #look(): void {
    if (this.#tasks.length === 0 || this.#end.signal.aborted) return;
    const offer = this.#offer();
    const text = JSON.stringify(offer);
    if (text !== this.#offered) {
      this.#offered = text;
      this.#membership.offer(offer);
      this.#log.info(offer, "what this agent offers to host is told to the members");
    }
    const drains = offer.hosting === "draining";
    this.#drainingSinceMs = drains ? (this.#drainingSinceMs ?? performance.now()) : undefined;
    this.#takers = drains ? this.#countTakers() : 0;
    const report = JSON.stringify(this.report());
    if (report === this.#told) return;
    this.#told = report;
    this.onChange();
  }

  /** Whose tracker can't run is no candidate: its shards go to others, as if it were dead. */
  #offer(): Offer {
    const { setup, readiness } = this.#plan;
    const hosting = this.#drains ? "draining" : readiness;
    if (!this.#keeper.offers) return { roles: ["agent"], services: {}, hosting };
    return { roles: ["agent", "tracker"], services: { grpc: setup.endpoint }, hosting };
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
