/** Messages and flows between the forms of people and those of tables. */
import type { FlowEventBatch } from "../../src/flow/events.ts";
import type { FlowKey, LiveFlow, LiveFlowState } from "../../src/flow/flow.ts";
import { changedAtAt, keyWords, rowWords, writeKeyWords, writeLong, writeRowWords } from "../../src/flow/flow-words.ts";
import { PackedRows } from "../../src/flow/packed-rows.ts";
import type { FlowSlab } from "../../src/tracker/flow-slab.ts";

/** As a tracker's table takes it. */
export function packed(batch: FlowEventBatch): FlowEventBatch<PackedRows> {
  const { body } = batch;
  if (body.kind !== "changes" && body.kind !== "snapshot-page") return { ...batch, body };
  return { ...batch, body: { ...body, rows: PackedRows.of(body.rows) } };
}

export function unpacked(batch: FlowEventBatch<PackedRows>): FlowEventBatch {
  const { body } = batch;
  if (body.kind !== "changes" && body.kind !== "snapshot-page") return { ...batch, body };
  return { ...batch, body: { ...body, rows: [...body.rows] } };
}

export function keyInWords(key: FlowKey): Uint32Array {
  const words = new Uint32Array(keyWords);
  writeKeyWords(key, words);
  return words;
}

export function flowInWords(flow: LiveFlow, changedAt = 0n): Uint32Array {
  const words = new Uint32Array(rowWords);
  writeRowWords(flow, words);
  writeLong(words, changedAtAt, changedAt);
  return words;
}

export function putInto(slab: FlowSlab, flow: LiveFlow, changedAt: bigint): LiveFlowState | undefined {
  return slab.put(flowInWords(flow, changedAt), 0);
}
