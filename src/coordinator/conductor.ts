/**
 * Drives remaps while this coordinator leads: events in, through the pure machine, effects out.
 *
 * Owns what a leadership does for itself: node-streams.ts the nodes, remap-steps.ts the remaps, tenure.ts its end.
 */
import type { InventoryEntry } from "../inventory/inventory.ts";
import type { NodeHello, NodeStatus } from "../node/status.ts";
import type { LayoutMap } from "../placement/layout.ts";
import type { RemapRecord } from "../remap/record.ts";
import { type RemapState, takeUp } from "../remap/record.ts";
import type { Bounds, RemapEvent } from "../remap/transition.ts";
import type { Logger } from "../runtime/log.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { FencedNode, NodeSession } from "./fenced-node.ts";
import { NodeStreams } from "./node-streams.ts";
import { type Answer, type Audit, accept, type ConductorPorts, reject } from "./ports.ts";
import { RemapSteps } from "./remap-steps.ts";
import type { Outcome } from "./remap-writes.ts";
import { noLongerLeader, Tenure } from "./tenure.ts";

export type RemapCommand = Extract<RemapEvent, { kind: "abort" | "cut" | "release" | "deadline" }>;

export class Conductor {
  readonly #cluster: ClusterState;
  readonly #ports: ConductorPorts;
  readonly #log: Logger;
  readonly #tenure: Tenure;
  readonly #nodes: NodeStreams;
  readonly #steps: RemapSteps;

  constructor(cluster: ClusterState, ports: ConductorPorts, bounds: Bounds, log: Logger) {
    this.#cluster = cluster;
    this.#ports = ports;
    this.#log = log;
    this.#tenure = new Tenure(ports);
    this.#steps = new RemapSteps(cluster, ports, bounds, log, this.#tenure);
    const record = (entry: InventoryEntry): void => void this.change(entry);
    this.#nodes = new NodeStreams({ cluster, tenure: this.#tenure, clock: ports.clock, log, record });
  }

  /** Nothing is sent, stored or answered from now on. */
  stop(): void {
    this.#tenure.stop();
  }

  get stopped(): boolean {
    return this.#tenure.stopped;
  }

  /** Calls back when this leadership ends. */
  onStop(listener: () => void): Disposable {
    return this.#tenure.onStop(listener);
  }

  connect(hello: NodeHello, session: NodeSession): void {
    if (this.#nodes.connect(hello, session)) this.observeAll();
  }

  report(name: string, session: NodeSession, status: NodeStatus): void {
    const node = this.#nodes.report(name, session, status);
    if (node !== undefined) this.#observeFor(node);
  }

  disconnect(name: string, session: NodeSession): void {
    const node = this.#nodes.disconnect(name, session);
    if (node !== undefined) this.#observeFor(node);
  }

  /** Looks at every open remap; also the way in which time passes. */
  observeAll(): void {
    this.#steps.observe(this.#cluster.openRemaps().map(({ record }) => record.id));
  }

  /** A drain does not depend on gateways, and only on the agents that take part. */
  #observeFor({ name, kind }: FencedNode): void {
    const concerned = this.#cluster.openRemaps().filter((state) => {
      const { record } = state;
      if (kind === "gateway") return record.phase.kind !== "draining";
      const owners = record.owners.map(({ owner }) => owner);
      return [record.source, record.target, ...owners, this.#cluster.view(state).later.holder].includes(name);
    });
    this.#steps.observe(concerned.map(({ record }) => record.id));
  }

  /** Stores an entry of the inventory and puts it in force. */
  async change(entry: InventoryEntry, audit?: Audit): Promise<Answer<InventoryEntry>> {
    try {
      await this.#ports.store.putInventory(entry, audit);
    } catch (error) {
      return this.#tenure.storeFailed(error);
    }
    if (this.#tenure.isOver()) return reject(noLongerLeader);
    if (entry.kind === "node-removed") this.#nodes.endRemoved(entry.name);
    this.#cluster.apply(entry);
    const agent = entry.kind === "address-set" ? [entry.record.instance] : [];
    const all = entry.kind === "address-removed" ? this.#cluster.nodes.keys() : agent;
    this.#cluster.project(all, true);
    this.observeAll();
    return accept(entry);
  }

  /** The newest epoch is stored, and says in which shards the flows of addresses lie. */
  relay(layouts: LayoutMap): void {
    if (this.#tenure.isOver()) return;
    const agents = this.#cluster.relay(layouts);
    if (agents.length === 0) return;
    this.#cluster.project(agents, false);
    this.observeAll();
  }

  /** Stores that whatever the nodes hold may be replaced, and gives those that were held back their orders. */
  async beginAnew(audit: Audit): Promise<Answer<readonly string[]>> {
    const { acceptedTerm, term } = this.#cluster;
    try {
      if (acceptedTerm < term) await this.#ports.store.putAccepted(term, audit);
    } catch (error) {
      return this.#tenure.storeFailed(error);
    }
    if (this.#tenure.isOver()) return reject(noLongerLeader);
    const released = this.#cluster.acceptAll();
    this.#log.warn({ nodes: released }, "an operator has begun anew: these nodes get their orders");
    this.observeAll();
    return accept(released);
  }

  /** Stores a new remap and begins. */
  async begin(record: RemapRecord, audit: Audit): Promise<Answer<RemapState>> {
    try {
      await this.#ports.store.putRemap(record, audit);
    } catch (error) {
      return this.#tenure.storeFailed(error);
    }
    if (this.#tenure.isOver()) return reject(noLongerLeader);
    const state = takeUp(record, false);
    this.#steps.commit(state);
    this.observeAll();
    return accept(state);
  }

  command(id: string, event: RemapCommand, audit: Audit): Promise<Answer<Outcome>> {
    return this.#steps.command(id, event, audit);
  }
}
