/** Questions about whole shards: how many flows they have, and whether they have come to a position. */
import type { IpAddress } from "../flow/address.ts";
import type { CountFlowsRequest, CountFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { type Layout, shardsUnder } from "../placement/layout.ts";
import { unary } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { readAddress, readCount, readList, readName } from "./fields.ts";
import { positionsToProto, readPositions } from "./flow-codec.ts";
import { addressShardToProto } from "./layout-codec.ts";
import type { Bounds, Call, TrackerDirectory } from "./tracker-directory.ts";
import { countsMax } from "./tracker-limits.ts";
import { type BarrierOutcome, type CountQuery, type FlowCounts, layoutAttemptsMax } from "./tracker-queries.ts";

export class ShardClient {
  readonly #directory: TrackerDirectory;

  constructor(directory: TrackerDirectory) {
    this.#directory = directory;
  }

  /** A flow on its way from one shard to another is counted once; `complete` is false until all have arrived. */
  async count(query: CountQuery, bounds: Bounds): Promise<FlowCounts> {
    const { address, atLeast = [] } = query;
    if (address !== undefined) return await this.#countOf(address, atLeast, bounds);
    const wanted = query.shards ?? [];
    const shards = wanted.length > 0 ? wanted : [...Array(await this.#directory.shards(bounds)).keys()];
    const counted = await this.#countIn(shards, { address: "", of: undefined, buckets: 0 }, atLeast, bounds);
    if (wanted.length > 0) return counted;
    // A tracker may have heard that flows are on their way, and this client not.
    const layouts = await (counted.complete ? this.#directory.layouts(bounds) : this.#directory.newestLayouts(bounds));
    const moving = [...layouts].flatMap(([it, { before }]) => (before === undefined ? [] : [it]));
    const others = counted.counts.filter((count) => !moving.includes(count.address));
    const parts = await Promise.all(moving.map((it) => this.#countOf(it, atLeast, bounds)));
    return {
      counts: [...others, ...parts.flatMap(({ counts }) => counts)],
      positions: counted.positions,
      complete: counted.complete && parts.every(({ complete }) => complete),
    };
  }

  async #countOf(address: IpAddress, atLeast: readonly ShardPosition[], bounds: Bounds): Promise<FlowCounts> {
    for (let attempt = 1; ; attempt++) {
      const { layout } = await this.#directory.shardsFor(address, atLeast, bounds);
      try {
        return await this.#countBy(address, layout, atLeast, bounds);
      } catch (error) {
        if (attempt === layoutAttemptsMax || fromServiceError(error).code !== "LAYOUT_CHANGED") throw error;
      }
    }
  }

  /**
   * Where flows move, counted as they lie by either layout alone: until an owner has moved its flows they are all where they
   * were, and then they are all where they belong; so the larger figure of an owner is right, but for a moment.
   */
  async #countBy(
    address: IpAddress,
    layout: Layout,
    atLeast: readonly ShardPosition[],
    bounds: Bounds,
  ): Promise<FlowCounts> {
    const { buckets, before } = layout;
    const shards = await this.#directory.shards(bounds);
    const countUnder = async (wanted: number): Promise<FlowCounts> => {
      const parts = shardsUnder(address, wanted, shards).map((shard) => {
        const of = addressShardToProto({ shard, layout });
        return this.#countIn([shard], { address, of, buckets: before === undefined ? 0 : wanted }, atLeast, bounds);
      });
      return byOwner(sumOf(await Promise.all(parts)));
    };
    if (before === undefined) return await countUnder(buckets);
    const [now, formerly] = await Promise.all([countUnder(buckets), countUnder(before)]);
    return largerOf(now, formerly);
  }

  async #countIn(
    shards: readonly number[],
    asked: Pick<CountFlowsRequest, "address" | "of" | "buckets">,
    atLeast: readonly ShardPosition[],
    bounds: Bounds,
  ): Promise<FlowCounts> {
    const count = async (group: readonly number[], ...[client, signal, deadlineMs]: Parameters<Call<unknown>>) => {
      const request = { ...asked, atLeast: positionsToProto(atLeast), shards: [...group] };
      return readCounts(await unary(client, "countFlows", request, { signal, deadlineMs }), new Set(group));
    };
    const groups = await this.#directory.groups(shards, bounds);
    const isComplete = ({ complete }: FlowCounts): boolean => complete;
    const parts = groups.map((group) => this.#directory.askTogether(group, bounds, count, isComplete));
    return sumOf((await Promise.all(parts)).flat());
  }

  /** Waits until every position is applied and stored by a holder of its shard, at most until time is up. */
  async barrier(positions: readonly ShardPosition[], bounds: Bounds): Promise<BarrierOutcome> {
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
}

function sumOf(parts: readonly FlowCounts[]): FlowCounts {
  return {
    counts: parts.flatMap(({ counts }) => counts),
    positions: parts.flatMap(({ positions }) => positions),
    complete: parts.every(({ complete }) => complete),
  };
}

type Count = FlowCounts["counts"][number];

/** Of one address: one count for each owner. */
function byOwner({ counts, ...rest }: FlowCounts): FlowCounts {
  const sums = new Map<string, Count>();
  for (const count of counts) {
    const known = sums.get(count.owner);
    const sum = known && { flows: known.flows + count.flows, halfOpen: known.halfOpen + count.halfOpen };
    sums.set(count.owner, { ...count, ...sum });
  }
  return { ...rest, counts: [...sums.values()] };
}

function largerOf(now: FlowCounts, formerly: FlowCounts): FlowCounts {
  const larger = new Map(now.counts.map((count) => [count.owner, count]));
  for (const count of formerly.counts)
    if (count.flows > (larger.get(count.owner)?.flows ?? 0)) larger.set(count.owner, count);
  const positions = new Map([...now.positions, ...formerly.positions].map((position) => [position.shard, position]));
  return {
    counts: [...larger.values()].filter(({ flows }) => flows > 0),
    positions: [...positions.values()],
    complete: false,
  };
}

/** Of a tracker's answer; positions of these shards alone, for it may hold others as a standby. */
function readCounts(response: CountFlowsResponse, wanted: ReadonlySet<number>): FlowCounts {
  const counts = readList("counts", response.counts, countsMax, (count, field) => ({
    address: readAddress(`${field}.address`, count.address),
    owner: readName(`${field}.owner`, count.owner),
    flows: readCount(`${field}.flows`, count.flows),
    halfOpen: readCount(`${field}.half_open`, count.halfOpen),
  }));
  return {
    counts,
    positions: readPositions("positions", response.positions).filter(({ shard }) => wanted.has(shard)),
    complete: response.complete,
  };
}
