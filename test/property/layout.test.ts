/** Whatever the address, its buckets and the shards: where flows lie. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FlowKey, flowKeyText } from "../../src/flow/flow.ts";
import { keyWords, writeKeyWords } from "../../src/flow/flow-words.ts";
import { KeyDigest, SlotDigests, slotOf, slotOfWords } from "../../src/flow/key-digest.ts";
import {
  belongsTo,
  bucketsMax,
  isNewerLayout,
  type Layout,
  newShardsOf,
  oldShardsOf,
  oneBucket,
  placeOf,
  shardOfKey,
  shardsOf,
  shardsToAsk,
  shardsUnder,
} from "../../src/placement/layout.ts";
import { Layouts } from "../../src/placement/layouts.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { anyAddress, anyKey, keyOf, publicAddress } from "../support/flows.ts";

const anyShards = fc.integer({ min: 1, max: 128 });
const anyLayout = (shards: number): fc.Arbitrary<Layout> => {
  const buckets = fc.integer({ min: 1, max: Math.min(bucketsMax, shards) });
  return fc
    .record({ buckets, before: fc.option(buckets, { nil: undefined }), generation: fc.integer({ min: 1, max: 9 }) })
    .map(({ before, ...rest }) => (before === undefined ? rest : { ...rest, before }));
};
const anyCase = anyShards.chain((shards) =>
  fc.record({ shards: fc.constant(shards), layout: anyLayout(shards), key: anyKey, address: anyAddress }),
);

describe("a layout", () => {
  test("puts every flow into one of the address's shards, which differ, and the only bucket where it always was (K1)", () => {
    fc.assert(
      fc.property(anyCase, ({ shards, layout, key, address }) => {
        const under = shardsUnder(address, layout.buckets, shards);
        expect(new Set(under).size).toBe(layout.buckets);
        expect(under[0]).toBe(shardOf(address, shards));
        expect(shardOfKey(key, oneBucket, shards)).toBe(shardOf(key.address, shards));
        expect(shardsUnder(key.address, layout.buckets, shards)).toContain(shardOfKey(key, layout, shards));
      }),
    );
  });

  test("has a flow asked for where it belongs and where it belonged, and nowhere else (K2)", () => {
    fc.assert(
      fc.property(anyCase, ({ shards, layout, key }) => {
        const { before = layout.buckets } = layout;
        const wanted = [layout.buckets, before].map((buckets) => shardOfKey(key, { ...oneBucket, buckets }, shards));
        expect(shardsToAsk(key, layout, shards)).toEqual([...new Set(wanted)]);
        expect(shardsOf(key.address, layout, shards)).toEqual(expect.arrayContaining(wanted));
      }),
    );
  });

  test("parts its shards into new ones and those that had flows before", () => {
    fc.assert(
      fc.property(anyCase, ({ shards, layout, address }) => {
        const [news, olds] = [newShardsOf(address, layout, shards), oldShardsOf(address, layout, shards)];
        expect(news.filter((shard) => olds.includes(shard))).toEqual([]);
        expect(new Set([...news, ...olds])).toEqual(new Set(shardsOf(address, layout, shards)));
        if (layout.before !== undefined) expect(olds).toEqual(shardsUnder(address, layout.before, shards));
      }),
    );
  });

  test("says of a shard which flows belong to it, as their keys do", () => {
    fc.assert(
      fc.property(anyCase, ({ shards, layout, key }) => {
        for (const shard of new Set([0, shards - 1, ...shardsOf(key.address, layout, shards)])) {
          const belongs = belongsTo(placeOf(key.address, layout, shard, shards), slotOf(key));
          expect(belongs).toBe(shardOfKey(key, layout, shards) === shard);
        }
      }),
    );
  });

  test("is the same for a key as words, and for somebody who remembers layouts", () => {
    fc.assert(
      fc.property(anyCase, ({ shards, layout, key }) => {
        const words = new Uint32Array(keyWords);
        writeKeyWords(key, words);
        expect(slotOfWords(key.address, words, 0)).toBe(slotOf(key));
        const layouts = new Layouts(shards);
        expect(layouts.shardOf(key)).toBe(shardOf(key.address, shards));
        layouts.take(key.address, layout);
        expect(layouts.shardOf(key)).toBe(shardOfKey(key, layout, shards));
        for (const shard of shardsOf(key.address, layout, shards))
          expect(layouts.membersOf(shard, []).has(key)).toBe(shardOfKey(key, layout, shards) === shard);
      }),
    );
  });

  test("spreads flows that differ in a port alone over its buckets", () => {
    for (const buckets of [2, 3, 4, 8, 16, 32, 64]) {
      const counts = new Map<number, number>();
      const flows = 1_000 * buckets;
      for (let port = 0; port < flows; port++) {
        const shard = shardOfKey(keyOf(port & 0xffff), { ...oneBucket, buckets }, 64);
        counts.set(shard, (counts.get(shard) ?? 0) + 1);
      }
      for (const count of counts.values()) expect(count / (flows / buckets)).toBeGreaterThan(0.6);
      expect(counts.size).toBe(buckets);
    }
  });

  test("never goes back: the higher generation counts, and of the same one the settled one (K5)", () => {
    const layouts = new Layouts(8);
    const moving = { buckets: 4, generation: 2, before: 1 };
    const settled = { buckets: 4, generation: 2 };
    expect(isNewerLayout(settled, moving)).toBe(true);
    for (const layout of [oneBucket, moving, settled, moving, { buckets: 2, generation: 1 }])
      layouts.take(publicAddress, layout);
    expect(layouts.of(publicAddress)).toEqual(settled);
  });

  test("has a digest of every bucket at the price of one", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(anyKey, { selector: flowKeyText }),
        fc.integer({ min: 1, max: 8 }),
        (keys, buckets) => {
          const digests = new SlotDigests();
          for (const key of keys) digests.add(key);
          const [gone, ...rest] = keys;
          if (gone !== undefined) digests.remove(gone);
          for (let bucket = 0; bucket < buckets; bucket++) {
            const isIn = (key: FlowKey): boolean => slotOf(key) % buckets === bucket;
            const wanted = new KeyDigest();
            for (const key of rest.filter(isIn)) wanted.add(key);
            const { flows, keyXor } = digests.sum((slot) => slot % buckets === bucket);
            expect({ flows, keyXor }).toEqual({ flows: wanted.flows, keyXor: wanted.keyXor });
          }
        },
      ),
    );
  });
});
