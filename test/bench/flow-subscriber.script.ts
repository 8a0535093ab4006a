/**
 * A subscriber of flow events that knows nothing but the stream: `node … NATS_SERVER`. Ends on SIGTERM, and then prints
 * what it has seen.
 */
import { connectBus } from "../../src/bus/nats.ts";
import { flowStreamName } from "../../src/flow/events.ts";
import { flowKeyText } from "../../src/flow/flow.ts";
import { decodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";

const [server = ""] = process.argv.slice(2);
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

const live = new Set<string>();
const seen = { messages: 0, bytes: 0, opened: 0, coalesced: 0, gaps: 0 };
const sequences = new Map<string, bigint>();

await using bus = connectBus({ servers: [server], name: "bench" });
const { last } = await bus.streamRange(flowStreamName, stop.signal);
process.stdout.write("following\n");
const wanted = {
  stream: flowStreamName,
  subject: "baton.flows.*",
  from: last + 1n,
  signal: stop.signal,
  batchMax: 256,
};
try {
  for await (const messages of bus.consume(wanted)) for (const { data } of messages) take(data);
} catch (error) {
  if (!stop.signal.aborted) throw error;
}
process.stdout.write(`${JSON.stringify({ ...seen, live: live.size })}\n`);

function take(data: Uint8Array): void {
  seen.messages++;
  seen.bytes += data.length;
  const batch = decodeFlowEventBatch(data);
  if (!batch.ok) throw new Error(batch.message);
  const { instance, boot, shard, sequence, body } = batch.value;
  const sender = `${instance} ${boot} ${shard}`;
  const before = sequences.get(sender);
  if (before !== undefined && sequence !== before + 1n) seen.gaps++;
  sequences.set(sender, sequence);
  if (body.kind !== "changes") return;
  for (const { flows } of body.coalesced) seen.coalesced += flows;
  for (const { key, state } of body.rows) {
    const text = flowKeyText(key);
    if (state === "closed") live.delete(text);
    else if (!live.has(text)) {
      live.add(text);
      seen.opened++;
    }
  }
}
