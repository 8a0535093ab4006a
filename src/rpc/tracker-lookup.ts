/**
 * LookupFlows at a tracker: from the request's columns into the shards' tables and out into the answer's columns, with no
 * object for a key, so that a question of thousands holds everyone else up for a short time only.
 */

import type { IpAddress } from "../flow/address.ts";
import { keyWords } from "../flow/flow-words.ts";
import type { LookupFlowsRequest, LookupFlowsResponse } from "../gen/baton/v1/tracker.ts";
import type { ShardReplica } from "../tracker/replica.ts";
import type { AddressFlows } from "../tracker/table.ts";
import type { Tracker } from "../tracker/tracker.ts";
import { decode } from "./fields.ts";
import { readPositions } from "./flow-codec.ts";
import type { CallContext, Reply } from "./handler.ts";
import { AnswerRows, lookupResponse, readAnswerColumns } from "./lookup-answers.ts";
import { type AskedKeys, askedKey, keysOf, readLookupKeys } from "./lookup-keys.ts";
import { replicaFor, waitForPositions } from "./tracker-wait.ts";

export async function lookUp(
  tracker: Tracker,
  request: LookupFlowsRequest,
  context: CallContext,
  onLookup: (keys: number) => void,
): Promise<Reply<LookupFlowsResponse>> {
  const read = decode(() => ({ asked: readLookupKeys(request), atLeast: readPositions("at_least", request.atLeast) }));
  if (!read.ok) return { ok: false, error: { code: "INVALID_ARGUMENT", message: read.message } };
  const { asked, atLeast } = read.value;
  onLookup(asked.places.length);
  const concerned = new Set(asked.addresses.map((address) => tracker.shardOf(address)));
  const held = concerned.values().some((shard) => tracker.replica(shard) !== undefined);
  if (!held) for (const shard of concerned) replicaFor(tracker, shard);
  const behind = await waitForPositions(
    tracker,
    atLeast.filter(({ shard }) => concerned.has(shard)),
    context,
  );
  const columns = answersTo(asked, tracker, new Set(behind.map(({ shard }) => shard)));
  if (request.columns !== undefined) return { ok: true, value: { answers: [], columns } };
  return { ok: true, value: lookupResponse(request, readAnswerColumns(keysOf(asked), columns)) };
}

/** Of one public address: who knows its flows, or why nobody here does. */
type Source =
  | { readonly kind: "unknown"; readonly reason: string }
  | {
      readonly kind: "known";
      readonly replica: ShardReplica;
      readonly flows: AddressFlows;
      /** Why a flow that is not found is not absent for sure. */
      readonly doubt: string | undefined;
    };

function answersTo(asked: AskedKeys, tracker: Tracker, behind: ReadonlySet<number>): AnswerRows {
  const sources = asked.addresses.map((address) => sourceOf(tracker, address, behind));
  const answers = new AnswerRows(asked.places.length);
  for (let row = 0; row < asked.places.length; row++) {
    const source = sources[asked.places[row] ?? -1] as Source;
    if (source.kind === "unknown") {
      answers.unknown(row, source.reason);
      continue;
    }
    const place = source.flows.find(asked.words, keyWords * row);
    if (place === undefined) answerWithout(source, asked, row, answers);
    else answers.owned(row, place);
  }
  return answers;
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
  else if (doubt === undefined) answers.absent(row, table.sequence);
  else answers.unknown(row, doubt);
}

function sourceOf(tracker: Tracker, address: IpAddress, behind: ReadonlySet<number>): Source {
  const shard = tracker.shardOf(address);
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
