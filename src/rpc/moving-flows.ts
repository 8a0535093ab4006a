/**
 * Flows that are told of by two shards while they move from one to the other. Of a layout by which nothing moves, nothing is
 * remembered.
 */
import { type Flow, flowKeyText } from "../flow/flow.ts";
import { type Layout, shardUnder } from "../placement/layout.ts";

/** Flows that are remembered while they move, about 100 bytes each. Others may be listed twice, or told of out of order. */
export const movingFlowsMax = 1_000_000;

type Moving = Pick<Layout, "buckets" | "before">;

function placesOf({ key }: Flow, { buckets, before = buckets }: Moving, shards: number) {
  return { now: shardUnder(key, buckets, shards), before: shardUnder(key, before, shards) };
}

function textOf({ owner, key }: Flow): string {
  return `${owner} ${flowKeyText(key)}`;
}

/** For a list that asks where flows were before it asks where they go to. */
export class ListedFlows {
  readonly #layout: Moving;
  readonly #shards: number;
  readonly #listed = new Set<string>();

  constructor(layout: Moving, shards: number) {
    this.#layout = layout;
    this.#shards = shards;
  }

  get size(): number {
    return this.#listed.size;
  }

  /** False: another shard has listed the flow. */
  isNew(flow: Flow, shard: number): boolean {
    const { now, before } = placesOf(flow, this.#layout, this.#shards);
    if (now === before) return true;
    const text = textOf(flow);
    if (this.#listed.has(text)) return false;
    if (shard === before && this.#listed.size < movingFlowsMax) this.#listed.add(text);
    return true;
  }
}

/** For a watch: there is no order between shards, so what one tells late may be older than what another has told. */
export class WatchedFlows {
  readonly #layout: Moving;
  readonly #shards: number;
  /** What lives by the word of the shard where it belongs from now on. */
  readonly #living = new Map<string, Flow>();

  constructor(layout: Moving, shards: number) {
    this.#layout = layout;
    this.#shards = shards;
  }

  get size(): number {
    return this.#living.size;
  }

  /** False: the end of a connection whose ports serve a later one by now, told by the shard where it was. */
  isCurrent(flow: Flow, shard: number): boolean {
    const { now, before } = placesOf(flow, this.#layout, this.#shards);
    if (now === before) return true;
    const text = textOf(flow);
    const living = this.#living.get(text);
    if (flow.state === "closed") {
      if (shard !== now) return living === undefined || !isLater(living, flow);
      this.#living.delete(text);
    } else if (shard === now && (living !== undefined || this.#living.size < movingFlowsMax)) {
      this.#living.set(text, flow);
    }
    return true;
  }
}

function isLater(one: Flow, other: Flow): boolean {
  return one.generation > other.generation || one.openedAtMs > other.openedAtMs;
}
