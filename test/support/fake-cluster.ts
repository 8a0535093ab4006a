/**
 * A coordinator's core with nodes, trackers and a store that do only what a test lets them do: states and statuses
 * wait in queues, to be delivered in any order, lost or repeated. Flows are numbers at instances.
 */
import pino from "pino";
import { ClusterState } from "../../src/coordinator/cluster-state.ts";
import { Conductor } from "../../src/coordinator/conductor.ts";
import type { NodeSession } from "../../src/coordinator/fenced-node.ts";
import { InventoryDesk } from "../../src/coordinator/inventory-desk.ts";
import {
  type Answer,
  type Audit,
  type AuditEntry,
  type ConductorPorts,
  StoreFault,
} from "../../src/coordinator/ports.ts";
import { RemapDesk } from "../../src/coordinator/remap-desk.ts";
import { type KnownTerm, nextTerm, TermHistory } from "../../src/coordinator/term-history.ts";
import { Turns } from "../../src/coordinator/turns.ts";
import { type IpAddress, parseIpAddress, parsePrefix } from "../../src/flow/address.ts";
import { applyEntry, emptyInventory, type Inventory, type InventoryEntry } from "../../src/inventory/inventory.ts";
import type { AgentState, GatewayState } from "../../src/node/state.ts";
import { type RemapRecord, takeUp } from "../../src/remap/record.ts";
import { defaultPolicy, type Remap, type RemapPolicy } from "../../src/remap/remap.ts";
import { FakeNode } from "./fake-node.ts";

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(text);
  return address;
}

export function prefix(text: string) {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

export const publicA = ip("203.0.113.10");
export const publicB = ip("203.0.113.11");

const config = {
  fabric: [prefix("10.77.0.0/24")],
  publicPrefixes: [prefix("203.0.113.0/24")],
  probeSource: ip("192.0.2.1"),
};

export const sourceLostMs = 60_000;

export interface FakeClusterOptions {
  readonly instances?: number;
  readonly gateways?: number;
}

interface PendingWrite {
  readonly apply: () => void;
  readonly done: (error?: StoreFault) => void;
}

export class FakeCluster {
  readonly agents: readonly FakeNode[];
  readonly gateways: readonly FakeNode[];
  readonly published: Remap[] = [];
  readonly audits: string[] = [];
  readonly auditEntries: AuditEntry[] = [];
  readonly ownerships: string[] = [];
  /** Writes wait here while true; else they are done at once. */
  slowStore = false;
  /** Barriers and counts wait here while true. */
  slowTracker = false;
  /** Of the leader that comes next. */
  trackersMs: number | undefined;
  /** Flows that the trackers know, when not simply those that are open. */
  tracked: number | undefined;
  nowMs = 1_000_000;
  lost: string | undefined;
  conductor!: Conductor;
  cluster!: ClusterState;
  remaps!: RemapDesk;
  inventory!: InventoryDesk;
  readonly #writes: PendingWrite[] = [];
  readonly #inquiries: (() => void)[] = [];
  #stored: { inventory: Inventory; remaps: Map<string, RemapRecord> } = {
    inventory: emptyInventory,
    remaps: new Map(),
  };
  /** Leases that the store has. */
  readonly terms = new Map<bigint, KnownTerm>();
  accepted = 0n;
  heard = 0n;
  #term = 0n;
  #ids = 0;

  constructor(options: FakeClusterOptions = {}) {
    const letters = "abcdefghijklmnopqrstuvwxyz".slice(0, options.instances ?? 2);
    const names = Array.from(letters, (letter) => `vm-${letter}`);
    this.agents = names.map((name, index) => new FakeNode(name, "agent", index + 11));
    this.gateways = Array.from(
      { length: options.gateways ?? 1 },
      (_, i) => new FakeNode(`gw${i + 1}`, "gateway", i + 1),
    );
    this.lead();
  }

  get nodes(): readonly FakeNode[] {
    return [...this.agents, ...this.gateways];
  }

  /** A new leader reads the store and takes over; the one before is heard of no more. */
  lead(): void {
    this.#writes.length = 0;
    this.#inquiries.length = 0;
    this.conductor?.stop();
    this.lost = undefined;
    this.#term = nextTerm(this.#term, this.heard);
    const name = `coordinator${this.#term}`;
    const lease = this.#term.toString(16).padStart(24, "0");
    const leadership = { term: this.#term, name, lease, history: new TermHistory(this.terms, this.accepted) };
    this.terms.set(this.#term, { leader: name, lease });
    const remaps = [...this.#stored.remaps.values()].map((record) => takeUp(record, true));
    this.cluster = new ClusterState(config, leadership, this.#stored.inventory, remaps);
    const ports = this.#ports(this.#term);
    const log = pino({ level: "silent" });
    const bounds = { preparingMs: 10_000, armingMs: 10_000, trackersMs: this.trackersMs, sourceLostMs };
    this.conductor = new Conductor(this.cluster, ports, bounds, log);
    const turns = new Turns();
    this.remaps = new RemapDesk(this.cluster, this.conductor, ports, turns);
    this.inventory = new InventoryDesk(this.cluster, this.conductor, turns);
    for (const node of this.nodes) node.session = undefined;
  }

  /** The store has lost everything; the next leader finds it so. */
  emptyStore(): void {
    this.#stored = { inventory: emptyInventory, remaps: new Map() };
    this.terms.clear();
    this.accepted = 0n;
    this.#term = 0n;
  }

  node(name: string): FakeNode {
    const found = this.nodes.find((candidate) => candidate.name === name);
    if (found === undefined) throw new Error(name);
    return found;
  }

  connect(node: FakeNode): void {
    const session: NodeSession = {
      send: (desired) => node.session === session && node.inbox.push(desired),
      end: () => {
        if (node.session === session) node.session = undefined;
      },
    };
    node.inbox.length = 0;
    node.outbox.length = 0;
    node.session = session;
    this.conductor.connect(node.hello(), session);
    node.report();
  }

  disconnect(node: FakeNode): void {
    const { session } = node;
    node.session = undefined;
    if (session !== undefined) this.conductor.disconnect(node.name, session);
  }

  /** No packet goes to or comes from its host. */
  cutOff(node: FakeNode): void {
    this.disconnect(node);
    node.inbox.length = 0;
    node.answers = false;
    node.estranged = true;
  }

  connectAll(): void {
    for (const node of this.nodes) if (node.session === undefined) this.connect(node);
  }

  /** One status reaches the coordinator. */
  hear(node: FakeNode): boolean {
    const status = node.outbox.shift();
    if (status === undefined || node.session === undefined) return false;
    this.conductor.report(node.name, node.session, status);
    return true;
  }

  /** One state reaches its node. */
  order(node: FakeNode): boolean {
    const desired = node.inbox.shift();
    if (desired === undefined) return false;
    node.apply(desired);
    return true;
  }

  finishWrite(): boolean {
    const write = this.#writes.shift();
    write?.apply();
    write?.done();
    return write !== undefined;
  }

  failWrite(): boolean {
    const write = this.#writes.shift();
    write?.done(new StoreFault("the store is away"));
    return write !== undefined;
  }

  answerTracker(): boolean {
    const inquiry = this.#inquiries.shift();
    inquiry?.();
    return inquiry !== undefined;
  }

  async tick(ms: number): Promise<void> {
    this.nowMs += ms;
    this.#probe(BigInt(Math.ceil(ms / 1_000)));
    this.conductor.observeAll();
    await this.flush();
  }

  /** Lets promises run that are due. */
  async flush(): Promise<void> {
    for (let i = 0; i < 20; i++) await Promise.resolve();
  }

  /** Everything delivered, until nothing moves any more. Time stands still. */
  async settle(): Promise<void> {
    for (let round = 0; round < 2_000; round++) {
      await this.flush();
      this.prove();
      const moved = this.nodes.map((node) => this.order(node) || this.hear(node)).some(Boolean);
      const wrote = this.finishWrite();
      const answered = this.answerTracker();
      if (!moved && !wrote && !answered) return;
    }
    throw new Error("the cluster does not settle");
  }

  /** Settles again and again, a second each time, until the condition holds. */
  async until(condition: () => boolean, seconds = 60): Promise<void> {
    for (let second = 0; second < seconds; second++) {
      await this.settle();
      if (condition()) return;
      await this.tick(1_000);
    }
    throw new Error(`not so after ${seconds} s: ${JSON.stringify(this.report(), bigintText)}`);
  }

  /** Gateways send their proofs; one that has a whole way comes back to the first gateway. */
  prove(): void {
    for (const gateway of this.gateways) {
      for (const proof of gateway.gatewayState?.proofs ?? []) {
        const ends = this.agents.filter((agent) => agent.agentState?.links.some(({ id }) => id === proof.link));
        if (ends.length === 2 && gateway.mtu >= proof.mtu)
          this.gateways[0]?.noteProof(proof.id, gateway.name, proof.mtu);
      }
    }
  }

  /** Each agent asks the kernels behind its links; who is not cut off answers, its agent may be away. */
  #probe(probes: bigint): void {
    for (const agent of this.agents) {
      const followed = agent.agentState?.links.filter(({ ownerEnd }) => !ownerEnd) ?? [];
      for (const { id, peer } of followed) {
        const owner = this.node(peer);
        agent.probe(id, probes, owner.answers && owner.agentState?.links.some((link) => link.id === id) === true);
      }
    }
  }

  async addAddress(address: IpAddress, instance: string): Promise<void> {
    const added = this.inventory.addAddress({ address, instance }, "test");
    await this.settle();
    const answer = await added;
    if (!answer.ok) throw new Error(answer.error.message);
  }

  request(address: IpAddress, target: string, policy: Partial<RemapPolicy> = {}, key = `key-${++this.#ids}`) {
    return {
      address,
      target,
      policy: { ...defaultPolicy, lingerMs: 2_000, ...policy },
      requestedBy: "test",
      idempotencyKey: key,
    };
  }

  create(address: IpAddress, target: string, policy: Partial<RemapPolicy> = {}): Promise<Answer<Remap>> {
    return this.remaps.create(this.request(address, target, policy));
  }

  async created(address: IpAddress, target: string, policy: Partial<RemapPolicy> = {}): Promise<Remap> {
    const creating = this.create(address, target, policy);
    for (let i = 0; i < 5; i++) {
      await this.flush();
      this.finishWrite();
    }
    const answer = await creating;
    if (!answer.ok) throw new Error(`${answer.error.code}: ${answer.error.message}`);
    return answer.value;
  }

  remap(id: string): Remap {
    const answer = this.remaps.get(id);
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value;
  }

  report(): readonly string[] {
    return this.remaps.list(undefined, false).map((remap) => {
      const waits = remap.waitingFor.map(({ node, what }) => `${node} ${what}`).join("; ");
      return `${remap.id} ${remap.source}→${remap.target} ${remap.phase} [${waits}] ${remap.error?.message ?? ""}`;
    });
  }

  /** A write of an earlier leader that reaches the store only now; whoever leads has read it before. */
  land(record: RemapRecord): void {
    this.#stored.remaps.set(record.id, record);
  }

  stored(): ReadonlyMap<string, RemapRecord> {
    return this.#stored.remaps;
  }

  wanted(): Record<string, AgentState | GatewayState | undefined> {
    return Object.fromEntries(this.nodes.map((node) => [node.name, node.agentState ?? node.gatewayState]));
  }

  #ports(term: bigint): ConductorPorts {
    const current = () => term === this.#term;
    const note = ({ action, entry }: Audit): void => {
      this.audits.push(action);
      this.auditEntries.push({ action, ...entry });
    };
    const store = (apply: () => void, audit?: Audit) =>
      new Promise<void>((resolve, reject) => {
        const done = (error?: StoreFault) => (error === undefined ? resolve() : reject(error));
        if (!current()) return;
        const applyAndNote = (): void => {
          apply();
          if (audit !== undefined) note(audit);
        };
        this.#writes.push({ apply: applyAndNote, done });
        if (!this.slowStore) this.finishWrite();
      });
    const later = <T>(answer: () => T) =>
      new Promise<T>((resolve) => {
        if (!current()) return;
        this.#inquiries.push(() => resolve(answer()));
        if (!this.slowTracker) this.answerTracker();
      });
    return {
      store: {
        putRemap: (record, audit) => store(() => this.#putRemap(record), audit),
        putInventory: (entry: InventoryEntry, audit) =>
          store(() => {
            this.#stored = { ...this.#stored, inventory: applyEntry(this.#stored.inventory, entry) };
          }, audit),
        putAccepted: (accepted, audit) =>
          store(() => {
            this.accepted = accepted;
          }, audit),
      },
      tracker: {
        barrier: () => later(() => undefined),
        count: (address, owner) => later(() => this.tracked ?? this.node(owner).flowsOf(address)),
      },
      events: {
        owned: (address, instance) => later(() => void this.ownerships.push(`${address} ${instance}`)),
        remapChanged: (remap) => void this.published.push(remap),
        audit: note,
        takenOver: () => undefined,
      },
      clock: { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs },
      newId: () => `r${++this.#ids}`,
      leads: () => this.lost === undefined,
      lost: (reason, heard) => {
        this.lost = reason;
        if (heard !== undefined && heard > this.heard) this.heard = heard;
      },
    };
  }

  #putRemap(record: RemapRecord): void {
    const before = this.#stored.remaps.get(record.id)?.step ?? 0;
    if (record.step !== before + 1) throw new Error(`${record.id}: step ${record.step} after ${before}`);
    this.#stored.remaps.set(record.id, record);
  }
}

export function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
