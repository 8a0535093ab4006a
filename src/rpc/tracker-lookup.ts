/**
 * LookupFlows at a tracker: from the request's columns into the shards' tables and out into the answer's columns, with no
 * object for a key, so that a question of thousands holds everyone else up for a short time only.
 */

import type { IpAddress } from "../flow/address.ts";
import { keyWords } from "../flow/flow-words.ts";
import { slotOfWords } from "../flow/key-digest.ts";
import type { LookupFlowsRequest, LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import { type LayoutMap, layoutOf, layoutsMax, shardOfBucket } from "../placement/layout.ts";
import type { AddressFlows, FoundPlace } from "../tracker/address-flows.ts";
import type { ShardReplica } from "../tracker/replica.ts";
import type { Tracker } from "../tracker/tracker.ts";
import { decode } from "./fields.ts";
import { readPositions } from "./flow-codec.ts";
import type { CallContext, Reply } from "./handler.ts";
import { readLayoutMap } from "./layout-codec.ts";
import { AnswerRows, lookupResponse, readAnswerColumns } from "./lookup-answers.ts";
import { type AskedKeys, askedKey, keysOf, readLookupKeys } from "./lookup-keys.ts";
import { movingReason } from "./tracker-queries.ts";
import { checkLayout, replicaFor, waitForPositions } from "./tracker-wait.ts";

export async function lookUp(
  tracker: Tracker,
  request: LookupFlowsRequest,
  context: CallContext,
  onLookup: (keys: number) => void,
): Promise<Reply<LookupFlowsResponse>> {
  const read = decode(() => ({
    asked: readLookupKeys(request),
    atLeast: readPositions("at_least", request.atLeast),
    layouts: readLayoutMap("layouts", request.layouts, layoutsMax),
  }));
  if (!read.ok) return { ok: false, error: { code: "INVALID_ARGUMENT", message: read.message } };
  const { asked, atLeast, layouts } = read.value;
  onLookup(asked.places.length);
  for (const address of asked.addresses) checkLayout(tracker, address, layoutOf(layouts, address));
  const shards = shardsOfKeys(asked, layouts, tracker.shards);
  const concerned = new Set([...shards.now, ...shards.before]);
  concerned.delete(none);
  const held = concerned.values().some((shard) => tracker.replica(shard) !== undefined);
  if (!held) for (const shard of concerned) replicaFor(tracker, shard);
  const behind = await waitForPositions(
    tracker,
    atLeast.filter(({ shard }) => concerned.has(shard)),
    context,
  );
  const columns = answersTo(asked, shards, new Sources(tracker, asked, new Set(behind.map(({ shard }) => shard))));
  if (request.columns !== undefined) return { ok: true, value: { answers: [], columns } };
  return { ok: true, value: lookupResponse(request, readAnswerColumns(keysOf(asked), columns)) };
}

/** Of one public address in one shard: who knows its flows, or why nobody here does. */
type Source =
  | { readonly kind: "unknown"; readonly reason: string }
  | {
      readonly kind: "known";
      readonly replica: ShardReplica;
      readonly flows: AddressFlows;
      /** Why a flow that is not found is not absent for sure. */
      readonly doubt: string | undefined;
    };

const none = -1;

/** Of each key: the shard that it belongs to, and {@link none} or the one where it may still be. */
interface ShardsOfKeys {
  readonly now: Int32Array;
  readonly before: Int32Array;
}

function shardsOfKeys({ addresses, places, words }: AskedKeys, layouts: LayoutMap, shards: number): ShardsOfKeys {
  const [now, before] = [new Int32Array(places.length), new Int32Array(places.length).fill(none)];
  const known = addresses.map((address) => ({
    address,
    layout: layoutOf(layouts, address),
    first: shardOfBucket(address, 0, shards),
  }));
  for (let row = 0; row < places.length; row++) {
    const { address, layout, first } = known[places[row] ?? -1] as (typeof known)[number];
    const { buckets, before: former = buckets } = layout;
    const slot = buckets === 1 && former === 1 ? 0 : slotOfWords(address, words, keyWords * row);
    now[row] = (first + (slot % buckets)) % shards;
    const was = (first + (slot % former)) % shards;
    if (was !== now[row]) before[row] = was;
  }
  return { now, before };
}

/** Made once for each address and shard; keys of one address come in runs. */
class Sources {
  readonly #tracker: Tracker;
  readonly #asked: AskedKeys;
  readonly #behind: ReadonlySet<number>;
  readonly #known: Map<number, Source>[];

  constructor(tracker: Tracker, asked: AskedKeys, behind: ReadonlySet<number>) {
    this.#tracker = tracker;
    this.#asked = asked;
    this.#behind = behind;
    this.#known = asked.addresses.map(() => new Map());
  }

  of(row: number, shard: number): Source {
    const place = this.#asked.places[row] ?? -1;
    let source = this.#known[place]?.get(shard);
    if (source === undefined) {
      source = sourceOf(this.#tracker, this.#asked.addresses[place] as IpAddress, shard, this.#behind);
      this.#known[place]?.set(shard, source);
    }
    return source;
  }
}

function answersTo(asked: AskedKeys, { now, before }: ShardsOfKeys, sources: Sources): AnswerRows {
  const answers = new AnswerRows(asked.places.length);
  for (let row = 0; row < asked.places.length; row++) {
    const source = sources.of(row, now[row] ?? none);
    const former = before[row] ?? none;
    if (former !== none) answerMoving(asked, row, [source, sources.of(row, former)], answers);
    else if (source.kind === "unknown") answers.unknown(row, source.reason);
    else {
      const place = source.flows.find(asked.words, keyWords * row);
      if (place === undefined) answerWithout(source, asked, row, answers);
      else answers.owned(row, place);
    }
  }
  return answers;
}

/**
 * To a key that changes its shard. While its flow goes from one to the other both may lack it at the moments at which they are
 * asked, so neither can say that there is none, or that it has ended.
 */
function answerMoving(asked: AskedKeys, row: number, sources: readonly Source[], answers: AnswerRows): void {
  const found = sources.flatMap((source) =>
    source.kind === "known" ? (source.flows.find(asked.words, keyWords * row) ?? []) : [],
  );
  const [first, second] = found;
  if (first === undefined) answers.unknown(row, movingReason);
  else answers.owned(row, second !== undefined && isYounger(second, first) ? second : first);
}

/** Of two owners, who both claim it. */
function isYounger(one: FoundPlace, other: FoundPlace): boolean {
  return one.slab.factsAt(one.slot).generation > other.slab.factsAt(other.slot).generation;
}

/** To a key of which no flow is live. */
function answerWithout(
  { replica: { table }, doubt }: Source & { kind: "known" },
  asked: AskedKeys,
  row: number,
  answers: AnswerRows,
): void {
  const ended = table.ended(askedKey(asked, row));
  if (ended.kind === "closed") answers.closed(row, ended.owner, table.sequence);
  else if (ended.kind === "elsewhere") answers.unknown(row, "it belongs to another bucket of its address");
  else if (doubt === undefined) answers.absent(row, table.sequence);
  else answers.unknown(row, doubt);
}

function sourceOf(tracker: Tracker, address: IpAddress, shard: number, behind: ReadonlySet<number>): Source {
  const replica = tracker.replica(shard);
  if (replica === undefined) return { kind: "unknown", reason: `shard ${shard} is served elsewhere` };
  if (behind.has(shard)) return { kind: "unknown", reason: `shard ${shard} has not reached the position asked for` };
  return { kind: "known", replica, flows: replica.table.at(address), doubt: doubtOf(tracker, replica) };
}

function doubtOf(tracker: Tracker, replica: ShardReplica): string | undefined {
  const { shard, lag } = replica;
  if (!replica.complete) return `shard ${shard} is incomplete until snapshots arrive`;
  if (tracker.isUpToDate(shard)) return undefined;
  return `shard ${shard} is behind by ${lag === undefined ? "a number of messages that is not known" : `${lag} messages`}`;
}
