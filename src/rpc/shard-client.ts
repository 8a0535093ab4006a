/** Questions about whole shards: how many flows they have, and whether they have come to a position. */
import type { CountFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { shardOf } from "../placement/shard.ts";
import { unary } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { readAddress, readCount, readList, readName } from "./fields.ts";
import { positionsToProto, readPositions } from "./flow-codec.ts";
import type { Bounds, Call, TrackerDirectory } from "./tracker-directory.ts";
import { countsMax } from "./tracker-limits.ts";
import type { BarrierOutcome, CountQuery, FlowCounts } from "./tracker-queries.ts";

export class ShardClient {
  readonly #directory: TrackerDirectory;

  constructor(directory: TrackerDirectory) {
    this.#directory = directory;
  }

  async count(query: CountQuery, bounds: Bounds): Promise<FlowCounts> {
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
