import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { FlowEvent, FlowEventBatch } from "../../src/flow/events.ts";
import { FlowEventBatch as Message } from "../../src/gen/baton/v1/flow.ts";
import { decodeFlowEventBatch, encodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";
import { anyAddress, anyRow, rowOf } from "../support/flows.ts";
import { unpacked } from "../support/packed.ts";

const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });
const uint64 = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const rows = fc.array(anyRow, { maxLength: 50 });
const coalesced = fc.uniqueArray(fc.record({ address: anyAddress, flows: fc.integer({ min: 1, max: 0xffff_ffff }) }), {
  selector: ({ address }) => address,
  maxLength: 5,
});
const places = fc.array(
  fc
    .record({ address: anyAddress, buckets: fc.integer({ min: 1, max: 64 }), generation: uint32, part: fc.nat(64) })
    .map(({ part, ...place }) => (part < place.buckets ? { ...place, bucket: part } : place)),
  { maxLength: 5 },
);
const name = fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,62}$/);

const anyEvent: fc.Arbitrary<FlowEvent> = fc.oneof(
  fc.record({ kind: fc.constant("changes" as const), rows, coalesced }),
  fc.record({
    kind: fc.constant("snapshot-begin" as const),
    snapshot: uint64,
    addresses: fc.array(anyAddress, { maxLength: 5 }),
    places,
  }),
  fc.record({ kind: fc.constant("places" as const), places, released: fc.boolean() }),
  fc.record({ kind: fc.constant("snapshot-page" as const), snapshot: uint64, rows }),
  fc.record({ kind: fc.constant("snapshot-end" as const), snapshot: uint64, flows: uint32 }),
  fc.record({ kind: fc.constant("barrier" as const), id: fc.stringMatching(/^[!-~]{1,128}$/) }),
  fc.record({ kind: fc.constant("tick" as const) }),
  fc.record({ kind: fc.constant("digest" as const), flows: uint32, keyXor: uint64 }),
  fc.record({
    kind: fc.constant("forwarding" as const),
    forwards: fc.array(fc.record({ address: anyAddress, owner: name }), { maxLength: 5 }),
  }),
);

const anyOrder: fc.Arbitrary<FlowEvent> = fc.oneof(
  fc.record({ kind: fc.constant("address-owned" as const), address: anyAddress, instance: name, generation: uint64 }),
  fc.record({ kind: fc.constant("instance-gone" as const), instance: name }),
);

const anyBatch: fc.Arbitrary<FlowEventBatch> = fc.oneof(
  fc.record({
    instance: name,
    boot: fc.stringMatching(/^[0-9a-f]{32}$/),
    shard: fc.integer({ min: 0, max: 4_095 }),
    sequence: fc.bigInt({ min: 1n, max: 0xffff_ffff_ffff_ffffn }),
    body: anyEvent,
  }),
  fc.record({
    instance: fc.constant(""),
    boot: fc.constant(""),
    shard: fc.integer({ min: 0, max: 4_095 }),
    sequence: fc.constant(0n),
    body: anyOrder,
  }),
);

describe("the codec of flow events", () => {
  test("reads back every message that it writes", () => {
    fc.assert(
      fc.property(anyBatch, (batch) => {
        const decoded = decodeFlowEventBatch(encodeFlowEventBatch(batch));
        expect(decoded.ok ? unpacked(decoded.value) : decoded.message).toEqual(sortedCoalesced(batch));
      }),
    );
  });

  test("gives a value for any bytes at all, never an exception", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void decodeFlowEventBatch(bytes)));
  });

  test("gives a value for damaged messages", () => {
    const position = fc.nat();
    fc.assert(
      fc.property(anyBatch, position, fc.integer({ min: 1, max: 255 }), (batch, place, damage) => {
        const bytes = encodeFlowEventBatch(batch);
        const index = place % bytes.length;
        bytes[index] = (bytes[index] ?? 0) ^ damage;
        decodeFlowEventBatch(bytes);
      }),
    );
  });

  const damaged = (change: (message: Message) => void): Uint8Array => {
    const body = { kind: "changes" as const, rows: [rowOf(1), rowOf(2)], coalesced: [] };
    const batch = { instance: "vm-a", boot: "0".repeat(32), shard: 3, sequence: 1n, body };
    const message = Message.decode(encodeFlowEventBatch(batch));
    change(message);
    return Message.encode(message).finish();
  };
  const columns = (message: Message) => {
    if (message.body?.$case !== "changes" || message.body.value.flows === undefined) throw new Error("no columns");
    return message.body.value.flows;
  };

  test.each<[string, (message: Message) => void, RegExp]>([
    [
      "a column that is too short",
      (it) => {
        columns(it).peer = columns(it).peer.subarray(1);
      },
      /peer: expected the length of 32/,
    ],
    [
      "a column that is missing",
      (it) => {
        columns(it).generation = [];
      },
      /generation: expected the length of 2/,
    ],
    [
      "an index without an address",
      (it) => {
        columns(it).addressIndex[1] = 1;
      },
      /address_index\[1\]/,
    ],
    [
      "a protocol that is none",
      (it) => {
        columns(it).protocol[0] = 1;
      },
      /protocol\[0\]/,
    ],
    [
      "a state that is none",
      (it) => {
        columns(it).state[1] = 5;
      },
      /state\[1\]/,
    ],
    [
      "an address that is none",
      (it) => {
        it.addresses[0] = "203.0.113";
      },
      /addresses\[0\]/,
    ],
    [
      "a boot of another length",
      (it) => {
        it.boot = Buffer.alloc(15);
      },
      /boot: expected 16 bytes/,
    ],
    [
      "a shard beyond all",
      (it) => {
        it.shard = 4_096;
      },
      /shard/,
    ],
    [
      "sequence 0",
      (it) => {
        it.sequence = 0n;
      },
      /sequence/,
    ],
    [
      "a sender that no subject can name",
      (it) => {
        it.instance = "vm a";
      },
      /instance/,
    ],
    [
      "a time before 1970",
      (it) => {
        it.baseMs = -1n;
      },
      /base_ms/,
    ],
    [
      "no body",
      (it) => {
        it.body = undefined;
      },
      /body/,
    ],
  ])("refuses %s", (_, change, message) => {
    const decoded = decodeFlowEventBatch(damaged(change));
    expect(decoded.ok ? "accepted" : decoded.message).toMatch(message);
  });

  test("refuses more rows than a message may have", () => {
    const decoded = decodeFlowEventBatch(
      damaged((it) => {
        columns(it).addressIndex = new Array(16_385).fill(0);
      }),
    );
    expect(decoded.ok ? "accepted" : decoded.message).toMatch(/at most 16384 rows/);
  });

  test("sends a flow older than 49 days as one of that age", () => {
    const old = rowOf(1, "open", { openedAtMs: 1_000 });
    const body = { kind: "changes" as const, rows: [old, rowOf(2)], coalesced: [] };
    const decoded = decodeFlowEventBatch(
      encodeFlowEventBatch({ instance: "vm-a", boot: "0".repeat(32), shard: 0, sequence: 1n, body }),
    );
    if (!decoded.ok || decoded.value.body.kind !== "changes") throw new Error("not decoded");
    const [first, second] = decoded.value.body.rows;
    expect(first?.openedAtMs).toBe(1_700_000_000_000 - 0xffff_ffff);
    expect(second?.openedAtMs).toBe(1_700_000_000_000);
  });
});

/** Coalesced counts come in the order of the message's addresses: those of the rows first. */
function sortedCoalesced(batch: FlowEventBatch): FlowEventBatch {
  if (batch.body.kind !== "changes") return batch;
  const { rows: ofRows, coalesced: counts } = batch.body;
  const order = [...new Set([...ofRows.map(({ key }) => key.address), ...counts.map(({ address }) => address)])];
  const sorted = order.flatMap((address) => counts.find((count) => count.address === address) ?? []);
  return { ...batch, body: { ...batch.body, coalesced: sorted } };
}
