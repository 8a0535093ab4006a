/** Looks up whose flows these are: keys whose shards have the same holders in one question, as columns. */
import type { FlowAnswer } from "../flow/answer.ts";
import type { FlowKey } from "../flow/flow.ts";
import type { LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { shardOf } from "../placement/shard.ts";
import { unary } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { positionsToProto } from "./flow-codec.ts";
import { readAnswerColumns, unknownKind } from "./lookup-answers.ts";
import { keysToColumns } from "./lookup-keys.ts";
import type { Bounds, Call, TrackerDirectory } from "./tracker-directory.ts";
import { lookupKeysMax } from "./tracker-limits.ts";

/** Keys of one question, with the shard of each. */
interface Part {
  readonly keys: readonly FlowKey[];
  readonly shards: readonly number[];
}

type Ask = (call: Call<LookupFlowsResponse>) => Promise<LookupFlowsResponse>;

export class LookupClient {
  readonly #directory: TrackerDirectory;

  constructor(directory: TrackerDirectory) {
    this.#directory = directory;
  }

  /** One answer for each key, in order. Throws only the abort reason: keys that nobody could be asked about are `unknown`. */
  async lookup(keys: readonly FlowKey[], atLeast: readonly ShardPosition[], bounds: Bounds): Promise<FlowAnswer[]> {
    try {
      const shards = shardsOfKeys(keys, await this.#directory.shards(bounds));
      const groups = await this.#directory.groups([...new Set(shards)], bounds);
      const answers = new Array<FlowAnswer>(keys.length);
      const asked = rowsByGroup(groups, shards).map(async (rows) => {
        const part = { keys: pick(keys, rows), shards: pick(shards, rows) };
        put(answers, rows, await this.#together(part, atLeast, bounds));
      });
      await Promise.all(asked);
      return answers;
    } catch (error) {
      bounds.signal.throwIfAborted();
      return keys.map(() => unanswered(fromServiceError(error).message));
    }
  }

  /**
   * Keys in shards of the same holders: all at once, then those that are not answered, as while some of the shards move
   * on, shard by shard.
   */
  async #together({ keys, shards }: Part, atLeast: readonly ShardPosition[], bounds: Bounds): Promise<FlowAnswer[]> {
    const [first] = shards;
    const isOneShard = shards.every((shard) => shard === first);
    const answers: FlowAnswer[] =
      first === undefined || isOneShard
        ? []
        : await this.#answers(keys, atLeast, bounds, (call) => this.#directory.askOnce(first, bounds, call));
    const open = [...keys.keys()].filter((row) => (answers[row]?.kind ?? "unknown") === "unknown");
    const alone = [...Map.groupBy(open, (row) => shards[row] as number)].map(async ([shard, rows]) => {
      const isGood = (found: LookupFlowsResponse) => found.columns?.kind.includes(unknownKind) === false;
      const ask: Ask = (call) => this.#directory.ask(shard, bounds, call, isGood);
      put(answers, rows, await this.#answers(pick(keys, rows), atLeast, bounds, ask));
    });
    await Promise.all(alone);
    return answers;
  }

  async #answers(
    keys: readonly FlowKey[],
    atLeast: readonly ShardPosition[],
    bounds: Bounds,
    ask: Ask,
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
}

/** Thousands of keys have a handful of addresses: each is hashed once. */
function shardsOfKeys(keys: readonly FlowKey[], shards: number): number[] {
  const known = new Map<string, number>();
  return keys.map(({ address }) => {
    let shard = known.get(address);
    if (shard === undefined) {
      shard = shardOf(address, shards);
      known.set(address, shard);
    }
    return shard;
  });
}

/** Of each question, which rows it asks for. */
function rowsByGroup(groups: readonly (readonly number[])[], shards: readonly number[]): number[][] {
  const groupOf = new Map(groups.flatMap((group, index) => group.map((shard) => [shard, index] as const)));
  const rows: number[][] = groups.map(() => []);
  for (const [row, shard] of shards.entries()) rows[groupOf.get(shard) ?? -1]?.push(row);
  return rows.flatMap((of) => chunksOf(of, lookupKeysMax));
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}

function pick<T>(items: readonly T[], rows: readonly number[]): T[] {
  return rows.map((row) => items[row] as T);
}

function put(answers: FlowAnswer[], rows: readonly number[], found: readonly FlowAnswer[]): void {
  for (const [place, row] of rows.entries()) answers[row] = found[place] ?? unanswered("too few answers");
}

function unanswered(reason: string): FlowAnswer {
  return { kind: "unknown", reason: `no tracker answered: ${reason}` };
}
