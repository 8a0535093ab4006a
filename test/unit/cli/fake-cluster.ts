/** A coordinator in this process that answers from values a test gives, and remembers what it was asked. */
import { parseIpAddress } from "../../../src/flow/address.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import { ClusterServiceService, type MoveShardRequest } from "../../../src/gen/baton/v1/cluster.ts";
import { InventoryServiceService } from "../../../src/gen/baton/v1/inventory.ts";
import { type CreateRemapRequest, RemapServiceService } from "../../../src/gen/baton/v1/remap.ts";
import { type ListFlowsRequest, TrackerServiceService } from "../../../src/gen/baton/v1/tracker.ts";
import type { Remap } from "../../../src/remap/remap.ts";
import { addressShardsToProto, memberToProto, shardToProto } from "../../../src/rpc/cluster-codec.ts";
import type { DetailedError } from "../../../src/rpc/errors.ts";
import { flowToProto } from "../../../src/rpc/flow-codec.ts";
import { type CallContext, Refusal, type Reply, streamHandler, unaryHandler } from "../../../src/rpc/handler.ts";
import { addressToProto, gatewayToProto, instanceToProto } from "../../../src/rpc/inventory-codec.ts";
import { previewToProto, type RemapPreview, remapToProto } from "../../../src/rpc/remap-codec.ts";
import { type GrpcServer, serveGrpc } from "../../../src/rpc/server.ts";
import { freshRemap, ip, startMs } from "../rpc/remap-samples.ts";

export interface FakeCluster {
  /** Answer of every call but those of a watch; by the method's name. */
  readonly refuse?: Readonly<Record<string, DetailedError>>;
  /** Told by a watch, one after another; then it waits unless the last has ended. */
  readonly watched?: readonly Remap[];
  readonly preview?: RemapPreview;
  readonly flows?: readonly Flow[];
}

export interface Asked {
  readonly method: string;
  readonly request: unknown;
}

export interface ServedCluster extends AsyncDisposable {
  readonly asked: readonly Asked[];
  /** Requests of one method, in order. */
  requests<T>(method: string): T[];
}

export const preview: RemapPreview = {
  address: ip("203.0.113.10"),
  source: "vm-a",
  target: "vm-b",
  targetPrivate: ip("10.77.0.12"),
  policy: freshRemap.policy,
  channel: { kind: "direct", mtu: 1500, provenMtu: 0 },
  flows: 3,
  refusals: [],
};

export const flow: Flow = {
  key: { address: ip("203.0.113.10"), protocol: "tcp", peer: ip("198.51.100.2"), peerPort: 40_000, port: 443 },
  owner: "vm-a",
  state: "open",
  openedAtMs: startMs,
  generation: 1n,
};

export type { CreateRemapRequest, ListFlowsRequest, MoveShardRequest };

export async function serveCluster(endpoint: string, fake: FakeCluster = {}): Promise<ServedCluster> {
  const asked: Asked[] = [];
  const bugs: unknown[] = [];
  const unary = <Request, Response>(method: string, answer: (request: Request) => Response) =>
    unaryHandler(
      async (request: Request): Promise<Reply<Response>> => {
        asked.push({ method, request });
        const error = fake.refuse?.[method];
        return error === undefined ? { ok: true, value: answer(request) } : { ok: false, error };
      },
      (error) => bugs.push(error),
    );
  const server = await serveGrpc({
    endpoints: [endpoint],
    signal: new AbortController().signal,
    services: [
      [RemapServiceService, remapMethods(fake, unary, asked, bugs)],
      [InventoryServiceService, inventoryMethods(unary)],
      [TrackerServiceService, trackerMethods(fake, asked, bugs)],
      [ClusterServiceService, clusterMethods(unary)],
    ],
  });
  return served(server, asked, bugs);
}

type Unary = <Request, Response>(
  method: string,
  answer: (request: Request) => Response,
) => ReturnType<typeof unaryHandler<Request, Response>>;

function remapMethods(fake: FakeCluster, unary: Unary, asked: Asked[], bugs: unknown[]) {
  const fresh = (request: { readonly id?: string }) => remapToProto({ ...freshRemap, id: request.id ?? freshRemap.id });
  return {
    createRemap: unary("createRemap", () => fresh({})),
    getRemap: unary("getRemap", fresh),
    listRemaps: unary("listRemaps", () => ({ remaps: [fresh({ id: "r2" }), fresh({ id: "r1" })] })),
    abortRemap: unary("abortRemap", () => fresh({ id: "the-way-back" })),
    cutRemap: unary("cutRemap", fresh),
    releaseRemap: unary("releaseRemap", fresh),
    setDeadline: unary("setDeadline", fresh),
    previewRemap: unary("previewRemap", () => previewToProto(fake.preview ?? preview)),
    watchRemap: streamHandler(
      async function* (request: { readonly id: string }, context: CallContext) {
        asked.push({ method: "watchRemap", request });
        const error = fake.refuse?.["watchRemap"];
        if (error !== undefined) throw new Refusal(error);
        for (const remap of fake.watched ?? []) yield remapToProto(remap);
        const phase = fake.watched?.at(-1)?.phase;
        if (phase === "completed" || phase === "aborted") return;
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
      (error) => bugs.push(error),
    ),
  };
}

function inventoryMethods(unary: Unary) {
  const address = { address: ip("203.0.113.10"), instance: "vm-a", private: ip("10.77.0.11"), generation: 1n };
  const instance = { name: "vm-a", privateAddresses: [address.private], addresses: [], connected: true, version: "1" };
  return {
    listAddresses: unary("listAddresses", () => ({ addresses: [addressToProto(address)] })),
    addAddress: unary("addAddress", (request: { readonly address: string; readonly instance: string }) =>
      addressToProto({
        ...address,
        address: parseIpAddress(request.address) ?? address.address,
        instance: request.instance,
      }),
    ),
    removeAddress: unary("removeAddress", () => ({})),
    listInstances: unary("listInstances", () => ({ instances: [instanceToProto(instance)] })),
    removeInstance: unary("removeInstance", () => ({})),
    listGateways: unary("listGateways", () => ({
      gateways: [gatewayToProto({ name: "gw1", connected: true, lastSeenMs: startMs, version: "1", current: true })],
    })),
    removeGateway: unary("removeGateway", () => ({})),
    beginAnew: unary("beginAnew", () => ({ nodes: ["gw1", "vm-a"] })),
  };
}

function trackerMethods(fake: FakeCluster, asked: Asked[], bugs: unknown[]) {
  const listFlows = streamHandler(
    async function* (request: ListFlowsRequest) {
      asked.push({ method: "listFlows", request });
      for (const one of fake.flows ?? []) yield { flows: [flowToProto(one)], positions: [] };
    },
    (error) => bugs.push(error),
  );
  const missing = unaryHandler(
    async (): Promise<Reply<never>> => ({ ok: false, error: { code: "UNSUPPORTED", message: "not in this test" } }),
    (error) => bugs.push(error),
  );
  return {
    listFlows,
    watchFlows: listFlows,
    lookupFlows: missing,
    countFlows: missing,
    barrier: missing,
    getAssignment: missing,
  };
}

function clusterMethods(unary: Unary) {
  const member = {
    name: "tracker1",
    roles: ["tracker"],
    address: "10.77.0.31:7946",
    state: "alive",
    load: 0.5,
  } as const;
  const shard = {
    shard: 0,
    primary: "tracker1",
    epoch: 1n,
    lag: 0,
    flows: 3,
    complete: true,
    state: "serving" as const,
    pinned: false,
  };
  const split = { address: ip("203.0.113.10"), layout: { buckets: 2, generation: 1 }, shards: [0, 1] };
  return {
    listMembers: unary("listMembers", () => ({ members: [memberToProto(member)] })),
    listShards: unary("listShards", () => ({
      shards: [shardToProto(shard)],
      addresses: [addressShardsToProto(split)],
    })),
    moveShard: unary("moveShard", () => ({ epoch: 2n })),
    setBuckets: unary("setBuckets", ({ buckets }: { buckets: number }) => ({
      epoch: 3n,
      layout: { buckets, generation: 2, before: 1 },
    })),
  };
}

function served(server: GrpcServer, asked: readonly Asked[], bugs: readonly unknown[]): ServedCluster {
  return {
    asked,
    requests: <T>(method: string) => asked.filter((one) => one.method === method).map(({ request }) => request as T),
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      if (bugs.length > 0) throw new AggregateError(bugs, "the fake cluster has bugs");
    },
  };
}
