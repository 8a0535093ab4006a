/** Requests about addresses, instances and gateways, as the leader answers them. */
import { compareIpAddresses, type IpAddress } from "../flow/address.ts";
import { type AddressWish, planAddress } from "../inventory/inventory.ts";
import { holderOf } from "../remap/chain.ts";
import type { BatonError } from "../remap/error.ts";
import { hasEnded, isPending } from "../remap/phase.ts";
import { reservationsOf } from "../remap/plan.ts";
import type { AddressView, GatewayView, InstanceView } from "../rpc/inventory-codec.ts";
import type { ClusterState } from "./cluster-state.ts";
import type { Conductor } from "./conductor.ts";
import type { FencedNode } from "./fenced-node.ts";
import { type Answer, accept, reject } from "./ports.ts";
import type { Turns } from "./turns.ts";

export class InventoryDesk {
  readonly #cluster: ClusterState;
  readonly #conductor: Conductor;
  readonly #turns: Turns;

  constructor(cluster: ClusterState, conductor: Conductor, turns: Turns) {
    this.#cluster = cluster;
    this.#conductor = conductor;
    this.#turns = turns;
  }

  addresses(): readonly AddressView[] {
    const addresses = [...this.#cluster.inventory.addresses.keys()].sort(compareIpAddresses);
    return addresses.flatMap((address) => this.#addressView(address) ?? []);
  }

  addAddress(wish: AddressWish, by: string): Promise<Answer<AddressView>> {
    return this.#turns.take(async () => {
      const { inventory, remaps, config } = this.#cluster;
      const reserved = reservationsOf(inventory, [...remaps.values()]);
      const plan = planAddress(inventory, wish, reserved, config.publicPrefixes);
      if (!plan.ok) return reject(plan.refusal);
      const audit = { action: "address-add", entry: { by, address: wish.address, instance: wish.instance } };
      const changed = await this.#conductor.change({ kind: "address-set", record: plan.value }, audit);
      if (!changed.ok) return changed;
      const { address, instance, private: own, generation } = plan.value;
      return accept({ address, instance, private: own, generation });
    });
  }

  removeAddress(address: IpAddress, by: string): Promise<Answer<void>> {
    return this.#turns.take(async () => {
      const chain = this.#cluster.chain(address);
      if (chain === undefined)
        return refuse("UNKNOWN_ADDRESS", `${address} is not mapped: baton addresses list shows all`);
      const open = this.#cluster.remapsOf(address).find(({ record }) => !hasEnded(record));
      if (open !== undefined)
        return refuse(
          "ADDRESS_BUSY",
          `remap ${open.record.id} of ${address} is ${open.record.phase.kind}: end it first`,
        );
      const generations = this.#cluster.remapsOf(address).map(({ record }) => record.generation);
      const generation = generations.reduce((a, b) => (a > b ? a : b), holderOf(chain).generation);
      const audit = { action: "address-remove", entry: { by, address } };
      const changed = await this.#conductor.change({ kind: "address-removed", address, generation }, audit);
      return changed.ok ? accept(undefined) : changed;
    });
  }

  instances(): readonly InstanceView[] {
    const held = this.addresses();
    return this.#nodesOf("agent").map(({ name, privateAddresses, version }) => {
      const node = this.#cluster.nodes.get(name);
      return {
        name,
        privateAddresses,
        addresses: held.filter(({ instance }) => instance === name).map(({ address }) => address),
        connected: node?.connected === true,
        ...(node?.lastSeenMs !== undefined && { lastSeenMs: node.lastSeenMs }),
        version,
        ...heldBackOf(node),
      };
    });
  }

  gateways(): readonly GatewayView[] {
    return this.#nodesOf("gateway").map(({ name, version }) => {
      const node = this.#cluster.nodes.get(name);
      return {
        name,
        connected: node?.connected === true,
        ...(node?.lastSeenMs !== undefined && { lastSeenMs: node.lastSeenMs }),
        version,
        current: node?.connected === true && node.current,
        ...heldBackOf(node),
      };
    });
  }

  removeInstance(name: string, by: string): Promise<Answer<void>> {
    return this.#turns.take(async () => {
      const instance = this.instances().find((candidate) => candidate.name === name);
      if (instance === undefined) return refuse("UNKNOWN_INSTANCE", `there is no instance ${name}`);
      if (instance.addresses.length > 0)
        return refuse("ADDRESS_BUSY", `${instance.addresses.join(", ")} is mapped to ${name}: remap it first`);
      // A target past its flip holds the address, or has lost it to a later remap, which must not wait for the dead.
      const target = this.#cluster.openRemaps().find(({ record }) => record.target === name && isPending(record));
      if (target !== undefined)
        return refuse("ADDRESS_BUSY", `${name} is the target of remap ${target.record.id}: abort it first`);
      if (instance.connected)
        return refuse("WRONG_PHASE", `the agent of ${name} is connected: stop it first, or it would come back at once`);
      return await this.#removeNode(name, "instance-remove", by);
    });
  }

  removeGateway(name: string, by: string): Promise<Answer<void>> {
    return this.#turns.take(async () => {
      const gateway = this.gateways().find((candidate) => candidate.name === name);
      if (gateway === undefined) return refuse("UNKNOWN_GATEWAY", `there is no gateway ${name}`);
      if (gateway.connected)
        return refuse("WRONG_PHASE", `gateway ${name} is connected: stop it first, or it would come back at once`);
      return await this.#removeNode(name, "gateway-remove", by);
    });
  }

  /** Nodes that are held back get their orders: the inventory is what holds from now on. */
  beginAnew(by: string): Promise<Answer<readonly string[]>> {
    return this.#turns.take(async () => {
      const [first] = this.#cluster.unexplained();
      if (first === undefined)
        return refuse("WRONG_PHASE", "no node that is connected is held back, so there is nothing to begin anew");
      if (this.#cluster.unexplained().every(({ acceptable }) => !acceptable))
        return refuse("NODE_HELD_BACK", `${first.name} can't be given orders: ${first.unexplained}`);
      const nodes = this.#cluster.unexplained().filter(({ acceptable }) => acceptable);
      const entry = { by, nodes: nodes.length, first: nodes[0]?.name ?? "" };
      return await this.#conductor.beginAnew({ action: "begin-anew", entry });
    });
  }

  async #removeNode(name: string, action: string, by: string): Promise<Answer<void>> {
    const changed = await this.#conductor.change({ kind: "node-removed", name }, { action, entry: { by, node: name } });
    return changed.ok ? accept(undefined) : changed;
  }

  #nodesOf(kind: "agent" | "gateway") {
    const nodes = [...this.#cluster.inventory.nodes.values()].filter((node) => node.kind === kind);
    return nodes.sort((left, right) => (left.name < right.name ? -1 : 1));
  }

  #addressView(address: IpAddress): AddressView | undefined {
    const chain = this.#cluster.chain(address);
    if (chain === undefined) return undefined;
    const { instance, private: own, generation } = holderOf(chain);
    const open = this.#cluster.remapsOf(address).filter(({ record }) => !hasEnded(record));
    const newest = open.sort((a, b) => Number(b.record.generation - a.record.generation))[0];
    return { address, instance, private: own, generation, ...(newest && { remap: newest.record.id }) };
  }
}

function heldBackOf(node: FencedNode | undefined): { readonly heldBack?: string } {
  return node?.unexplained === undefined ? {} : { heldBack: node.unexplained };
}

function refuse(code: BatonError["code"], message: string): Answer<never> {
  return reject({ code, message });
}
