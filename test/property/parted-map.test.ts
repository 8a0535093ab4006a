/** The map in parts against a plain one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PartedMap, partOf, parts } from "../../src/flow/parted-map.ts";

const key = fc.oneof(
  fc.string({ maxLength: 3 }),
  fc.integer({ min: 0, max: 200 }).map((port) => `tcp 203.0.113.10 80 198.51.100.2 ${port}`),
);
const step = fc.oneof(
  fc.record({ kind: fc.constant("set" as const), key, value: fc.integer() }),
  fc.record({ kind: fc.constant("delete" as const), key }),
);

test("holds what a map holds after the same steps", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const [parted, plain] = [new PartedMap<number>(), new Map<string, number>()];
      for (const one of steps) {
        if (one.kind === "delete") expect(parted.delete(one.key)).toBe(plain.delete(one.key));
        else {
          parted.set(one.key, one.value);
          plain.set(one.key, one.value);
        }
        expect(parted.size).toBe(plain.size);
        expect(parted.get(one.key)).toBe(plain.get(one.key));
        expect(parted.has(one.key)).toBe(plain.has(one.key));
      }
      expect(new Map(parted)).toEqual(plain);
      expect([...parted.keys()].sort()).toEqual([...plain.keys()].sort());
    }),
  );
});

test("gives all that stays while what it has given is deleted", () => {
  const parted = new PartedMap<number>();
  for (let n = 0; n < 1_000; n++) parted.set(`key ${n}`, n);
  let given = 0;
  for (const [name] of parted) {
    parted.delete(name);
    given++;
  }
  expect([given, parted.size]).toEqual([1_000, 0]);
});

test.each([
  ["of one peer", (n: number) => `tcp 80 ${n} 198.51.100.2`],
  ["of many peers", (n: number) => `tcp 80 40000 198.51.${n >> 8}.${n & 255}`],
])("flows %s lie in all parts alike", (_, keyOf) => {
  const sizes = new Map<number, number>();
  const keys = Array.from({ length: 32_000 }, (_, n) => keyOf(1_024 + n));
  for (const key of keys) sizes.set(partOf(key), (sizes.get(partOf(key)) ?? 0) + 1);
  expect(sizes.size).toBe(parts);
  expect(Math.max(...sizes.values())).toBeLessThan((keys.length / parts) * 1.5);
});
