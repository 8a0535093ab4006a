/**
 * Drives remaps while this coordinator leads: events in, through the pure machine, effects out.
 *
 * Invariants: a record is stored before what rests on it is projected, but for `store-after`; one write of a remap is
 * in flight at a time; what arrives meanwhile is looked at again when it is done. A write that fails ends the leadership:
 * nothing that is decided here could be trusted any more.
 */
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { ShardPosition } from "../node/state.ts";
import type { NodeHello, NodeStatus } from "../node/status.ts";
import { step } from "../remap/machine.ts";
import { hasEnded } from "../remap/phase.ts";
import type { RemapRecord } from "../remap/record.ts";
import { type RemapState, takeUp } from "../remap/record.ts";
import type { Bounds, Effect, RemapEvent } from "../remap/transition.ts";
import { remapOf } from "../remap/view.ts";
import type { Logger } from "../runtime/log.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { FencedNode, NodeSession } from "./fenced-node.ts";
import { Inquiries } from "./inquiries.ts";
import { type Answer, accept, type ConductorPorts, reject, StoreFault } from "./ports.ts";

export type RemapCommand = Extract<RemapEvent, { kind: "abort" | "cut" | "release" | "deadline" }>;

/** Requests that wait for a write of the same remap. */
const waitingCommandsMax = 64;
/** Rounds in which one change may cause another; more would be a circle in the machine. */
const roundsMax = 100_000;

interface Waiting {
  readonly event: RemapEvent;
  readonly answer: (answer: Answer<Outcome>) => void;
}

/** What a command has led to: the remap as it is then, and whether the machine wants it moved back. */
export interface Outcome {
  readonly state: RemapState;
  readonly back: boolean;
}

export class Conductor {
  readonly #cluster: ClusterState;
  readonly #ports: ConductorPorts;
  readonly #bounds: Bounds;
  readonly #log: Logger;
  readonly #inquiries: Inquiries;
  readonly #writing = new Map<string, Waiting[]>();
  readonly #writes = new Map<string, Promise<void>>();
  readonly #dirty = new Set<string>();
  /** Steps of open remaps that the log has told of. */
  readonly #logged = new Map<string, number>();
  readonly #stopListeners = new Set<() => void>();
  #pumping = false;
  #stopped = false;

  constructor(cluster: ClusterState, ports: ConductorPorts, bounds: Bounds, log: Logger) {
    this.#cluster = cluster;
    this.#ports = ports;
    this.#bounds = bounds;
    this.#log = log;
    this.#inquiries = new Inquiries(ports, (id, event) => this.#dispatch(id, event));
  }

  /** Nothing is sent, stored or answered from now on. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#inquiries.stop();
    for (const listener of this.#stopListeners) listener();
    for (const node of this.#cluster.nodes.values())
      node.end({ code: "NOT_LEADER", message: "this coordinator no longer leads: connect again" });
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Calls back when this leadership ends. */
  onStop(listener: () => void): Disposable {
    this.#stopListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#stopListeners.delete(listener) };
  }

  connect(hello: NodeHello, session: NodeSession): void {
    // A stream that nobody ends would keep the node here, without orders, for as long as this process lives.
    if (this.#isOver()) {
      session.end(noLongerLeader);
      return;
    }
    const node = this.#cluster.node(hello.name, hello.kind);
    if (node.kind !== hello.kind) {
      session.end({
        code: "INVALID_ARGUMENT",
        message: `${hello.name} is the name of an ${node.kind}: choose another`,
      });
      return;
    }
    const rival = node.rivalOf(hello);
    if (rival !== undefined) {
      this.#log.warn({ node: hello.name, from: hello.privateAddresses }, "a node is refused: another has its name");
      session.end({ code: "INVALID_ARGUMENT", message: rival });
      return;
    }
    const newer = node.connect(hello, session, this.#ports.clock.nowMs());
    if (newer !== undefined) {
      this.#lose(`${hello.name} obeys term ${newer.term} of ${newer.leader}`, newer.term);
      return;
    }
    this.#cluster.noteFacts(node);
    this.#noteHeldBack(node, undefined);
    this.#register(hello);
    this.#cluster.projectNode(hello.name);
    this.#log.info({ node: hello.name, kind: hello.kind, version: hello.version }, "node connected");
    this.observeAll();
  }

  report(name: string, session: NodeSession, status: NodeStatus): void {
    const node = this.#cluster.nodes.get(name);
    if (this.#isOver() || node === undefined) return;
    const before = node.unexplained;
    const newer = node.report(session, status, this.#ports.clock.nowMs());
    if (newer !== undefined) {
      this.#lose(`${name} obeys term ${newer.term} of ${newer.leader}`, newer.term);
      return;
    }
    this.#noteHeldBack(node, before);
    this.#cluster.noteFacts(node);
    this.#observeFor(node);
  }

  disconnect(name: string, session: NodeSession): void {
    const node = this.#cluster.nodes.get(name);
    if (this.#stopped || node === undefined || !node.disconnect(session)) return;
    this.#cluster.noteFacts(node);
    this.#log.warn({ node: name }, "node disconnected");
    this.#observeFor(node);
  }

  /** Looks at every open remap; also the way in which time passes. */
  observeAll(): void {
    for (const { record } of this.#cluster.openRemaps()) this.#dirty.add(record.id);
    this.#pump();
  }

  /** A drain does not depend on gateways, and only on the agents that take part. */
  #observeFor({ name, kind }: FencedNode): void {
    for (const state of this.#cluster.openRemaps()) {
      const { record } = state;
      const concerned =
        kind === "gateway"
          ? record.phase.kind !== "draining"
          : record.source === name ||
            record.owners.some(({ owner }) => owner === name) ||
            this.#cluster.view(state).later.holder === name ||
            record.target === name;
      if (concerned) this.#dirty.add(record.id);
    }
    this.#pump();
  }

  /** Stores an entry of the inventory and puts it in force. */
  async change(entry: InventoryEntry): Promise<Answer<InventoryEntry>> {
    try {
      await this.#ports.store.putInventory(entry);
    } catch (error) {
      return this.#storeFailed(error);
    }
    if (this.#isOver()) return reject(noLongerLeader);
    // It may have connected while its removal was being stored; coming again makes it known again.
    if (entry.kind === "node-removed") this.#cluster.nodes.get(entry.name)?.end(removed(entry.name));
    this.#cluster.apply(entry);
    const agent = entry.kind === "address-set" ? [entry.record.instance] : [];
    const all = entry.kind === "address-removed" ? this.#cluster.nodes.keys() : agent;
    this.#cluster.project(all, true);
    this.observeAll();
    return accept(entry);
  }

  /** Stores that whatever the nodes hold may be replaced, and gives those that were held back their orders. */
  async beginAnew(): Promise<Answer<readonly string[]>> {
    try {
      if (this.#cluster.acceptedTerm < this.#cluster.term) await this.#ports.store.putAccepted(this.#cluster.term);
    } catch (error) {
      return this.#storeFailed(error);
    }
    if (this.#isOver()) return reject(noLongerLeader);
    const released = this.#cluster.acceptAll();
    this.#log.warn({ nodes: released }, "an operator has begun anew: these nodes get their orders");
    this.observeAll();
    return accept(released);
  }

  /** Stores a new remap and begins. */
  async begin(record: RemapRecord): Promise<Answer<RemapState>> {
    try {
      await this.#ports.store.putRemap(record);
    } catch (error) {
      return this.#storeFailed(error);
    }
    if (this.#isOver()) return reject(noLongerLeader);
    const state = takeUp(record, false);
    this.#commit(state);
    this.observeAll();
    return accept(state);
  }

  command(id: string, event: RemapCommand): Promise<Answer<Outcome>> {
    const { promise, resolve } = Promise.withResolvers<Answer<Outcome>>();
    const queue = this.#writing.get(id);
    if (queue === undefined) this.#dispatch(id, event, resolve);
    else if (queue.length < waitingCommandsMax) queue.push({ event, answer: resolve });
    else
      resolve(reject({ code: "LIMIT_EXCEEDED", message: `remap ${id} has ${queue.length} requests waiting: retry` }));
    return promise;
  }

  #pump(): void {
    if (this.#pumping || this.#isOver()) return;
    this.#pumping = true;
    try {
      for (let round = 0; this.#dirty.size > 0 && !this.#stopped; round++) {
        if (round > roundsMax) throw new Error("remaps change each other without end");
        const [id] = this.#dirty;
        if (id === undefined) return;
        this.#dirty.delete(id);
        if (!this.#writing.has(id)) this.#step(id, { kind: "observed" });
      }
    } finally {
      this.#pumping = false;
    }
  }

  #dispatch(id: string, event: RemapEvent, answer?: Waiting["answer"]): void {
    const queue = this.#writing.get(id);
    if (queue !== undefined) {
      queue.push({ event, answer: answer ?? (() => undefined) });
      return;
    }
    this.#step(id, event, answer);
    this.#dirty.add(id);
    this.#pump();
  }

  #step(id: string, event: RemapEvent, answer?: Waiting["answer"]): void {
    const state = this.#cluster.remaps.get(id);
    if (state === undefined || this.#isOver()) {
      answer?.(reject(state === undefined ? unknownRemap(id) : noLongerLeader));
      return;
    }
    // Of a remap that has ended the address may have been removed since.
    if (this.#cluster.chain(state.record.address) === undefined) {
      answer?.(reject(addressGone(state.record)));
      return;
    }
    const { clock } = this.#ports;
    const now = { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
    const result = step(state, event, { view: this.#cluster.view(state), now, bounds: this.#bounds });
    if (result.refusal !== undefined) {
      answer?.(reject(result.refusal));
      return;
    }
    const back = result.effects.some(({ kind }) => kind === "remap-back");
    if (result.effects.some(({ kind }) => kind === "store")) {
      void this.#storeThenCommit(result.state, result.effects).then((stored) =>
        answer?.(stored ? accept({ state: result.state, back }) : reject(storeLost)),
      );
      return;
    }
    this.#commitIfChanged(state, result.state);
    for (const effect of result.effects) this.#perform(effect, result.state);
    answer?.(accept({ state: result.state, back }));
  }

  async #storeThenCommit(state: RemapState, effects: readonly Effect[]): Promise<boolean> {
    const { id } = state.record;
    this.#writing.set(id, []);
    const places = effects.flatMap((effect) => (effect.kind === "place" ? [effect.record] : []));
    try {
      await this.#writes.get(id);
      for (const record of places) await this.#ports.store.putInventory({ kind: "address-set", record });
      await this.#ports.store.putRemap(state.record);
    } catch (error) {
      for (const { answer } of this.#endWriting(id)) answer(reject(noLongerLeader));
      this.#storeFailed(error);
      return false;
    }
    const waiting = this.#endWriting(id);
    if (this.#isOver()) {
      for (const { answer } of waiting) answer(reject(noLongerLeader));
      return false;
    }
    for (const record of places) this.#cluster.apply({ kind: "address-set", record });
    const { clock } = this.#ports;
    const now = { wallMs: clock.nowMs(), monotonicMs: clock.monotonicMs() };
    const committed = step(state, { kind: "committed" }, { view: this.#viewOf(state), now, bounds: this.#bounds });
    this.#commit(committed.state);
    for (const { event, answer } of waiting) this.#dispatch(id, event, answer);
    this.observeAll();
    return true;
  }

  #endWriting(id: string): readonly Waiting[] {
    const waiting = this.#writing.get(id) ?? [];
    this.#writing.delete(id);
    return waiting;
  }

  /** The view as it is once the state is in force. */
  #viewOf(state: RemapState): ReturnType<ClusterState["view"]> {
    this.#cluster.putRemap(state);
    return this.#cluster.view(state);
  }

  /** What was only noted in memory changes nobody's orders, but for proofs, which wait until both ends are up. */
  #commitIfChanged(before: RemapState, state: RemapState): void {
    if (before === state) return;
    if (before.record !== state.record || before.live.linksUp !== state.live.linksUp) this.#commit(state);
    else this.#cluster.putRemap(state);
    this.#ports.events.remapChanged(remapOf(state));
  }

  #commit(state: RemapState): void {
    const { record } = state;
    this.#cluster.putRemap(state);
    const agents = [record.source, record.target, ...record.owners.map(({ owner }) => owner)];
    const siblings = this.#cluster.remapsOf(record.address).filter((other) => !hasEnded(other.record));
    const related = siblings.flatMap((other) => [other.record.source, other.record.target]);
    const { holder } = this.#cluster.view(state).later;
    this.#cluster.project([...agents, holder, ...related], true);
    for (const other of siblings) if (other.record.id !== record.id) this.#dirty.add(other.record.id);
    if (this.#logged.get(record.id) !== record.step) {
      this.#logged.set(record.id, record.step);
      this.#log.info({ remap: record.id, address: record.address, ...describe(record) }, "remap moved on");
    }
    if (hasEnded(record)) this.#logged.delete(record.id);
    this.#ports.events.remapChanged(remapOf(state));
  }

  #perform(effect: Effect, state: RemapState): void {
    const { id, address, source, target, generation } = state.record;
    switch (effect.kind) {
      case "store-after":
        this.#storeAfter(state.record);
        return;
      case "barrier":
        this.#inquiries.barrier(id, effect.id, effect.positions as readonly ShardPosition[]);
        return;
      case "count":
        this.#inquiries.count(id, address, source);
        return;
      case "own":
        this.#inquiries.own(id, address, target, generation);
        return;
      case "store":
      case "place":
      case "remap-back":
        return;
      default:
        effect satisfies never;
    }
  }

  #storeAfter(record: RemapRecord): void {
    const before = this.#writes.get(record.id) ?? Promise.resolve();
    const write = before.then(() => this.#ports.store.putRemap(record));
    const settled = write.catch((error: unknown) => void this.#storeFailed(error));
    this.#writes.set(record.id, settled);
    void settled.then(() => this.#writes.get(record.id) === settled && this.#writes.delete(record.id));
  }

  #noteHeldBack({ name, unexplained }: FencedNode, before: string | undefined): void {
    if (unexplained !== undefined && unexplained !== before)
      this.#log.error({ node: name }, `a node is held back, and gets no orders: ${unexplained}`);
  }

  /** A node's first sight, or a new set of private addresses, is written down; what it says counts at once. */
  #register(hello: NodeHello): void {
    const known = this.#cluster.inventory.nodes.get(hello.name);
    const { name, kind, privateAddresses, version } = hello;
    const same = known?.version === version && known.privateAddresses.join() === privateAddresses.join();
    if (same) return;
    const firstSeenMs = known?.firstSeenMs ?? this.#ports.clock.nowMs();
    const entry = { kind: "node-set", record: { name, kind, privateAddresses, version, firstSeenMs } } as const;
    void this.change(entry);
  }

  #storeFailed<T>(error: unknown): Answer<T> {
    if (!(error instanceof StoreFault)) throw error;
    this.#lose(error.message);
    return reject({ code: "STORE_UNAVAILABLE", message: error.message });
  }

  /** A process that was paused may wake up long after its lease: asked before anything is done. */
  #isOver(): boolean {
    if (!this.#stopped && !this.#ports.leads()) this.#lose("the lease has run out");
    return this.#stopped;
  }

  #lose(reason: string, heard?: bigint): void {
    if (this.#stopped) return;
    this.stop();
    this.#ports.lost(reason, heard);
  }
}

const noLongerLeader = { code: "NOT_LEADER", message: "this coordinator no longer leads: ask again" } as const;
const storeLost = {
  code: "STORE_UNAVAILABLE",
  message: "the store did not take the change, so whether it holds is not known: ask another coordinator",
} as const;

function unknownRemap(id: string) {
  return { code: "UNKNOWN_REMAP", message: `there is no remap ${id}: baton remaps list shows all` } as const;
}

function addressGone({ id, address, phase: { kind } }: RemapRecord) {
  return { code: "UNKNOWN_ADDRESS", message: `remap ${id} is ${kind}, and ${address} is no longer mapped` } as const;
}

function removed(name: string) {
  return { code: "INVALID_ARGUMENT", message: `${name} was removed while it connected: connect again` } as const;
}

function describe({ phase, step: number }: RemapRecord): Readonly<Record<string, string | number>> {
  const stage = phase.kind === "switching" ? { stage: phase.stage } : {};
  const why = phase.kind === "aborting" ? { code: phase.why.code, why: phase.why.message } : {};
  return { phase: phase.kind, ...stage, ...why, step: number };
}
