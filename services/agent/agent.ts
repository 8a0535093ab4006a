/**
 * The agent: takes desired states, one at a time, and says what this host is.
 *
 * Owns the state that is applied, with its fence, and the order in which the agent's parts learn of a new one.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { checkAgentState } from "../../src/dataplane/agent-check.ts";
import type { ConntrackUsage } from "../../src/kernel/conntrack.ts";
import { type Fence, type FenceVerdict, judgeFence } from "../../src/node/fence.ts";
import type { AgentAddress, AgentState, ChannelKind } from "../../src/node/state.ts";
import type { NodeFault, NodeStatus } from "../../src/node/status.ts";
import type { BatonError } from "../../src/remap/error.ts";
import type { DesiredStateOf } from "../../src/rpc/desired-state.ts";
import type { KeptState } from "../../src/runtime/kept-state.ts";
import type { Logger } from "../../src/runtime/log.ts";
import type { DrainWatch } from "./drain-watch.ts";
import { EmptiedSets } from "./emptied-sets.ts";
import type { FlowObserver } from "./flow-observer.ts";
import type { FollowSets } from "./follow-sets.ts";
import type { Hosting } from "./hosting/hosting.ts";
import type { KernelState } from "./kernel-state.ts";
import { LinkCounters } from "./link-counters.ts";
import type { LinkProbes } from "./link-probes.ts";
import type { Marks } from "./marks.ts";
import type { OfflineHook } from "./offline-hook.ts";
import { OwnConnections, type OwnConnectionsParts } from "./own-connections.ts";
import type { UnknownPackets } from "./unknown-packets.ts";

export type AgentDesired = DesiredStateOf<"agent">;

export interface AgentParts extends OwnConnectionsParts {
  readonly kernel: KernelState;
  readonly observer: FlowObserver;
  readonly followSets: FollowSets;
  readonly unknownPackets: UnknownPackets;
  readonly drainWatch: DrainWatch;
  readonly marks: Marks;
  readonly offlineHook: OfflineHook;
  /** Undefined: no tracker may run beside it. */
  readonly hosting: Pick<Hosting, "report" | "vacate"> | undefined;
  readonly linkProbes: LinkProbes;
  readonly channels: readonly ChannelKind[];
  /** The state on the disk. */
  readonly kept: KeptState<AgentDesired>;
  /** How full the kernel's connection table is; undefined: it has none. */
  trackedConnections(): ConntrackUsage | undefined;
  report(status: NodeStatus): void;
  readonly log: Logger;
}

/** With a table fuller than this, new connections might find no place in it once everything new comes here. */
const trackedShareMax = 0.75;
const digestOfNothing = "00".repeat(32);
/** Between two looks whether the rules are still in the kernel: a second. */
const mendTicks = 4;
/** Between two tries to apply the last state of before a reboot, where the host is not ready for it yet. */
const resumeRetryTicks = 20;

export class Agent {
  readonly #parts: AgentParts;
  #held: AgentDesired | undefined;
  /** The state on the disk, as long as the kernel could not be brought into it. */
  #pending: AgentDesired | undefined;
  #ticks = 0;
  #rewritten = 0;
  #emptied = new EmptiedSets();
  #fault: NodeFault | undefined;
  readonly #links: LinkCounters;
  readonly #own: OwnConnections;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    this.#links = new LinkCounters(parts.kernel, parts.linkProbes);
    this.#own = new OwnConnections(parts);
  }

  get fence(): Fence | undefined {
    return this.#held?.fence;
  }

  /**
   * What a coordinator's next state has to go beyond. Of a kernel that is ahead of the disk only the fence is known: with
   * a digest that no state has, so that the state is sent whole. Untold, a leader that is new would begin below it, and be
   * refused for ever.
   */
  get standing(): Fence | undefined {
    const left = this.#held === undefined ? this.#parts.kernel.fence : undefined;
    return left === undefined ? this.fence : { ...left, digest: digestOfNothing };
  }

  /** The kernel has what it was given. */
  get stands(): boolean {
    return this.#parts.kernel.stands();
  }

  /** Times that rules which somebody had removed were written again. */
  get rewritten(): number {
    return this.#rewritten;
  }

  /** The kernel has a state that the disk does not take. */
  get unkept(): boolean {
    return this.#parts.kept.behind;
  }

  get state(): AgentState | undefined {
    return this.#held?.state;
  }

  /**
   * Applies again what was applied before the process started. Where the kernel has got further than the disk, it keeps
   * what it has until the coordinator has sent the same again. Where this host can't have the state yet, for a device of
   * its own is late, it is tried again.
   */
  resume(stored: AgentDesired): void {
    const standing = this.#parts.kernel.fence;
    if (standing === undefined) this.#emptied = new EmptiedSets(stored.state);
    else if (judgeFence(standing, stored.fence).kind === "refuse") {
      const { generation } = standing;
      this.#parts.log.warn({ generation }, "the kernel is ahead of the disk: waiting for a coordinator");
      return;
    }
    this.#pending = stored;
    this.#resumePending();
  }

  /**
   * Applies a state, or refuses it. The coordinator is told as soon as the kernel has it, for a switch waits for that; the
   * agent's other parts and the disk follow. The disk is for a reboot of this host: the order itself is kept by the
   * coordinator, and its fence by the kernel.
   */
  async take(desired: AgentDesired): Promise<void> {
    this.#mend();
    const verdict = this.#judge(desired.fence);
    if (verdict.kind === "refuse") this.#refuse({ code: "INVALID_ARGUMENT", message: verdict.reason }, desired.fence);
    const applied = verdict.kind !== "refuse" && this.#apply(desired);
    this.report();
    if (!applied) return;
    await nextTurn();
    this.#tell(desired.state);
    this.report();
    await this.#parts.kept.keep(desired);
  }

  /** Looks at what changes without a new state: connections, counters, listeners. */
  tick(): void {
    this.#parts.observer.tick();
    this.#ticks++;
    if (this.#ticks % mendTicks === 0) this.#mend();
    if (this.#pending !== undefined && this.#ticks % resumeRetryTicks === 0) this.#resumePending();
    const state = this.state;
    if (state === undefined) return;
    try {
      this.#own.syncBoundPorts(state);
      const drained = this.#parts.drainWatch.count(state);
      if (this.#links.count(state) || drained) this.report();
    } catch (error) {
      // The rules may have gone since the last look.
      if (!this.#mend()) throw error;
    }
  }

  /** Flows of an owner are loaded from the tracker. */
  loaded(): void {
    const changed = this.#emptied.filled(this.#parts.followSets.loads().map(({ id }) => id));
    if (changed && this.#held !== undefined) this.#apply(this.#held);
    this.report();
  }

  report(): void {
    const { marks, followSets, drainWatch, offlineHook, hosting } = this.#parts;
    this.#parts.report({
      ...(this.fence !== undefined && { applied: this.fence }),
      faults: this.#fault === undefined ? [] : [this.#fault],
      marks: marks.reports(),
      loads: followSets.loads(),
      proofs: [],
      drains: drainWatch.reports(),
      links: this.#links.reports(),
      retired: [],
      hooks: offlineHook.reports(),
      ...(hosting !== undefined && { hosting: hosting.report() }),
    });
  }

  /**
   * Writes again what somebody has removed from the kernel: the rules of the state held, and the sets from those who know.
   * What the kernel had learnt by itself it learns again. True: so it was.
   */
  #mend(): boolean {
    const { kernel, observer, followSets, log } = this.#parts;
    if (kernel.stands()) return false;
    log.error("somebody has removed baton's rules from the kernel: writing them again");
    kernel.reread();
    this.#own.forget();
    const held = this.#held;
    if (held === undefined) kernel.begin();
    else {
      this.#emptied = new EmptiedSets(held.state);
      if (!this.#apply(held)) return true;
      for (const address of held.state.addresses) this.#own.keep(address);
      this.#own.syncBoundPorts(held.state);
      followSets.refill(held.state.addresses);
    }
    this.#rewritten++;
    // Without rules that track them, connections came and went unheard.
    observer.onOverflow();
    this.report();
    return true;
  }

  #resumePending(): void {
    const stored = this.#pending;
    if (stored === undefined || !this.#apply(stored)) return;
    this.#tell(stored.state);
    this.report();
  }

  /**
   * A state on the disk that could not be applied counts as well. Not so for a newer leader: it can't know that
   * generation from a node that does not have it, and would be refused for ever.
   */
  #judge(offered: Fence): FenceVerdict {
    const held = this.fence ?? this.#parts.kernel.fence;
    const pending = this.#pending?.fence;
    return judgeFence(held ?? (pending !== undefined && offered.term <= pending.term ? pending : undefined), offered);
  }

  /** True: the kernel has it. */
  #apply(desired: AgentDesired): boolean {
    const { state, fence } = desired;
    const fault = this.#refusal(state) ?? this.#bringAbout(state, fence);
    if (fault !== undefined) {
      this.#refuse(fault, fence);
      return false;
    }
    this.#held = desired;
    this.#pending = undefined;
    this.#fault = undefined;
    this.#parts.log.info(
      { generation: fence.generation, term: fence.term, links: state.links.length },
      "state applied",
    );
    return true;
  }

  /** Why nothing of the state may be applied. */
  #refusal(state: AgentState): BatonError | undefined {
    const { kernel, channels } = this.#parts;
    const addresses = new Set(kernel.devices().flatMap((device) => device.addresses.map(({ address }) => address)));
    const begins = state.addresses.some((address) => this.#isNewlyFollowing(address));
    const crowd = begins ? crowdedTracking(this.#parts.trackedConnections()) : undefined;
    return checkAgentState(state, { addresses, channels }) ?? crowd;
  }

  #bringAbout(state: AgentState, fence: Fence): BatonError | undefined {
    const newlyFollowing = state.addresses.filter((address) => this.#isNewlyFollowing(address));
    try {
      this.#parts.kernel.apply(this.#emptied.spare(state), fence);
      for (const address of newlyFollowing) this.#own.keep(address);
      return undefined;
    } catch (error) {
      this.#parts.log.error({ error, generation: fence.generation }, "the state could not be applied");
      return { code: "NODE_FAILED", message: error instanceof Error ? error.message : String(error) };
    }
  }

  #tell(state: AgentState): void {
    const { observer, followSets, unknownPackets, marks, drainWatch, offlineHook, hosting } = this.#parts;
    this.#own.syncBoundPorts(state);
    observer.watch(state);
    unknownPackets.watch(state);
    followSets.sync(state.addresses);
    marks.sync(state.marks);
    drainWatch.count(state);
    offlineHook.sync(state.offline);
    hosting?.vacate(state.vacate === true, offlineHook.isDone);
  }

  #isNewlyFollowing(address: AgentAddress): boolean {
    const before = this.state?.addresses.find((known) => known.address === address.address)?.follows ?? [];
    return address.follows.some((follow) => !before.some((known) => known.link === follow.link));
  }

  #refuse(error: BatonError, fence: Fence): void {
    this.#parts.log.warn({ ...error, generation: fence.generation, term: fence.term }, "state refused");
    this.#fault = { ...error, fence };
  }
}

function crowdedTracking(usage: ConntrackUsage | undefined): BatonError | undefined {
  if (usage === undefined || usage.count <= usage.max * trackedShareMax) return undefined;
  const message = `${usage.count} of ${usage.max} tracked connections are in use; raise net.netfilter.nf_conntrack_max first`;
  return { code: "LIMIT_EXCEEDED", message };
}
