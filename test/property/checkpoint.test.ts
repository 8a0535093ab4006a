/** A table in pages against the table: flows, those that have ended, and what senders have said. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FlowEvent, FlowRow } from "../../src/flow/events.ts";
import { PageReader, pagesOf } from "../../src/tracker/checkpoint.ts";
import { RecordFault, seal, unseal } from "../../src/tracker/record.ts";
import { ShardTable } from "../../src/tracker/table.ts";
import { tombstonesMax } from "../../src/tracker/tombstones.ts";
import { anyKey, ip, keyOf } from "../support/flows.ts";
import { packed } from "../support/packed.ts";

const instances = ["vm-a", "vm-b", "a-longer-name"] as const;
const anyRow: fc.Arbitrary<FlowRow> = fc.record({
  key: anyKey,
  state: fc.constantFrom("half-open", "open", "closing", "closed"),
  openedAtMs: fc.nat(),
  generation: fc.bigInt({ min: 0n, max: 9n }),
});
const anyChanges = fc
  .array(anyRow, { maxLength: 40 })
  .map((rows): FlowEvent => ({ kind: "changes", rows, coalesced: [] }));
const anyBody = fc.oneof(
  { weight: 4, arbitrary: anyChanges },
  fc
    .nat({ max: 3 })
    .map((generation) => ({ address: ip("203.0.113.10"), buckets: 4, generation, bucket: 1 }))
    .map((place): FlowEvent => ({ kind: "snapshot-begin", snapshot: 1n, addresses: [place.address], places: [place] })),
  fc.boolean().map((released): FlowEvent => {
    return { kind: "places", places: [{ address: ip("203.0.113.11"), buckets: 2, generation: 1 }], released };
  }),
  fc.constant<FlowEvent>({ kind: "forwarding", forwards: [{ address: ip("203.0.113.10"), owner: "vm-b" }] }),
  fc.constant<FlowEvent>({ kind: "tick" }),
);
const anyMessage = fc.record({
  instance: fc.constantFrom(...instances),
  boot: fc.constantFrom("b1", "b2"),
  body: anyBody,
  /** Messages before it that are lost. */
  gap: fc.nat({ max: 1 }),
});

function contentOf(table: ShardTable) {
  return {
    sequence: table.sequence,
    flows: new Set(
      [...table.slabs()].flatMap(({ owner, slab }) =>
        Array.from({ length: slab.size }, (_, slot) =>
          JSON.stringify([owner, slab.keyAt(slot), slab.factsAt(slot)], (_key, value) =>
            typeof value === "bigint" ? String(value) : value,
          ),
        ),
      ),
    ),
    ended: [...table.tombstones()],
    senders: [...table.senders()],
    broken: new Set(table.brokenSenders()),
    places: new Set(table.places()),
    counts: new Set(table.counts()),
  };
}

test("a table is read back from its pages, whatever was applied to it", () => {
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 30 }), (messages) => {
      const table = new ShardTable();
      const sequences = new Map<string, bigint>();
      for (const [n, { instance, boot, body, gap }] of messages.entries()) {
        const sequence = (sequences.get(instance + boot) ?? 0n) + 1n + BigInt(gap);
        sequences.set(instance + boot, sequence);
        table.apply(BigInt(n + 1), packed({ instance, boot: boot.repeat(16), shard: 0, sequence, body }));
      }
      const copy = new ShardTable(table.sequence);
      const reader = new PageReader(copy);
      for (const page of pagesOf(table)) reader.read(page);
      reader.end();
      expect(contentOf(copy)).toEqual(contentOf(table));
    }),
  );
});

test("a page of texts ends where it is long enough, whatever one sender says", () => {
  const table = new ShardTable();
  for (let n = 0; n < 200; n++) {
    const forwards = Array.from({ length: n === 7 ? 4_000 : 20 }, () => ({
      address: ip("203.0.113.10"),
      owner: `vm-${n}`,
    }));
    const sender = { instance: `vm-${n}`, boots: [], retired: [], broken: false, forwards };
    table.restoreSender(sender);
  }
  const sizes = [...pagesOf(table)].map(({ length }) => length).sort((a, b) => a - b);
  expect(sizes.length).toBeGreaterThan(3);
  expect(sizes.at(-2)).toBeLessThan(70_000);
});

test("of flows that end in one message no more are remembered than may be, and a page's order is theirs", () => {
  const table = new ShardTable();
  const count = tombstonesMax + 10_000;
  const key = (port: number) => ({ ...keyOf(1), peer: ip(`198.51.${port >> 15}.1`), peerPort: 1 + (port & 0x7fff) });
  for (let from = 0; from < count; from += 2_000) {
    const rows = Array.from(
      { length: 2_000 },
      (_, n) => ({ key: key(from + n), state: "open", openedAtMs: 1, generation: 1n }) as const,
    );
    const sequence = BigInt(from / 2_000 + 1);
    table.apply(
      sequence,
      packed({
        instance: "vm-a",
        boot: "b1".repeat(16),
        shard: 0,
        sequence,
        body: { kind: "changes", rows, coalesced: [] },
      }),
    );
  }
  table.apply(1_000n, {
    instance: "",
    boot: "",
    shard: 0,
    sequence: 0n,
    body: { kind: "instance-gone", instance: "vm-a" },
  });
  const ended = [...table.tombstones()];
  expect(ended).toHaveLength(tombstonesMax);
  const copy = new ShardTable(table.sequence);
  const reader = new PageReader(copy);
  for (const page of [...pagesOf(table)].reverse()) reader.read(page);
  reader.end();
  expect([...copy.tombstones()]).toEqual(ended);
});

test("a page that is cut, or of another kind, is refused", () => {
  const table = new ShardTable();
  const rows = [
    { key: fc.sample(anyKey, 1)[0] ?? expect.fail(), state: "open", openedAtMs: 1, generation: 1n } as const,
  ];
  const body = { kind: "changes", rows, coalesced: [] } as const;
  table.apply(1n, packed({ instance: "vm-a", boot: "b1".repeat(16), shard: 0, sequence: 1n, body }));
  const [page = expect.fail()] = pagesOf(table);
  for (const bad of [page.subarray(0, -1), page.subarray(0, 5), Buffer.alloc(0), Buffer.concat([Buffer.of(9), page])])
    expect(() => new PageReader(new ShardTable()).read(bad)).toThrow(RecordFault);
});

test("a row is refused when any one of its bits is another", () => {
  const bytes = fc.uint8Array({ minLength: 1, maxLength: 60 }).map((it) => Buffer.from(it));
  fc.assert(
    fc.property(bytes, bytes, fc.nat(), (key, value, place) => {
      const sealed = seal(key, value);
      expect(unseal(key, sealed)).toEqual(value);
      const row = Buffer.concat([key, sealed]);
      const bit = place % (8 * row.length);
      row[bit >> 3] = (row[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(() => unseal(row.subarray(0, key.length), row.subarray(key.length))).toThrow(RecordFault);
    }),
  );
});
