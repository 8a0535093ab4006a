/** TrackerService as a coordinator serves it: every question goes on to the trackers that can answer it. */
import { parseIpAddress } from "../flow/address.ts";
import { shardsMax } from "../flow/events.ts";
import {
  type Assignment,
  type BarrierRequest,
  type BarrierResponse,
  type CountFlowsRequest,
  type CountFlowsResponse,
  type FlowPage,
  type FlowWatchPage,
  type ListFlowsRequest,
  type LookupFlowsRequest,
  type LookupFlowsResponse,
  type ShardRows,
  TrackerServiceService,
  type WatchFlowsRequest,
} from "../gen/baton/v1/tracker.ts";
import type { Assignment as ShardAssignment } from "../placement/assignment.ts";
import type { DetailedError } from "./errors.ts";
import { FieldFault, readAddress, readInteger, readList, readName } from "./fields.ts";
import { assignmentToProto, flowToProto, positionsToProto, readPositions } from "./flow-codec.ts";
import { type CallContext, type OnBug, Refusal, type Reply, streamHandler, unaryHandler } from "./handler.ts";
import { lookupResponse } from "./lookup-answers.ts";
import { keysOf, readLookupKeys } from "./lookup-keys.ts";
import type { Service } from "./server.ts";
import type { TrackerClient } from "./tracker-client.ts";
import type { CallOptions } from "./tracker-queries.ts";

/** Without one of the caller's, so that an absent tracker is not waited for forever. */
const deadlineMaxMs = 30_000;

const ofTrackers: DetailedError = {
  code: "UNSUPPORTED",
  message: "a coordinator has no copies of shards: ask a tracker, or ClusterService for what all of them have",
};

export interface FlowFrontOptions {
  readonly trackers: TrackerClient;
  readonly assignment: (signal: AbortSignal) => Promise<ShardAssignment>;
  readonly onBug: OnBug;
}

export function coordinatorFlowService({ trackers, assignment, onBug }: FlowFrontOptions): Service {
  return [
    TrackerServiceService,
    {
      lookupFlows: unaryHandler(
        (request: LookupFlowsRequest, context) => answered(() => lookup(trackers, request, context)),
        onBug,
      ),
      listFlows: streamHandler(
        (request: ListFlowsRequest, context) => streamed(list(trackers, request, context)),
        onBug,
      ),
      watchFlows: streamHandler(
        (request: WatchFlowsRequest, context) => streamed(watch(trackers, request, context)),
        onBug,
      ),
      countFlows: unaryHandler(
        (request: CountFlowsRequest, context) => answered(() => count(trackers, request, context)),
        onBug,
      ),
      barrier: unaryHandler(
        (request: BarrierRequest, context) => answered(() => barrier(trackers, request, context)),
        onBug,
      ),
      getAssignment: unaryHandler(
        (_: object, { signal }) =>
          answered(async (): Promise<Assignment> => assignmentToProto(await assignment(signal))),
        onBug,
      ),
      listReplicas: unaryHandler(async () => ({ ok: false, error: ofTrackers }) as const, onBug),
      transferShard: streamHandler((): AsyncIterable<ShardRows> => {
        throw new Refusal(ofTrackers);
      }, onBug),
    },
  ];
}

async function lookup(
  trackers: TrackerClient,
  request: LookupFlowsRequest,
  context: CallContext,
): Promise<LookupFlowsResponse> {
  const keys = keysOf(readLookupKeys(request));
  const answers = await trackers.lookup(keys, readPositions("at_least", request.atLeast), optionsOf(context));
  return lookupResponse(request, answers);
}

async function* list(
  trackers: TrackerClient,
  request: ListFlowsRequest,
  context: CallContext,
): AsyncGenerator<FlowPage, void, undefined> {
  const query = {
    address: readAddress("address", request.address),
    ...(request.owner !== "" && { owner: readName("owner", request.owner) }),
    ...(request.peer !== "" && { peer: readAddress("peer", request.peer) }),
    ...(request.limit > 0 && { limit: request.limit }),
    atLeast: readPositions("at_least", request.atLeast),
  };
  for await (const flows of trackers.list(query, optionsOf(context)))
    yield { flows: flows.map(flowToProto), positions: [] };
}

/** Positions are the trackers' business: a watch through a coordinator always begins with a snapshot. */
async function* watch(
  trackers: TrackerClient,
  request: WatchFlowsRequest,
  { signal }: CallContext,
): AsyncGenerator<FlowWatchPage, void, undefined> {
  const query = {
    address: readAddress("address", request.address),
    ...(request.owner !== "" && { owner: readName("owner", request.owner) }),
    atLeast: readPositions("at_least", request.atLeast),
  };
  for await (const event of trackers.watch(query, { signal })) {
    const page = { flows: event.flows.map(flowToProto), positions: [] };
    if (event.kind === "changes") yield { content: { $case: "changes", value: page }, snapshotComplete: false };
    else yield { content: { $case: "snapshot", value: page }, snapshotComplete: event.complete };
  }
}

async function count(
  trackers: TrackerClient,
  request: CountFlowsRequest,
  context: CallContext,
): Promise<CountFlowsResponse> {
  const address = request.address === "" ? undefined : parseIpAddress(request.address);
  if (request.address !== "" && address === undefined)
    throw new FieldFault("address", "an IP address", request.address);
  const shards = readList("shards", request.shards, shardsMax, (shard, field) =>
    readInteger(field, shard, 0, shardsMax - 1),
  );
  const query = { ...(address && { address }), shards, atLeast: readPositions("at_least", request.atLeast) };
  const { counts, positions, complete } = await trackers.count(query, optionsOf(context));
  return {
    counts: counts.map(({ flows, halfOpen, ...of }) => ({ ...of, flows: BigInt(flows), halfOpen: BigInt(halfOpen) })),
    positions: positionsToProto(positions),
    complete,
  };
}

async function barrier(
  trackers: TrackerClient,
  request: BarrierRequest,
  context: CallContext,
): Promise<BarrierResponse> {
  const positions = readPositions("positions", request.positions);
  const outcome = await trackers.barrier(positions, optionsOf(context));
  if (outcome.reached) return { applied: positionsToProto(positions) };
  const behind = outcome.behind.join(",");
  throw new Refusal({
    code: "TRACKER_BEHIND",
    message: `these shards have not reached the positions asked for: ${behind}; try again`,
    details: { behind },
  });
}

function optionsOf({ signal, deadlineMs }: CallContext): CallOptions {
  const leftMs = Math.max(1, Math.min(deadlineMaxMs, deadlineMs - Date.now()));
  return { signal, deadlineMs: leftMs };
}

async function answered<T>(work: () => Promise<T>): Promise<Reply<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    throw passedOn(error);
  }
}

async function* streamed<T>(pages: AsyncGenerator<T, void, undefined>): AsyncGenerator<T, void, undefined> {
  try {
    yield* pages;
  } catch (error) {
    throw passedOn(error);
  }
}

/** A message that can't be read is the caller's fault. */
function passedOn(error: unknown): unknown {
  return error instanceof FieldFault ? new Refusal({ code: "INVALID_ARGUMENT", message: error.message }) : error;
}
