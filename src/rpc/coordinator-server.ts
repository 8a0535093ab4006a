/**
 * RemapService, InventoryService and ClusterService: messages in and out, validated, around a coordinator that speaks
 * in the domain's values. NodeService is node-stream.ts, TrackerService coordinator-flows.ts.
 */
import type { IpAddress } from "../flow/address.ts";
import { shardsMax } from "../flow/events.ts";
import { ClusterServiceService, type MoveShardRequest, type SetBucketsRequest } from "../gen/baton/v1/cluster.ts";
import { InventoryServiceService } from "../gen/baton/v1/inventory.ts";
import { type Remap as RemapMessage, RemapServiceService } from "../gen/baton/v1/remap.ts";
import { bucketsMax, type Layout } from "../placement/layout.ts";
import type { Remap, RemapPolicy } from "../remap/remap.ts";
import {
  addressShardsToProto,
  type MemberView,
  memberToProto,
  type ShardsView,
  shardToProto,
} from "./cluster-codec.ts";
import { type Decoded, decode, FieldFault, readAddress, readId, readInteger, readName, readText } from "./fields.ts";
import { type OnBug, type Reply, streamHandler, unaryHandler } from "./handler.ts";
import {
  type AddressView,
  addressToProto,
  type GatewayView,
  gatewayToProto,
  type InstanceView,
  instanceToProto,
} from "./inventory-codec.ts";
import { layoutToProto } from "./layout-codec.ts";
import {
  policyRequestFromProto,
  previewToProto,
  type RemapPreview,
  readDuration,
  remapToProto,
} from "./remap-codec.ts";
import type { Service } from "./server.ts";

export interface RemapWish {
  readonly address: IpAddress;
  readonly target: string;
  readonly policy: RemapPolicy;
}

/** What a coordinator can be asked. Refusals are values. */
export interface CoordinatorApi {
  createRemap(wish: RemapWish & { requestedBy: string; idempotencyKey: string }): Promise<Reply<Remap>>;
  previewRemap(wish: RemapWish, signal: AbortSignal): Promise<Reply<RemapPreview>>;
  getRemap(id: string): Promise<Reply<Remap>>;
  listRemaps(address: IpAddress | undefined, openOnly: boolean): Promise<Reply<readonly Remap[]>>;
  /** The remap now, then after every change, until it has ended. Throws {@link Refusal}. */
  watchRemap(id: string, signal: AbortSignal): AsyncIterable<Remap>;
  orderRemap(id: string, order: RemapOrder, requestedBy: string): Promise<Reply<Remap>>;
  listAddresses(): Promise<Reply<readonly AddressView[]>>;
  addAddress(wish: AddressWish, requestedBy: string): Promise<Reply<AddressView>>;
  removeAddress(address: IpAddress, requestedBy: string): Promise<Reply<void>>;
  listInstances(): Promise<Reply<readonly InstanceView[]>>;
  removeInstance(name: string, requestedBy: string): Promise<Reply<void>>;
  listGateways(): Promise<Reply<readonly GatewayView[]>>;
  removeGateway(name: string, requestedBy: string): Promise<Reply<void>>;
  beginAnew(requestedBy: string): Promise<Reply<readonly string[]>>;
  listMembers(): Promise<Reply<readonly MemberView[]>>;
  listShards(signal: AbortSignal): Promise<Reply<ShardsView>>;
  /** The epoch from which on it is so. */
  moveShard(move: ShardMove, requestedBy: string, signal: AbortSignal): Promise<Reply<bigint>>;
  /** The epoch from which on the address has so many buckets. */
  setBuckets(address: IpAddress, buckets: number, requestedBy: string, signal: AbortSignal): Promise<Reply<BucketsSet>>;
}

export interface BucketsSet {
  readonly epoch: bigint;
  readonly layout: Layout;
}

export type ShardMove =
  | { readonly kind: "move"; readonly shard: number; readonly to: string }
  | { readonly kind: "unpin"; readonly shard: number };

export type RemapOrder =
  | { readonly kind: "abort" | "cut" | "release" }
  /** Milliseconds from now; absent: none. */
  | { readonly kind: "deadline"; readonly deadlineMs?: number };

export interface AddressWish {
  readonly address: IpAddress;
  readonly instance: string;
  readonly private?: IpAddress;
}

export function coordinatorServices(api: CoordinatorApi, onBug: OnBug): readonly Service[] {
  return [remapService(api, onBug), inventoryService(api, onBug), clusterService(api, onBug)];
}

function remapService(api: CoordinatorApi, onBug: OnBug): Service {
  const answer = handlers(onBug);
  const order = (kind: "abort" | "cut" | "release") =>
    answer(
      (request: { id: string; requestedBy: string }) => ({
        id: readId("id", request.id),
        by: readText("requested_by", request.requestedBy),
      }),
      ({ id, by }) => api.orderRemap(id, { kind }, by),
      remapToProto,
    );
  return [
    RemapServiceService,
    {
      createRemap: answer(
        (request: WishMessage & { idempotencyKey: string; requestedBy: string }) => ({
          ...readWish(request),
          idempotencyKey: readKey(request.idempotencyKey),
          requestedBy: readText("requested_by", request.requestedBy),
        }),
        (wish) => api.createRemap(wish),
        remapToProto,
      ),
      previewRemap: answer(readWish, (wish, signal) => api.previewRemap(wish, signal), previewToProto),
      getRemap: answer(
        ({ id }: { id: string }) => readId("id", id),
        (id) => api.getRemap(id),
        remapToProto,
      ),
      listRemaps: answer(
        ({ address, openOnly }: { address: string; openOnly: boolean }) => ({
          address: address === "" ? undefined : readAddress("address", address),
          openOnly,
        }),
        ({ address, openOnly }) => api.listRemaps(address, openOnly),
        (remaps) => ({ remaps: remaps.map(remapToProto) }),
      ),
      watchRemap: streamHandler(({ id }: { id: string }, { signal }) => watch(api, id, signal), onBug),
      abortRemap: order("abort"),
      cutRemap: order("cut"),
      releaseRemap: order("release"),
      setDeadline: answer(
        ({ id, deadlineMs, requestedBy }: { id: string; deadlineMs?: bigint | undefined; requestedBy: string }) => ({
          id: readId("id", id),
          by: readText("requested_by", requestedBy),
          ...(deadlineMs !== undefined && { deadlineMs: readDuration("deadline_ms", deadlineMs) }),
        }),
        ({ id, by, ...deadline }) => api.orderRemap(id, { kind: "deadline", ...deadline }, by),
        remapToProto,
      ),
    },
  ];
}

async function* watch(
  api: CoordinatorApi,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<RemapMessage, void, undefined> {
  for await (const remap of api.watchRemap(id, signal)) yield remapToProto(remap);
}

function inventoryService(api: CoordinatorApi, onBug: OnBug): Service {
  const answer = handlers(onBug);
  const empty = () => ({});
  const named = (request: { name: string; requestedBy: string }) => ({
    name: readName("name", request.name),
    by: readText("requested_by", request.requestedBy),
  });
  return [
    InventoryServiceService,
    {
      listAddresses: answer(
        empty,
        () => api.listAddresses(),
        (list) => ({ addresses: list.map(addressToProto) }),
      ),
      addAddress: answer(
        (request: { address: string; instance: string; privateAddress: string; requestedBy: string }) => ({
          by: readText("requested_by", request.requestedBy),
          wish: {
            address: readAddress("address", request.address),
            instance: readName("instance", request.instance),
            ...(request.privateAddress !== "" && { private: readAddress("private_address", request.privateAddress) }),
          },
        }),
        ({ wish, by }) => api.addAddress(wish, by),
        addressToProto,
      ),
      removeAddress: answer(
        (request: { address: string; requestedBy: string }) => ({
          address: readAddress("address", request.address),
          by: readText("requested_by", request.requestedBy),
        }),
        ({ address, by }) => api.removeAddress(address, by),
        empty,
      ),
      listInstances: answer(
        empty,
        () => api.listInstances(),
        (list) => ({ instances: list.map(instanceToProto) }),
      ),
      removeInstance: answer(named, ({ name, by }) => api.removeInstance(name, by), empty),
      listGateways: answer(
        empty,
        () => api.listGateways(),
        (list) => ({ gateways: list.map(gatewayToProto) }),
      ),
      removeGateway: answer(named, ({ name, by }) => api.removeGateway(name, by), empty),
      beginAnew: answer(
        ({ requestedBy }: { requestedBy: string }) => readText("requested_by", requestedBy),
        (by) => api.beginAnew(by),
        (nodes) => ({ nodes: [...nodes] }),
      ),
    },
  ];
}

function clusterService(api: CoordinatorApi, onBug: OnBug): Service {
  const answer = handlers(onBug);
  return [
    ClusterServiceService,
    {
      listMembers: answer(
        () => ({}),
        () => api.listMembers(),
        (list) => ({ members: list.map(memberToProto) }),
      ),
      listShards: answer(
        () => ({}),
        (_, signal) => api.listShards(signal),
        ({ shards, addresses }) => ({
          shards: shards.map(shardToProto),
          addresses: addresses.map(addressShardsToProto),
        }),
      ),
      moveShard: answer(
        (request: MoveShardRequest) => ({
          move: readMove(request),
          by: readText("requested_by", request.requestedBy),
        }),
        ({ move, by }, signal) => api.moveShard(move, by, signal),
        (epoch) => ({ epoch }),
      ),
      setBuckets: answer(
        (request: SetBucketsRequest) => ({
          address: readAddress("address", request.address),
          buckets: readInteger("buckets", request.buckets, 1, bucketsMax),
          by: readText("requested_by", request.requestedBy),
        }),
        ({ address, buckets, by }, signal) => api.setBuckets(address, buckets, by, signal),
        ({ epoch, layout }) => ({ epoch, layout: layoutToProto(layout) }),
      ),
    },
  ];
}

function readMove({ shard: number, to, unpin }: MoveShardRequest): ShardMove {
  const shard = readInteger("shard", number, 0, shardsMax - 1);
  if (!unpin) return { kind: "move", shard, to: readName("to", to) };
  if (to !== "") throw new FieldFault("to", "nothing where a shard is unpinned", JSON.stringify(to));
  return { kind: "unpin", shard };
}

/** Reads a request, answers it, writes the answer; what can't be read is INVALID_ARGUMENT. */
function handlers(onBug: OnBug) {
  return <Request, Asked, Value, Response>(
    read: (request: Request) => Asked,
    answer: (asked: Asked, signal: AbortSignal) => Promise<Reply<Value>>,
    write: (value: Value) => Response,
  ) =>
    unaryHandler(async (request: Request, { signal }): Promise<Reply<Response>> => {
      const asked: Decoded<Asked> = decode(() => read(request));
      if (!asked.ok) return { ok: false, error: { code: "INVALID_ARGUMENT", message: asked.message } };
      const reply = await answer(asked.value, signal);
      return reply.ok ? { ok: true, value: write(reply.value) } : reply;
    }, onBug);
}

type WishMessage = {
  readonly address: string;
  readonly target: string;
  readonly policy?: Parameters<typeof policyRequestFromProto>[0];
};

function readWish(request: WishMessage): RemapWish {
  const policy = policyRequestFromProto(request.policy);
  if (!policy.ok) throw new FieldFault("policy", "a valid policy", policy.message);
  return {
    address: readAddress("address", request.address),
    target: readName("target", request.target),
    policy: policy.value,
  };
}

/** Left out, it would make every request the same wish. */
function readKey(text: string): string {
  if (text === "") throw new FieldFault("idempotency_key", "1 to 128 printable characters", "nothing");
  return readId("idempotency_key", text);
}
