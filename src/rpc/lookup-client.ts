/** Looks up whose flows these are: keys whose shards have the same holders in one question, as columns. */
import type { FlowAnswer } from "../flow/answer.ts";
import type { FlowKey } from "../flow/flow.ts";
import type { LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardPosition } from "../node/state.ts";
import { type LayoutMap, shardsToAsk } from "../placement/layout.ts";
import { shardOf } from "../placement/shard.ts";
import { unary } from "./client.ts";
import { fromServiceError } from "./errors.ts";
import { positionsToProto } from "./flow-codec.ts";
import { layoutMapToProto } from "./layout-codec.ts";
import { readAnswerColumns, unknownKind } from "./lookup-answers.ts";
import { keysToColumns } from "./lookup-keys.ts";
import { type Bounds, type Call, leftMs, type TrackerDirectory } from "./tracker-directory.ts";
import { lookupKeysMax } from "./tracker-limits.ts";
import { layoutAttemptsMax, movingReason } from "./tracker-queries.ts";

/** Keys of one question, with the shard of each. */
interface Part {
  readonly keys: readonly FlowKey[];
  readonly shards: readonly number[];
}

/** What all questions of one look-up have in common. */
interface Terms {
  readonly atLeast: readonly ShardPosition[];
  readonly layouts: LayoutMap;
  readonly bounds: Bounds;
  /** A tracker has refused, for it knows a newer layout. */
  isOutdated: boolean;
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
      for (let attempt = 1; ; attempt++) {
        const terms: Terms = { atLeast, layouts: await this.#directory.layouts(bounds), bounds, isOutdated: false };
        const answers = await this.#ask(keys, terms);
        if (!terms.isOutdated || attempt === layoutAttemptsMax || leftMs(bounds) === 0) return answers;
      }
    } catch (error) {
      bounds.signal.throwIfAborted();
      return keys.map(() => unanswered(fromServiceError(error).message));
    }
  }

  async #ask(keys: readonly FlowKey[], terms: Terms): Promise<FlowAnswer[]> {
    const { bounds } = terms;
    const shards = await this.#directory.shards(bounds);
    const { now, former } = shardsOfKeys(keys, terms.layouts, shards);
    const moving = [...former.keys()];
    const [answers, formerly] = await Promise.all([
      this.#askIn(keys, now, terms),
      this.#askIn(pick(keys, moving), [...former.values()], terms),
    ]);
    for (const [place, row] of moving.entries()) answers[row] = combined(answers[row], formerly[place]);
    return answers;
  }

  async #askIn(keys: readonly FlowKey[], shards: readonly number[], terms: Terms): Promise<FlowAnswer[]> {
    const groups = await this.#directory.groups([...new Set(shards)], terms.bounds);
    const answers = new Array<FlowAnswer>(keys.length);
    const asked = rowsByGroup(groups, shards).map(async (rows) => {
      const part = { keys: pick(keys, rows), shards: pick(shards, rows) };
      put(answers, rows, await this.#together(part, terms));
    });
    await Promise.all(asked);
    return answers;
  }

  /**
   * Keys in shards of the same holders: all at once, then those that are not answered, as while some of the shards move
   * on, shard by shard.
   */
  async #together({ keys, shards }: Part, terms: Terms): Promise<FlowAnswer[]> {
    const { bounds } = terms;
    const [first] = shards;
    const isOneShard = shards.every((shard) => shard === first);
    const answers: FlowAnswer[] =
      first === undefined || isOneShard
        ? []
        : await this.#answers(keys, terms, (call) => this.#directory.askOnce(first, bounds, call));
    const open = [...keys.keys()].filter((row) => (answers[row]?.kind ?? "unknown") === "unknown");
    const alone = [...Map.groupBy(open, (row) => shards[row] as number)].map(async ([shard, rows]) => {
      const isGood = (found: LookupFlowsResponse) => found.columns?.kind.includes(unknownKind) === false;
      const ask: Ask = (call) => this.#directory.ask(shard, bounds, call, isGood);
      put(answers, rows, await this.#answers(pick(keys, rows), terms, ask));
    });
    await Promise.all(alone);
    return answers;
  }

  async #answers(keys: readonly FlowKey[], terms: Terms, ask: Ask): Promise<FlowAnswer[]> {
    const { atLeast, bounds } = terms;
    const columns = keysToColumns(keys);
    const layouts = layoutMapToProto(layoutsAmong(columns.addresses, terms.layouts));
    const request = { keys: [], columns, atLeast: positionsToProto(atLeast), layouts };
    try {
      const { columns: answered } = await ask(
        async (client, signal, deadlineMs) => await unary(client, "lookupFlows", request, { signal, deadlineMs }),
      );
      return readAnswerColumns(keys, answered);
    } catch (error) {
      bounds.signal.throwIfAborted();
      const { code, message } = fromServiceError(error);
      if (code === "LAYOUT_CHANGED") terms.isOutdated = true;
      return keys.map(() => unanswered(message));
    }
  }
}

/** While a flow moves, neither shard can say that there is none. Two owners may claim it: the younger flow lives. */
function combined(now: FlowAnswer | undefined, formerly: FlowAnswer | undefined): FlowAnswer {
  const [first, second] = [now, formerly].flatMap((answer) => (answer?.kind === "owned" ? [answer] : []));
  if (first === undefined) return { kind: "unknown", reason: movingReason };
  return second !== undefined && second.flow.generation > first.flow.generation ? second : first;
}

function layoutsAmong(addresses: readonly string[], layouts: LayoutMap): LayoutMap {
  if (layouts.size === 0) return layouts;
  const named = new Set(addresses);
  return new Map([...layouts].filter(([address]) => named.has(address)));
}

/** Of each key the shard that it belongs to; and of those that change theirs, by row, the one where they may still be. */
function shardsOfKeys(
  keys: readonly FlowKey[],
  layouts: LayoutMap,
  shards: number,
): { readonly now: readonly number[]; readonly former: ReadonlyMap<number, number> } {
  const former = new Map<number, number>();
  // Thousands of keys have a handful of addresses: each is hashed once.
  const known = new Map<string, number>();
  const now = keys.map((key, row) => {
    const layout = layouts.get(key.address);
    if (layout !== undefined) {
      const [shard = 0, before] = shardsToAsk(key, layout, shards);
      if (before !== undefined) former.set(row, before);
      return shard;
    }
    let shard = known.get(key.address);
    if (shard === undefined) {
      shard = shardOf(key.address, shards);
      known.set(key.address, shard);
    }
    return shard;
  });
  return { now, former };
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
