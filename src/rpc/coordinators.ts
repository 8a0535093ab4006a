/**
 * The coordinators' services in the domain's words: what the CLI and other operators' tools call. Every answer is
 * validated; every call finds the leader by itself.
 */
import type { Client } from "@grpc/grpc-js";
import type { IpAddress } from "../flow/address.ts";
import type { Flow } from "../flow/flow.ts";
import { ClusterServiceClient } from "../gen/baton/v1/cluster.ts";
import { InventoryServiceClient } from "../gen/baton/v1/inventory.ts";
import { RemapServiceClient } from "../gen/baton/v1/remap.ts";
import { TrackerServiceClient } from "../gen/baton/v1/tracker.ts";
import type { Remap, RemapPolicy } from "../remap/remap.ts";
import type { ClientConstructor, UnaryMethodName, UnaryTypes } from "./client.ts";
import {
  addressShardsFromProto,
  type MemberView,
  memberFromProto,
  type ShardsView,
  type ShardView,
  shardFromProto,
} from "./cluster-codec.ts";
import type { BucketsSet } from "./coordinator-server.ts";
import { Failover } from "./failover.ts";
import { type Decoded, decode, readList, readName, readPresent } from "./fields.ts";
import { readFlow } from "./flow-codec.ts";
import {
  type AddressView,
  addressFromProto,
  type GatewayView,
  gatewayFromProto,
  type InstanceView,
  instanceFromProto,
} from "./inventory-codec.ts";
import { readLayout } from "./layout-codec.ts";
import { nodesMax } from "./limits.ts";
import { policyRequestToProto, previewFromProto, type RemapPreview, remapFromProto } from "./remap-codec.ts";

export interface RemapWish {
  readonly address: IpAddress;
  readonly target: string;
  /** What it leaves out is left to the coordinator. */
  readonly policy: Partial<RemapPolicy>;
}

export interface FlowFilter {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
  /** 0: no limit. */
  readonly limit: number;
}

/** Methods throw `CallFailed`, or the abort reason. */
export class Coordinators implements Disposable {
  readonly #failover: Failover;
  readonly #requestedBy: string;
  readonly #signal: AbortSignal;

  constructor(endpoints: readonly string[], requestedBy: string, signal: AbortSignal) {
    this.#failover = new Failover(endpoints);
    this.#requestedBy = requestedBy;
    this.#signal = signal;
  }

  [Symbol.dispose](): void {
    this.#failover[Symbol.dispose]();
  }

  /** With the key of an earlier wish it returns that wish's remap. */
  async createRemap(wish: RemapWish, idempotencyKey: string): Promise<Remap> {
    const request = { ...this.#wish(wish), idempotencyKey, requestedBy: this.#requestedBy };
    return valid(remapFromProto(await this.#ask(RemapServiceClient, "createRemap", request)));
  }

  async previewRemap(wish: RemapWish): Promise<RemapPreview> {
    return valid(previewFromProto(await this.#ask(RemapServiceClient, "previewRemap", this.#wish(wish))));
  }

  async getRemap(id: string): Promise<Remap> {
    return valid(remapFromProto(await this.#ask(RemapServiceClient, "getRemap", { id })));
  }

  /** Newest first. */
  async listRemaps(filter: { readonly address?: IpAddress; readonly openOnly: boolean }): Promise<Remap[]> {
    const request = { address: filter.address ?? "", openOnly: filter.openOnly };
    const { remaps } = await this.#ask(RemapServiceClient, "listRemaps", request);
    return remaps.map((remap) => valid(remapFromProto(remap)));
  }

  /** The remap now, then again after every change, until it has ended; goes on with another coordinator when one is lost. */
  async *watchRemap(id: string): AsyncGenerator<Remap, void, undefined> {
    const bounds = { signal: this.#signal, resumable: true };
    for await (const remap of this.#failover.stream(RemapServiceClient, "watchRemap", { id }, bounds))
      yield valid(remapFromProto(remap));
  }

  async abortRemap(id: string): Promise<Remap> {
    return await this.#order("abortRemap", id);
  }

  async cutRemap(id: string): Promise<Remap> {
    return await this.#order("cutRemap", id);
  }

  async releaseRemap(id: string): Promise<Remap> {
    return await this.#order("releaseRemap", id);
  }

  /** `deadlineMs` from now; without it, no deadline. */
  async setDeadline(id: string, deadlineMs?: number): Promise<Remap> {
    const deadline = { deadlineMs: deadlineMs === undefined ? undefined : BigInt(deadlineMs) };
    const request = { id, ...deadline, requestedBy: this.#requestedBy };
    return valid(remapFromProto(await this.#ask(RemapServiceClient, "setDeadline", request)));
  }

  async listAddresses(): Promise<AddressView[]> {
    const { addresses } = await this.#ask(InventoryServiceClient, "listAddresses", {});
    return addresses.map((address) => valid(addressFromProto(address)));
  }

  async addAddress(address: IpAddress, instance: string, privateAddress?: IpAddress): Promise<AddressView> {
    const request = { address, instance, privateAddress: privateAddress ?? "", requestedBy: this.#requestedBy };
    return valid(addressFromProto(await this.#once(InventoryServiceClient, "addAddress", request)));
  }

  async removeAddress(address: IpAddress): Promise<void> {
    await this.#once(InventoryServiceClient, "removeAddress", { address, requestedBy: this.#requestedBy });
  }

  async listInstances(): Promise<InstanceView[]> {
    const { instances } = await this.#ask(InventoryServiceClient, "listInstances", {});
    return instances.map((instance) => valid(instanceFromProto(instance)));
  }

  async removeInstance(name: string): Promise<void> {
    await this.#once(InventoryServiceClient, "removeInstance", { name, requestedBy: this.#requestedBy });
  }

  async listGateways(): Promise<GatewayView[]> {
    const { gateways } = await this.#ask(InventoryServiceClient, "listGateways", {});
    return gateways.map((gateway) => valid(gatewayFromProto(gateway)));
  }

  async removeGateway(name: string): Promise<void> {
    await this.#once(InventoryServiceClient, "removeGateway", { name, requestedBy: this.#requestedBy });
  }

  /** The nodes that were held back. Asked again, it would be refused for what it did itself. */
  async beginAnew(): Promise<readonly string[]> {
    const { nodes } = await this.#once(InventoryServiceClient, "beginAnew", { requestedBy: this.#requestedBy });
    return valid(decode(() => readList("nodes", nodes, nodesMax, (name, field) => readName(field, name))));
  }

  /** In pages as they come. */
  async *listFlows(filter: FlowFilter): AsyncGenerator<Flow[], void, undefined> {
    const { address, owner, peer, limit } = filter;
    const request = { address, owner: owner ?? "", peer: peer ?? "", limit, atLeast: [], of: undefined };
    const bounds = { signal: this.#signal, resumable: false };
    for await (const page of this.#failover.stream(TrackerServiceClient, "listFlows", request, bounds))
      yield page.flows.map((flow) => valid(decode(() => readFlow("flow", flow))));
  }

  async listMembers(): Promise<MemberView[]> {
    const { members } = await this.#ask(ClusterServiceClient, "listMembers", {});
    return members.map((member) => valid(memberFromProto(member)));
  }

  async listShards(): Promise<readonly ShardView[]> {
    return (await this.shards()).shards;
  }

  /** With the addresses that lie in several of them. */
  async shards(): Promise<ShardsView> {
    const { shards, addresses } = await this.#ask(ClusterServiceClient, "listShards", {});
    return {
      shards: shards.map((shard) => valid(shardFromProto(shard))),
      addresses: addresses.map((address) => valid(addressShardsFromProto(address))),
    };
  }

  /** The epoch in which the address has so many buckets, and the layout that it has then. */
  async setBuckets(address: IpAddress, buckets: number): Promise<BucketsSet> {
    const request = { address, buckets, requestedBy: this.#requestedBy };
    const { epoch, layout } = await this.#once(ClusterServiceClient, "setBuckets", request);
    return { epoch, layout: valid(decode(() => readLayout("layout", readPresent("layout", layout)))) };
  }

  /** The epoch in which the shard is where it was to go. */
  async moveShard(shard: number, to: string): Promise<bigint> {
    const request = { shard, to, unpin: false, requestedBy: this.#requestedBy };
    return (await this.#once(ClusterServiceClient, "moveShard", request)).epoch;
  }

  /** The epoch from which on the shard may be moved again by whoever balances the load. */
  async unpinShard(shard: number): Promise<bigint> {
    const request = { shard, to: "", unpin: true, requestedBy: this.#requestedBy };
    return (await this.#once(ClusterServiceClient, "moveShard", request)).epoch;
  }

  async #order(method: "abortRemap" | "cutRemap" | "releaseRemap", id: string): Promise<Remap> {
    return valid(remapFromProto(await this.#ask(RemapServiceClient, method, { id, requestedBy: this.#requestedBy })));
  }

  #wish({ address, target, policy }: RemapWish) {
    return { address, target, policy: policyRequestToProto(policy) };
  }

  /** Asking twice does no harm. */
  #ask<C extends Client, Name extends UnaryMethodName<C>>(
    Constructor: ClientConstructor<C>,
    method: Name,
    request: UnaryTypes<C[Name]>[0],
  ): Promise<UnaryTypes<C[Name]>[1]> {
    return this.#failover.call(Constructor, method, request, { signal: this.#signal, repeatable: true });
  }

  /** Asked again, it would be refused for what it did itself. */
  #once<C extends Client, Name extends UnaryMethodName<C>>(
    Constructor: ClientConstructor<C>,
    method: Name,
    request: UnaryTypes<C[Name]>[0],
  ): Promise<UnaryTypes<C[Name]>[1]> {
    return this.#failover.call(Constructor, method, request, { signal: this.#signal, repeatable: false });
  }
}

/** An answer that makes no sense is the other side's bug, or another version. */
function valid<T>(decoded: Decoded<T>): T {
  if (decoded.ok) return decoded.value;
  throw new Error(`the coordinator's answer is not valid: ${decoded.message}; are both sides of one version?`);
}
