/**
 * TrackerService: what a tracker's copies of its shards answer.
 *
 * Whatever asks for a position waits within the call's deadline, and is answered a little before it, so that the caller
 * hears why and not only that time is up.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import { shardsMax } from "../flow/events.ts";
import {
  type Assignment,
  type BarrierRequest,
  type BarrierResponse,
  type CountFlowsRequest,
  type CountFlowsResponse,
  type FlowPage,
  type ListFlowsRequest,
  type ListReplicasRequest,
  type LookupFlowsRequest,
  TrackerServiceService,
} from "../gen/baton/v1/tracker.ts";
import { belongsTo, bucketsMax, placeOf } from "../placement/layout.ts";
import { movingLayouts } from "../placement/operator-buckets.ts";
import type { FlowStore } from "../tracker/level.ts";
import type { ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import type { DetailedError } from "./errors.ts";
import { decode, readAddress, readInteger, readList, readName } from "./fields.ts";
import { assignmentToProto, flowToProto, positionsToProto, readPositions } from "./flow-codec.ts";
import { type CallContext, type OnBug, Refusal, type Reply, streamHandler, unaryHandler } from "./handler.ts";
import { readOptionalLayout } from "./layout-codec.ts";
import type { Service } from "./server.ts";
import { lookUp } from "./tracker-lookup.ts";
import { listReplicas, shardTransfers } from "./tracker-shards.ts";
import {
  caughtUp,
  checkPlace,
  isAheadOf,
  missedError,
  pagesOf,
  replicaFor,
  shardAsked,
  unknownEpoch,
  waitForPositions,
} from "./tracker-wait.ts";
import { watchFlows } from "./tracker-watch.ts";

const limitMax = 0xffff_ffff;

export interface TrackerServiceOptions {
  readonly tracker: Tracker;
  /** Of that tracker. */
  readonly store: Pick<FlowStore, "rows">;
  readonly onBug: OnBug;
  /** Keys asked for in a look-up, for the metrics. */
  readonly onLookup: (keys: number) => void;
}

export function trackerService({ tracker, store, onBug, onLookup }: TrackerServiceOptions): Service {
  return [
    TrackerServiceService,
    {
      lookupFlows: unaryHandler(
        (request: LookupFlowsRequest, context) => lookUp(tracker, request, context, onLookup),
        onBug,
      ),
      listFlows: streamHandler((request: ListFlowsRequest, context) => list(tracker, request, context), onBug),
      watchFlows: streamHandler((request, context) => watchFlows(tracker, request, context), onBug),
      countFlows: unaryHandler((request: CountFlowsRequest, context) => count(tracker, request, context), onBug),
      barrier: unaryHandler((request: BarrierRequest, context) => barrier(tracker, request, context), onBug),
      getAssignment: unaryHandler(async () => assignment(tracker), onBug),
      listReplicas: unaryHandler(async (request: ListReplicasRequest) => listReplicas(tracker, request), onBug),
      transferShard: streamHandler(shardTransfers(tracker, store), onBug),
    },
  ];
}

function assignment({ assignment: known }: Tracker): Reply<Assignment> {
  return known === undefined ? { ok: false, error: unknownEpoch } : { ok: true, value: assignmentToProto(known) };
}

async function* list(tracker: Tracker, request: ListFlowsRequest, context: CallContext): AsyncGenerator<FlowPage> {
  const asked = decode(() => ({
    address: readAddress("address", request.address),
    ...(request.owner === "" ? {} : { owner: readName("owner", request.owner) }),
    ...(request.peer === "" ? {} : { peer: readAddress("peer", request.peer) }),
    limit: readInteger("limit", request.limit, 0, limitMax) || Number.POSITIVE_INFINITY,
    atLeast: readPositions("at_least", request.atLeast),
    layout: readOptionalLayout("of.layout", request.of?.layout),
  }));
  if (!asked.ok) throw new Refusal({ code: "INVALID_ARGUMENT", message: asked.message });
  const shard = shardAsked(tracker, asked.value.address, asked.value.layout, request.of?.shard);
  const replica = await caughtUp(tracker, shard, asked.value.atLeast, context);
  checkPlace(tracker, replica, asked.value.address, asked.value.layout);
  const positions = [{ shard: replica.shard, sequence: replica.table.sequence }];
  let left = asked.value.limit;
  for (const { items } of pagesOf(replica.table.flowsOf(asked.value))) {
    const flows = items.slice(0, left);
    left -= flows.length;
    if (flows.length > 0) yield { flows: flows.map(flowToProto), positions };
    if (left === 0) return;
    // As for a watcher's: who asks meanwhile must not wait for all of them.
    await nextTurn();
    context.signal.throwIfAborted();
  }
}

async function count(
  tracker: Tracker,
  request: CountFlowsRequest,
  context: CallContext,
): Promise<Reply<CountFlowsResponse>> {
  const asked = decode(() => ({
    address: request.address === "" ? undefined : readAddress("address", request.address),
    atLeast: readPositions("at_least", request.atLeast),
    shards: readList("shards", request.shards, shardsMax, (shard, field) =>
      readInteger(field, shard, 0, shardsMax - 1),
    ),
    layout: readOptionalLayout("of.layout", request.of?.layout),
    buckets: readInteger("buckets", request.buckets, 0, bucketsMax),
  }));
  if (!asked.ok) return invalid(asked.message);
  const { address, atLeast, shards, layout, buckets } = asked.value;
  const named = address === undefined ? shards : [shardAsked(tracker, address, layout, request.of?.shard)];
  const replicas = named.length === 0 ? tracker.replicas() : named.map((shard) => replicaFor(tracker, shard));
  const concerned = new Set(replicas.map(({ shard }) => shard));
  const behind = await waitForPositions(
    tracker,
    atLeast.filter(({ shard }) => concerned.has(shard)),
    context,
  );
  if (behind.length > 0) return { ok: false, error: missedError(tracker, behind) };
  if (address !== undefined) for (const replica of replicas) checkPlace(tracker, replica, address, layout);
  const counts = replicas
    .flatMap(({ shard, table }) => {
      if (address === undefined || buckets === 0) return table.counts(address);
      const place = placeOf(address, { buckets, generation: layout.generation }, shard, tracker.shards);
      return table.countsIn(address, (slot) => belongsTo(place, slot));
    })
    .map(({ flows, halfOpen, ...of }) => {
      return { ...of, flows: BigInt(flows), halfOpen: BigInt(halfOpen) };
    });
  const positions = replicas.map(({ shard, table }) => ({ shard, sequence: table.sequence }));
  const isWhole = replicas.every(({ shard }) => tracker.isUpToDate(shard));
  const complete = isWhole && (address !== undefined || !anyMoves(tracker, replicas));
  return { ok: true, value: { counts, positions, complete } };
}

/** Flows of some address may be in two of the shards; also where only the instances have heard of that yet. */
function anyMoves(tracker: Tracker, replicas: readonly ShardReplica[]): boolean {
  if (tracker.assignment !== undefined && movingLayouts(tracker.assignment).length > 0) return true;
  return replicas.some(({ table }) => table.counts().some(({ address }) => isAheadOf(tracker, table, address)));
}

async function barrier(
  tracker: Tracker,
  request: BarrierRequest,
  context: CallContext,
): Promise<Reply<BarrierResponse>> {
  const asked = decode(() => readPositions("positions", request.positions));
  if (!asked.ok) return invalid(asked.message);
  const replicas = asked.value.map(({ shard }) => replicaFor(tracker, shard));
  const behind = await waitForPositions(tracker, asked.value, context);
  if (behind.length > 0) return { ok: false, error: missedError(tracker, behind) };
  const applied = replicas.map((replica) => ({ shard: replica.shard, sequence: replica.status().committed }));
  return { ok: true, value: { applied: positionsToProto(applied) } };
}

function invalid(message: string): { readonly ok: false; readonly error: DetailedError } {
  return { ok: false, error: { code: "INVALID_ARGUMENT", message } };
}
