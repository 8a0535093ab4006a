/** Many records in few lines. */
import type { ConnectionRecord, KindSummary } from "./protocol.ts";

/** One summary for each group and kind, in the order in which they were opened. */
export function summarize(records: readonly ConnectionRecord[]): KindSummary[] {
  const byKind = Map.groupBy(records, (record) => `${record.group} ${record.kind}`);
  return [...byKind.values()].map((some) => summarizeOne(some));
}

function summarizeOne(records: readonly ConnectionRecord[]): KindSummary {
  const first = records[0];
  if (first === undefined) throw new Error("no records to summarize");
  return {
    group: first.group,
    kind: first.kind,
    count: records.length,
    states: countBy(records, (record) => record.state),
    servers: countBy(records, (record) => record.server || undefined),
    failures: countBy(records, (record) => record.failure),
    messages: records.reduce((sum, record) => sum + record.messages, 0),
    bytes: records.reduce((sum, record) => sum + record.bytes, 0),
    longestSilenceMs: records.reduce((longest, record) => Math.max(longest, record.longestSilenceMs), 0),
  };
}

function countBy<Key extends string>(
  records: readonly ConnectionRecord[],
  keyOf: (record: ConnectionRecord) => Key | undefined,
): Partial<Record<Key, number>> & Record<string, number> {
  const counts: Record<string, number> = {};
  for (const record of records) {
    const key = keyOf(record);
    if (key !== undefined) counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts as Partial<Record<Key, number>> & Record<string, number>;
}
