/** One message of the event stream, applied to a table: as it comes, and again when a store is read. Pure. */
import { decodeFlowEventBatch } from "../rpc/flow-event-codec.ts";
import type { Applied, ShardTable } from "./table.ts";

export type AppliedMessage =
  | (Applied & { readonly instance: string })
  /** It was not understood: the table has only moved on over it. */
  | { readonly kind: "skipped"; readonly reason: string };

export function applyMessage(table: ShardTable, shard: number, sequence: bigint, data: Uint8Array): AppliedMessage {
  const batch = decodeFlowEventBatch(data);
  if (batch.ok && batch.value.shard === shard) {
    const { instance } = batch.value;
    return { ...table.apply(sequence, batch.value), instance };
  }
  table.skip(sequence);
  return { kind: "skipped", reason: batch.ok ? `it is of shard ${batch.value.shard}` : batch.message };
}
