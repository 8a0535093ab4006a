/**
 * Asks trackers about flows. Any of them tells who holds which shard; then the shard's primary is asked, and its standby
 * too as soon as the primary is silent for a quarter of a second, fails, or doesn't know.
 *
 * What a call throws is grpc-js's ServiceError, to be read by `fromServiceError`, or the abort reason.
 */
import type { IpAddress } from "../flow/address.ts";
import type { FlowAnswer } from "../flow/answer.ts";
import type { Flow, FlowKey } from "../flow/flow.ts";
import type { CountFlowsResponse, ListFlowsRequest, LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { shardOf } from "../placement/shard.ts";
import { sleep } from "../runtime/retry.ts";
import { serverStream, unary } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { readAddress, readCount, readList, readName } from "./fields.ts";
import {
  positionsToProto,
  readFlow,
  readPositions,
  readWatchPositions,
  type WatchPosition,
  watchPositionsToProto,
} from "./flow-codec.ts";
import { keysToColumns, readAnswerColumns, unknownKind } from "./lookup-columns.ts";
import { type Bounds, type Call, TrackerDirectory } from "./tracker-directory.ts";
import { countsMax, lookupKeysMax } from "./tracker-limits.ts";

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly deadlineMs?: number;
}

export interface ListQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly peer?: IpAddress;
  /** None: all. */
  readonly limit?: number;
  readonly atLeast?: readonly ShardPosition[];
}

export interface WatchQuery {
  readonly address: IpAddress;
  readonly owner?: string;
  readonly atLeast?: readonly ShardPosition[];
}

export type WatchEvent =
  /** `first`: what earlier events told begins anew. `complete`: the last part. */
  | {
      readonly kind: "snapshot";
      readonly flows: Flow[];
      readonly first: boolean;
      readonly complete: boolean;
      /** As of where in the event stream. */
      readonly positions: readonly ShardPosition[];
    }
  /** In order; a closed flow is gone. */
  | { readonly kind: "changes"; readonly flows: Flow[]; readonly positions: readonly ShardPosition[] };

export interface FlowCounts {
  readonly counts: readonly {
    readonly address: IpAddress;
    readonly owner: string;
    /** Open, half-open and closing ones together. */
    readonly flows: number;
    readonly halfOpen: number;
  }[];
  readonly positions: readonly ShardPosition[];
  /** False: a shard concerned is being rebuilt, and counts may be too low. */
  readonly complete: boolean;
}

export type BarrierOutcome =
  | { readonly reached: true }
  /** Shards that had not come to their positions when time was up. */
  | { readonly reached: false; readonly behind: readonly number[] };

const defaultDeadlineMs = 5_000;
/** Before a watch that broke is begun again; doubled by chance, so that many watchers don't return together. */
const resumeWaitMs = 250;

export class TrackerClient implements Disposable {
  readonly #directory: TrackerDirectory;

  /** host:port or unix:PATH of some trackers; one that answers is enough. */
  constructor(endpoints: readonly string[]) {
    this.#directory = new TrackerDirectory(endpoints);
  }

  /** One answer for each key, in order. Throws only the abort reason: keys that nobody could be asked about are `unknown`. */
  async lookup(
    keys: readonly FlowKey[],
    atLeast: readonly ShardPosition[] = [],
    options: CallOptions = {},
  ): Promise<FlowAnswer[]> {
    const bounds = boundsOf(options);
    try {
      const shards = await this.#directory.shards(bounds);
      const shardsOfKeys = keys.map(({ address }) => shardOf(address, shards));
      const byShard = Map.groupBy(keys.keys(), (index) => shardsOfKeys[index] as number);
      const groups = await this.#directory.groups([...byShard.keys()], bounds);
      const answers = new Array<FlowAnswer>(keys.length);
      const asked = groups
        .flatMap((group) =>
          chunksOf(
            group.flatMap((shard) => byShard.get(shard) ?? []),
            lookupKeysMax,
          ),
        )
        .map(async (chunk) => {
          const part = chunk.map((index) => ({ key: keys[index] as FlowKey, shard: shardsOfKeys[index] as number }));
          const found = await this.#lookupTogether(part, atLeast, bounds);
          for (const [place, index] of chunk.entries()) answers[index] = found[place] ?? unanswered("too few answers");
        });
      await Promise.all(asked);
      return answers;
    } catch (error) {
      bounds.signal.throwIfAborted();
      return keys.map(() => unanswered(fromServiceError(error).message));
    }
  }

  /** All flows that match, in pages, as of one moment. */
  async *list(query: ListQuery, options: CallOptions = {}): AsyncGenerator<Flow[], void, undefined> {
    const bounds = boundsOf(options);
    const request: ListFlowsRequest = {
      address: query.address,
      owner: query.owner ?? "",
      peer: query.peer ?? "",
      limit: query.limit ?? 0,
      atLeast: positionsToProto(query.atLeast ?? []),
    };
    const shard = shardOf(query.address, await this.#directory.shards(bounds));
    const pages = this.#directory.stream(shard, bounds, (client, signal, deadlineMs) =>
      serverStream(client, "listFlows", request, { signal, deadlineMs }),
    );
    for await (const page of pages) yield page.flows.map((flow) => readFlow("flow", flow));
  }

  /**
   * All flows that match, then every change to them, until the signal aborts. Resumes by itself where it was; where the
   * tracker can't tell what has changed since, with a new snapshot, of which the first part says that it begins.
   */
  async *watch(
    query: WatchQuery,
    options: { readonly signal: AbortSignal },
  ): AsyncGenerator<WatchEvent, void, undefined> {
    const { signal } = options;
    let seen: readonly WatchPosition[] = [];
    for (;;) {
      try {
        for await (const { event, positions } of this.#watchOnce(query, seen, signal)) {
          if (event.flows.length > 0 || event.kind === "snapshot") yield event;
          // Half a snapshot is no state to go on from.
          seen = event.kind === "snapshot" && !event.complete ? [] : positions;
        }
      } catch (error) {
        signal.throwIfAborted();
        // The stream may have gone back behind what was seen; what the caller asked for still holds.
        if (fromServiceError(error).code === "TRACKER_BEHIND") seen = [];
      }
      await sleep(resumeWaitMs * (1 + Math.random()), signal);
    }
  }

  /** Without an address: of these shards; without either: of all. */
  async count(
    query: {
      readonly address?: IpAddress;
      readonly shards?: readonly number[];
      readonly atLeast?: readonly ShardPosition[];
    },
    options: CallOptions = {},
  ): Promise<FlowCounts> {
    const bounds = boundsOf(options);
    const { address } = query;
    const wanted = query.shards ?? [];
    const atLeast = positionsToProto(query.atLeast ?? []);
    const shards = await this.#directory.shards(bounds);
    const all = wanted.length > 0 ? wanted : [...Array(shards).keys()];
    const concerned = address === undefined ? all : [shardOf(address, shards)];
    const count = async (group: readonly number[], ...[client, signal, deadlineMs]: Parameters<Call<unknown>>) => {
      const request = { address: address ?? "", atLeast, shards: [...group] };
      const response = await unary(client, "countFlows", request, { signal, deadlineMs });
      return readCounts(response, new Set(group), shards);
    };
    const groups = await this.#directory.groups(concerned, bounds);
    const isComplete = ({ complete }: FlowCounts): boolean => complete;
    const parts = (
      await Promise.all(groups.map((group) => this.#directory.askTogether(group, bounds, count, isComplete)))
    ).flat();
    return {
      counts: parts.flatMap(({ counts }) => counts),
      positions: parts.flatMap(({ positions }) => positions),
      complete: parts.every(({ complete }) => complete),
    };
  }

  /** Waits until every position is applied and stored by a holder of its shard, at most `deadlineMs`. */
  async barrier(positions: readonly ShardPosition[], options: CallOptions = {}): Promise<BarrierOutcome> {
    const bounds = boundsOf(options);
    const shards = [...new Set(positions.map(({ shard }) => shard))];
    const reach = async (group: readonly number[]): Promise<readonly number[]> => {
      const wait = async (of: readonly number[], ...[client, signal, deadlineMs]: Parameters<Call<unknown>>) => {
        const request = { positions: positionsToProto(positions.filter(({ shard }) => of.includes(shard))) };
        return await unary(client, "barrier", request, { signal, deadlineMs });
      };
      try {
        await this.#directory.askTogether(group, bounds, wait);
        return [];
      } catch (error) {
        bounds.signal.throwIfAborted();
        const { details } = fromServiceError(error);
        const named = details["behind"]?.split(",").map(Number) ?? [];
        return named.length > 0 ? named : group;
      }
    };
    try {
      const groups = await this.#directory.groups(shards, bounds);
      const behind = (await Promise.all(groups.map(reach))).flat().sort((a, b) => a - b);
      return behind.length === 0 ? { reached: true } : { reached: false, behind };
    } catch {
      bounds.signal.throwIfAborted();
      return { reached: false, behind: shards.sort((a, b) => a - b) };
    }
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }

  /**
   * Keys in shards of the same holders: all at once, then those that are not answered, as while some of the shards move
   * on, shard by shard.
   */
  async #lookupTogether(
    asked: readonly { readonly key: FlowKey; readonly shard: number }[],
    atLeast: readonly ShardPosition[],
    bounds: Bounds,
  ): Promise<FlowAnswer[]> {
    const keys = asked.map(({ key }) => key);
    const shards = new Set(asked.map(({ shard }) => shard));
    const [first] = shards;
    const answers: FlowAnswer[] =
      first === undefined || shards.size === 1
        ? []
        : await this.#answers(keys, atLeast, bounds, (call) => this.#directory.askOnce(first, bounds, call));
    const open = [...keys.keys()].filter((index) => (answers[index]?.kind ?? "unknown") === "unknown");
    const alone = [...Map.groupBy(open, (index) => asked[index]?.shard ?? 0)].map(async ([shard, indices]) => {
      const some = indices.map((index) => keys[index] as FlowKey);
      const isGood = (found: LookupFlowsResponse) => found.columns?.kind.includes(unknownKind) === false;
      const found = await this.#answers(some, atLeast, bounds, (call) =>
        this.#directory.ask(shard, bounds, call, isGood),
      );
      for (const [place, index] of indices.entries()) answers[index] = found[place] ?? unanswered("too few answers");
    });
    await Promise.all(alone);
    return answers;
  }

  async #answers(
    keys: readonly FlowKey[],
    atLeast: readonly ShardPosition[],
    bounds: Bounds,
    ask: (call: Call<LookupFlowsResponse>) => Promise<LookupFlowsResponse>,
  ): Promise<FlowAnswer[]> {
    const request = { keys: [], columns: keysToColumns(keys), atLeast: positionsToProto(atLeast) };
    try {
      const { columns } = await ask(
        async (client, signal, deadlineMs) => await unary(client, "lookupFlows", request, { signal, deadlineMs }),
      );
      return readAnswerColumns(keys, columns);
    } catch (error) {
      bounds.signal.throwIfAborted();
      return keys.map(() => unanswered(fromServiceError(error).message));
    }
  }

  async *#watchOnce(
    query: WatchQuery,
    seen: readonly WatchPosition[],
    signal: AbortSignal,
  ): AsyncGenerator<{ event: WatchEvent; positions: readonly WatchPosition[] }, void, undefined> {
    const bounds = { signal, endMs: Number.POSITIVE_INFINITY };
    const shard = shardOf(query.address, await this.#directory.shards(bounds));
    const request = {
      address: query.address,
      owner: query.owner ?? "",
      after: watchPositionsToProto(seen),
      atLeast: positionsToProto(query.atLeast ?? []),
    };
    const pages = this.#directory.stream(shard, bounds, (client, stop) =>
      serverStream(client, "watchFlows", request, { signal: stop }),
    );
    let first = true;
    for await (const { content, snapshotComplete } of pages) {
      if (content === undefined) continue;
      const flows = content.value.flows.map((flow) => readFlow("flow", flow));
      const positions = readWatchPositions("positions", content.value.positions);
      if (content.$case === "changes") yield { event: { kind: "changes", flows, positions }, positions };
      else yield { event: { kind: "snapshot", flows, first, complete: snapshotComplete, positions }, positions };
      first = false;
    }
  }
}

function boundsOf({ signal, deadlineMs = defaultDeadlineMs }: CallOptions): Bounds {
  return { signal: signal ?? new AbortController().signal, endMs: performance.now() + deadlineMs };
}

function unanswered(reason: string): FlowAnswer {
  return { kind: "unknown", reason: `no tracker answered: ${reason}` };
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}

/** Of a tracker's answer, what concerns these shards: it may hold others as a standby. */
function readCounts(response: CountFlowsResponse, wanted: ReadonlySet<number>, shards: number): FlowCounts {
  const counts = readList("counts", response.counts, countsMax, (count, field) => ({
    address: readAddress(`${field}.address`, count.address),
    owner: readName(`${field}.owner`, count.owner),
    flows: readCount(`${field}.flows`, count.flows),
    halfOpen: readCount(`${field}.half_open`, count.halfOpen),
  }));
  return {
    counts: counts.filter(({ address }) => wanted.has(shardOf(address, shards))),
    positions: readPositions("positions", response.positions).filter(({ shard }) => wanted.has(shard)),
    complete: response.complete,
  };
}
