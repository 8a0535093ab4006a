/** Flows for measuring trackers: made from their number alone, and told of in the messages that agents would send. */
import { ipAddressFromBytes } from "../../../src/flow/address.ts";
import type { FlowEventBatch } from "../../../src/flow/events.ts";
import type { LiveFlow } from "../../../src/flow/flow.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { encodeFlowEventBatch } from "../../../src/rpc/flow-event-codec.ts";

/** Of a cluster, by default. */
export const shards = 32;
/** Each has one public address, so that most shards have some. */
export const instances = 64;
/** As many as an agent puts into a page of its snapshot. */
export const rowsPerMessage = 500;

const openedAtMs = 1_700_000_000_000;
const portsMin = 1_024;
/** Odd, so that multiplying by it modulo 2³² gives every flow a peer of its own. */
const spread = 0x9e37_79b1;

export interface Message {
  readonly shard: number;
  readonly instance: number;
  readonly data: Uint8Array;
}

export function flowAt(index: number): LiveFlow {
  const instance = index % instances;
  const peer = Math.imul(index + 1, spread) >>> 0;
  return {
    key: {
      address: ipAddressFromBytes(Uint8Array.of(203, 0, 113, 1 + instance)),
      protocol: "tcp",
      peer: ipAddressFromBytes(Uint8Array.of(peer >>> 24, peer >>> 16, peer >>> 8, peer)),
      peerPort: portsMin + (index % (0x1_0000 - portsMin)),
      port: 443,
    },
    owner: `vm-${String(instance).padStart(3, "0")}`,
    state: "open",
    openedAtMs: openedAtMs + index,
    generation: 1n,
  };
}

/** All instances by turns, so that messages of one shard are never all of one. */
export function* messagesOf(flows: number): Generator<Message> {
  const perInstance = Math.ceil(flows / instances);
  for (let first = 0; first < perInstance; first += rowsPerMessage)
    for (let instance = 0; instance < instances; instance++) {
      const last = Math.min(first + rowsPerMessage, perInstance);
      const rows: LiveFlow[] = [];
      for (let n = first; n < last && n * instances + instance < flows; n++)
        rows.push(flowAt(n * instances + instance));
      const [flow] = rows;
      if (flow === undefined) continue;
      const batch: FlowEventBatch = {
        instance: flow.owner,
        boot: "b0".repeat(16),
        shard: shardOf(flow.key.address, shards),
        sequence: BigInt(first / rowsPerMessage + 1),
        body: { kind: "changes", rows, coalesced: [] },
      };
      yield { shard: batch.shard, instance, data: encodeFlowEventBatch(batch) };
    }
}
