/** The packed flows of one owner against a plain map, and addresses as words against addresses as bytes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type IpAddress, ipAddressFromWords, ipAddressToBytes, writeIpAddressWords } from "../../src/flow/address.ts";
import { type FlowKey, flowKeyText, type LiveFlow } from "../../src/flow/flow.ts";
import { FlowSlab } from "../../src/tracker/flow-slab.ts";
import { keptMax } from "../../src/tracker/slab-view.ts";
import { anyAddress, anyKey, flowOf, keyOf, publicAddress } from "../support/flows.ts";
import { keyInWords, putInto } from "../support/packed.ts";

const someKeys = fc.uniqueArray(anyKey, { minLength: 1, maxLength: 60, selector: flowKeyText });
const step = fc.record({
  at: fc.nat(59),
  deletes: fc.boolean(),
  state: fc.constantFrom("half-open" as const, "open" as const, "closing" as const),
  openedAtMs: fc.nat({ max: 253_402_300_799_999 }),
  generation: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
});

test("packed flows are found, replaced and deleted like those of a map, and lie without gaps", () => {
  fc.assert(
    fc.property(someKeys, fc.array(step, { maxLength: 300 }), (keys, steps) => {
      const slab = new FlowSlab(publicAddress);
      const model = new Map<string, LiveFlow>();
      for (const [n, { at, deletes, ...facts }] of steps.entries()) {
        const key = { ...(keys[at % keys.length] ?? expect.fail()), address: publicAddress };
        const before = model.get(flowKeyText(key))?.state;
        if (deletes) {
          model.delete(flowKeyText(key));
          expect(slab.delete(keyInWords(key), 0)).toBe(before);
        } else {
          model.set(flowKeyText(key), { key, owner: "vm-a", ...facts });
          expect(putInto(slab, { key, owner: "vm-a", ...facts }, BigInt(n))).toBe(before);
        }
        expect(slab.slotOf(keyInWords(key), 0) === undefined).toBe(deletes);
      }
      const found = Array.from({ length: slab.size }, (_, slot) => {
        const [key, { state, openedAtMs, generation }] = [slab.keyAt(slot), slab.factsAt(slot)];
        return [flowKeyText(key), { key, owner: "vm-a", state, openedAtMs, generation }] as const;
      });
      expect(new Map(found)).toEqual(model);
      expect(slab.size).toBe(model.size);
      for (const { key } of model.values()) expect(slab.keyAt(slab.slotOf(keyInWords(key), 0) ?? -1)).toEqual(key);
    }),
    { numRuns: 300 },
  );
});

test("a copy of packed flows stays as it was", () => {
  fc.assert(
    fc.property(someKeys, (keys) => {
      const slab = new FlowSlab(publicAddress);
      const flows = keys.map((key) => ({ key: { ...key, address: publicAddress }, owner: "vm-a", openedAtMs: 1 }));
      for (const flow of flows) putInto(slab, { ...flow, state: "open", generation: 1n }, 1n);
      const copy = slab.copy();
      const size = slab.size;
      for (const { key } of flows) slab.delete(keyInWords(key), 0);
      expect(slab.size).toBe(0);
      expect(copy.size).toBe(size);
      for (const { key } of flows) expect(copy.slotOf(keyInWords(key), 0)).toBeDefined();
    }),
  );
});

const entriesOf = (slab: FlowSlab, peer?: IpAddress): [string, bigint][] =>
  Array.from({ length: slab.size }, (_, slot) => slot)
    .filter((slot) => peer === undefined || slab.keyAt(slot).peer === peer)
    .map((slot) => [flowKeyText(slab.keyAt(slot)), slab.factsAt(slot).changedAt]);

test("a view gives what there was when it was made, of all or of one peer, whatever changes while it is read", () => {
  const change = fc.record({ at: fc.nat(59), deletes: fc.boolean(), reads: fc.nat({ max: 3 }) });
  fc.assert(
    fc.property(
      someKeys,
      fc.nat({ max: 60 }),
      fc.array(change, { maxLength: 200 }),
      fc.nat(59),
      (some, first, changes, of) => {
        const keys = some.map((key) => ({ ...key, address: publicAddress }));
        const slab = new FlowSlab(publicAddress);
        const put = (key: FlowKey, changedAt: number) =>
          putInto(slab, { key, owner: "vm-a", state: "open", openedAtMs: 1, generation: 1n }, BigInt(changedAt));
        for (const key of keys.slice(0, first)) put(key, 0);
        const peer = keys[of]?.peer;
        const then = new Map(entriesOf(slab, peer));
        const view = slab.view(peer)[Symbol.iterator]();
        const read: [string, bigint][] = [];
        const readOne = (): boolean => {
          const next = view.next();
          if (next.value !== undefined) read.push([flowKeyText(next.value.key), next.value.facts.changedAt]);
          return next.done === true;
        };
        for (const [n, { at, deletes, reads }] of changes.entries()) {
          const key = keys[at % keys.length] ?? expect.fail();
          if (deletes) slab.delete(keyInWords(key), 0);
          else put(key, n + 1);
          for (let count = 0; count < reads; count++) readOne();
        }
        while (!readOne());
        expect(read).toHaveLength(then.size);
        expect(new Map(read)).toEqual(then);
      },
    ),
    { numRuns: 300 },
  );
});

test("a view whose reader is slow gives the same, when more has changed than it keeps", () => {
  const slab = new FlowSlab(publicAddress);
  const flowAt = (n: number) => flowOf(1 + (n % 60_000), "vm-a", "open", { key: keyOf(1 + (n % 60_000)) }) as LiveFlow;
  for (let n = 0; n < keptMax + 10; n++) putInto(slab, flowAt(n), 0n);
  const then = new Map(entriesOf(slab));
  const view = slab.view();
  for (let n = keptMax + 9; n >= 0; n--)
    if (n % 2 === 0) putInto(slab, flowAt(n), 1n);
    else slab.delete(keyInWords(flowAt(n).key), 0);
  for (let n = 0; n < keptMax + 10; n++) putInto(slab, flowAt(n), 2n);
  expect(view.isOpen).toBe(false);
  const read = [...view].filter((entry) => entry !== undefined);
  expect(new Map(read.map(({ key, facts }) => [flowKeyText(key), facts.changedAt]))).toEqual(then);
});

test("an address as words is the address as bytes, and back", () => {
  fc.assert(
    fc.property(anyAddress, (address) => {
      const words = new Uint32Array(4);
      writeIpAddressWords(address, words);
      const bytes = Buffer.from(ipAddressToBytes(address));
      expect([...words]).toEqual([0, 4, 8, 12].map((at) => bytes.readUInt32BE(at)));
      expect(ipAddressFromWords(words)).toBe(address);
    }),
  );
});
