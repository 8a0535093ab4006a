/** The packed flows of one owner against a plain map, and addresses as words against addresses as bytes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { ipAddressFromWords, ipAddressToBytes, writeIpAddressWords } from "../../src/flow/address.ts";
import { flowKeyText, type LiveFlow } from "../../src/flow/flow.ts";
import { FlowSlab } from "../../src/tracker/flow-slab.ts";
import { anyAddress, anyKey, publicAddress } from "../support/flows.ts";

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
          expect(slab.delete(key)).toBe(before);
        } else {
          model.set(flowKeyText(key), { key, owner: "vm-a", ...facts });
          expect(slab.put({ key, owner: "vm-a", ...facts }, BigInt(n))).toBe(before);
        }
        expect(slab.slotOf(key) === undefined).toBe(deletes);
      }
      const found = Array.from({ length: slab.size }, (_, slot) => {
        const [key, { state, openedAtMs, generation }] = [slab.keyAt(slot), slab.factsAt(slot)];
        return [flowKeyText(key), { key, owner: "vm-a", state, openedAtMs, generation }] as const;
      });
      expect(new Map(found)).toEqual(model);
      expect(slab.size).toBe(model.size);
      for (const { key } of model.values()) expect(slab.keyAt(slab.slotOf(key) ?? -1)).toEqual(key);
    }),
    { numRuns: 300 },
  );
});

test("a copy of packed flows stays as it was", () => {
  fc.assert(
    fc.property(someKeys, (keys) => {
      const slab = new FlowSlab(publicAddress);
      const flows = keys.map((key) => ({ key: { ...key, address: publicAddress }, owner: "vm-a", openedAtMs: 1 }));
      for (const flow of flows) slab.put({ ...flow, state: "open", generation: 1n }, 1n);
      const copy = slab.copy();
      const size = slab.size;
      for (const { key } of flows) slab.delete(key);
      expect(slab.size).toBe(0);
      expect(copy.size).toBe(size);
      for (const { key } of flows) expect(copy.slotOf(key)).toBeDefined();
    }),
  );
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
