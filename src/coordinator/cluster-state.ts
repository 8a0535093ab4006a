/**
 * All that a leader knows: the inventory, the remaps, the nodes; and what follows from it for every node.
 *
 * Owns the nodes' desired states. Nothing here waits, so between a node's report and the orders that follow from it
 * there is no turn of the event loop.
 */
import type { IpAddress } from "../flow/address.ts";
import { applyEntry, type Inventory, type InventoryEntry } from "../inventory/inventory.ts";
import type { AgentState, GatewayState, LinkId } from "../node/state.ts";
import type { NodeKind } from "../node/status.ts";
import { changedLayouts, type LayoutMap } from "../placement/layout.ts";
import { type Chain, chainOf, holderOf, laterOf } from "../remap/chain.ts";
import type { View } from "../remap/checklist.ts";
import { hasEnded } from "../remap/phase.ts";
import { type ProjectionConfig, projectAgent, projectGateway } from "../remap/projection.ts";
import type { RemapState } from "../remap/record.ts";
import { heldBack } from "../remap/switching.ts";
import type { AgentFacts, GatewayFacts, World } from "../remap/world.ts";
import { FencedNode, type Leadership } from "./fenced-node.ts";

/** Ended remaps that are kept for lists; older ones are forgotten. */
export const endedRemapsMax = 1_000;
/** Links given out last, which are not given out again while there are others. */
const recentLinksMax = 512;

export class ClusterState {
  readonly config: ProjectionConfig;
  readonly #leadership: Leadership;
  readonly #nodes = new Map<string, FencedNode>();
  readonly #agents = new Map<string, AgentFacts>();
  readonly #gateways = new Map<string, GatewayFacts>();
  readonly #remaps = new Map<string, RemapState>();
  readonly #byAddress = new Map<IpAddress, Map<string, RemapState>>();
  readonly #chains = new Map<IpAddress, Chain>();
  #layouts: LayoutMap = new Map();
  #recentLinks: LinkId[] = [];
  #inventory: Inventory;

  constructor(config: ProjectionConfig, leadership: Leadership, inventory: Inventory, remaps: readonly RemapState[]) {
    this.config = config;
    this.#leadership = leadership;
    this.#inventory = inventory;
    for (const { name, kind } of inventory.nodes.values()) this.#addNode(name, kind);
    for (const state of remaps) this.putRemap(state);
  }

  get inventory(): Inventory {
    return this.#inventory;
  }

  get world(): World {
    return { agents: this.#agents, gateways: this.#gateways };
  }

  get remaps(): ReadonlyMap<string, RemapState> {
    return this.#remaps;
  }

  get recentLinks(): readonly LinkId[] {
    return this.#recentLinks;
  }

  get nodes(): ReadonlyMap<string, FencedNode> {
    return this.#nodes;
  }

  /** Nodes that get no orders, for the store can't explain their states. */
  unexplained(): readonly FencedNode[] {
    return [...this.#nodes.values()].filter(({ unexplained }) => unexplained !== undefined);
  }

  /** Terms up to this leader's whose states are accepted, whoever has ordered them; 0: none. */
  get acceptedTerm(): bigint {
    return this.#leadership.history.accepted;
  }

  get term(): bigint {
    return this.#leadership.term;
  }

  /** Whatever the nodes hold is to be replaced. The names of those that were held back. */
  acceptAll(): readonly string[] {
    this.#leadership.history.accept(this.#leadership.term);
    const released = this.unexplained().filter((node) => node.reconsider());
    for (const node of released) this.noteFacts(node);
    return released.map(({ name }) => name);
  }

  openRemaps(): readonly RemapState[] {
    return [...this.#remaps.values()].filter(({ record }) => !hasEnded(record));
  }

  remapsOf(address: IpAddress): readonly RemapState[] {
    return [...(this.#byAddress.get(address)?.values() ?? [])];
  }

  /** Undefined: the address is not mapped. */
  chain(address: IpAddress): Chain | undefined {
    const known = this.#chains.get(address);
    if (known !== undefined) return known;
    const base = this.#inventory.addresses.get(address);
    if (base === undefined) return undefined;
    const layout = this.#layouts.get(address);
    const chain = { ...chainOf(base, this.remapsOf(address)), ...(layout !== undefined && { layout }) };
    this.#chains.set(address, chain);
    return chain;
  }

  /** Of addresses that have, or had, more than one bucket. */
  get layouts(): LayoutMap {
    return this.#layouts;
  }

  /** By the newest epoch. The agents whose states change by it. */
  relay(layouts: LayoutMap): readonly string[] {
    const changed = [...changedLayouts(this.#layouts, layouts)];
    this.#layouts = layouts;
    for (const address of changed) this.#chains.delete(address);
    return changed.flatMap((address) => {
      const chain = this.chain(address);
      return chain === undefined ? [] : this.agentsOf(chain);
    });
  }

  /** Agents that may have a part in the address. */
  agentsOf(chain: Chain): readonly string[] {
    const states = chain.pending === undefined ? chain.flipped : [chain.pending, ...chain.flipped];
    const named = states.flatMap(({ record: { source, target, owners } }) => [
      source,
      target,
      ...owners.map(({ owner }) => owner),
    ]);
    return [...new Set([chain.base.instance, holderOf(chain).instance, ...named])];
  }

  view(state: RemapState): View {
    const chain = this.chain(state.record.address);
    if (chain === undefined) throw new Error(`remap ${state.record.id} is of an address that is not mapped`);
    return { world: this.world, chain, later: laterOf(chain, state) };
  }

  apply(entry: InventoryEntry): void {
    this.#inventory = applyEntry(this.#inventory, entry);
    switch (entry.kind) {
      case "address-set":
        this.#chains.delete(entry.record.address);
        return;
      case "address-removed":
        this.#chains.delete(entry.address);
        return;
      case "node-set":
        this.#addNode(entry.record.name, entry.record.kind);
        return;
      case "node-removed":
        this.#nodes.delete(entry.name);
        this.#agents.delete(entry.name);
        this.#gateways.delete(entry.name);
        return;
      default:
        entry satisfies never;
    }
  }

  putRemap(state: RemapState): void {
    const { id, address, owners } = state.record;
    if (!this.#remaps.has(id)) {
      const links = owners.map(({ link }) => link);
      this.#recentLinks = [...this.#recentLinks.filter((link) => !links.includes(link)), ...links].slice(
        -recentLinksMax,
      );
    }
    this.#remaps.set(id, state);
    const siblings = this.#byAddress.get(address) ?? new Map<string, RemapState>();
    this.#byAddress.set(address, siblings.set(id, state));
    this.#chains.delete(address);
    if (hasEnded(state.record)) this.#forgetOldest();
  }

  /** The node as it is known from now on; a first sight of it makes it known. */
  node(name: string, kind: NodeKind): FencedNode {
    return this.#nodes.get(name) ?? this.#addNode(name, kind);
  }

  /** Takes over what a node has reported. */
  noteFacts(node: FencedNode): void {
    if (this.#nodes.get(node.name) !== node) return;
    if (node.kind === "agent") this.#agents.set(node.name, node.facts() as AgentFacts);
    else this.#gateways.set(node.name, node.facts() as GatewayFacts);
  }

  /** Gives agents that a remap concerns their orders first, then all gateways. */
  project(agents: Iterable<string>, gateways: boolean): void {
    for (const name of new Set(agents)) this.projectNode(name);
    if (!gateways || this.#gateways.size === 0) return;
    const state = this.#gatewayState();
    for (const name of this.#gateways.keys()) this.#want(name, { kind: "gateway", state });
  }

  projectNode(name: string): void {
    const node = this.#nodes.get(name);
    if (node === undefined) return;
    if (node.kind === "gateway") this.#want(name, { kind: "gateway", state: this.#gatewayState() });
    else {
      const chains = this.#chainsOf(name);
      if (chains.some((chain) => heldBack(chain).has(name))) return;
      this.#want(name, { kind: "agent", state: projectAgent(name, chains, this.config) });
    }
  }

  #want(name: string, content: { kind: "agent"; state: AgentState } | { kind: "gateway"; state: GatewayState }): void {
    const node = this.#nodes.get(name);
    node?.want(content);
    if (node !== undefined) this.noteFacts(node);
  }

  #gatewayState(): GatewayState {
    return projectGateway(this.#allChains(), this.config);
  }

  #allChains(): readonly Chain[] {
    return [...this.#inventory.addresses.keys()].flatMap((address) => this.chain(address) ?? []);
  }

  /** Addresses in which the agent may have a part. */
  #chainsOf(name: string): readonly Chain[] {
    return this.#allChains().filter((chain) => this.agentsOf(chain).includes(name));
  }

  #addNode(name: string, kind: NodeKind): FencedNode {
    const known = this.#nodes.get(name);
    if (known?.kind === kind) return known;
    const node = new FencedNode(name, kind, this.#leadership);
    this.#nodes.set(name, node);
    this.noteFacts(node);
    return node;
  }

  #forgetOldest(): void {
    if (this.#remaps.size <= endedRemapsMax) return;
    const ended = [...this.#remaps.values()].filter(({ record }) => hasEnded(record));
    for (const { record } of ended.slice(0, Math.max(0, ended.length - endedRemapsMax))) {
      const siblings = this.#byAddress.get(record.address);
      const needed = [...(siblings?.values() ?? [])].some((state) => !hasEnded(state.record));
      if (needed) continue;
      this.#remaps.delete(record.id);
      siblings?.delete(record.id);
      this.#chains.delete(record.address);
    }
  }
}
