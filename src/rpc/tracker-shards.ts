/** What a tracker tells other trackers: how far its copies are, and the rows of one of them. */
import { shardsMax } from "../flow/events.ts";
import type {
  ListReplicasRequest,
  ListReplicasResponse,
  ShardRows,
  TransferShardRequest,
} from "../gen/baton/v1/tracker.ts";
import type { FlowStore } from "../tracker/level.ts";
import { StoreFault } from "../tracker/store-fault.ts";
import type { Tracker } from "../tracker/tracker.ts";
import { decode, readInteger, readList } from "./fields.ts";
import { type CallContext, Refusal, type Reply } from "./handler.ts";
import { reportToProto } from "./replica-codec.ts";
import { transferPartBytes, transfersMax } from "./tracker-limits.ts";
import { replicaFor } from "./tracker-wait.ts";

export function listReplicas(tracker: Tracker, request: ListReplicasRequest): Reply<ListReplicasResponse> {
  const asked = decode(() => readList("shards", request.shards, shardsMax, readShard));
  if (!asked.ok) return { ok: false, error: { code: "INVALID_ARGUMENT", message: asked.message } };
  const wanted = new Set(asked.value);
  const told = tracker.status().filter(({ shard }) => wanted.size === 0 || wanted.has(shard));
  const { name, endpoint, assignment } = tracker;
  const replicas = new Map(
    told.map(({ shard, phase, lag, flows, complete, committed: applied }) => {
      return [shard, { phase, lag, flows, complete, applied }];
    }),
  );
  return { ok: true, value: reportToProto({ name, endpoint, epoch: assignment?.epoch ?? 0n, replicas }) };
}

/** The handler of TransferShard; it counts those that are under way. */
export function shardTransfers(tracker: Tracker, store: Pick<FlowStore, "rows">) {
  let underWay = 0;
  return async function* (request: TransferShardRequest, { signal }: CallContext): AsyncGenerator<ShardRows> {
    const asked = decode(() => readShard(request.shard, "shard"));
    if (!asked.ok) throw new Refusal({ code: "INVALID_ARGUMENT", message: asked.message });
    replicaFor(tracker, asked.value);
    if (underWay >= transfersMax)
      throw new Refusal({
        code: "LIMIT_EXCEEDED",
        message: `${transfersMax} shards are being transferred from here: ask again later`,
      });
    underWay++;
    try {
      for await (const rows of store.rows(asked.value, transferPartBytes)) {
        if (signal.aborted) return;
        yield { rows, complete: false };
      }
      yield { rows: [], complete: true };
    } catch (error) {
      if (!(error instanceof StoreFault)) throw error;
      throw new Refusal({ code: "STORE_UNAVAILABLE", message: "this tracker's database can't be read now" });
    } finally {
      underWay--;
    }
  };
}

function readShard(shard: number, field: string): number {
  return readInteger(field, shard, 0, shardsMax - 1);
}
