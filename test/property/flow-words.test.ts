/** Flows as words against flows as objects: rows of messages, rows of the database, changes, and digests of keys. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FlowRow } from "../../src/flow/events.ts";
import type { LiveFlow } from "../../src/flow/flow.ts";
import { rowWords } from "../../src/flow/flow-words.ts";
import { KeyDigest } from "../../src/flow/key-digest.ts";
import { PackedRows } from "../../src/flow/packed-rows.ts";
import { FlowChanges } from "../../src/tracker/flow-changes.ts";
import { anyKey } from "../support/flows.ts";
import { flowInWords, keyInWords } from "../support/packed.ts";

const long = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const facts = { key: anyKey, openedAtMs: fc.nat({ max: 253_402_300_799_999 }), generation: long };
const anyRow: fc.Arbitrary<FlowRow> = fc.record({
  ...facts,
  state: fc.constantFrom("half-open", "open", "closing", "closed"),
});
const anyFlow: fc.Arbitrary<LiveFlow> = fc.record({
  ...facts,
  owner: fc.constantFrom("vm-a", "vm-b", "a-longer-name"),
  state: fc.constantFrom("half-open", "open", "closing"),
});

test("packed rows are the rows that were packed", () => {
  fc.assert(
    fc.property(fc.array(anyRow, { maxLength: 20 }), (rows) => {
      expect([...PackedRows.of(rows)]).toEqual(rows);
    }),
  );
});

test("a key's words have the digest of the key, and take it away again", () => {
  fc.assert(
    fc.property(fc.array(anyKey, { maxLength: 20 }), (keys) => {
      const [ofKeys, ofWords] = [new KeyDigest(), new KeyDigest()];
      for (const key of keys) {
        ofKeys.add(key);
        ofWords.addWords(key.address, keyInWords(key), 0);
      }
      expect(ofWords.keyXor).toBe(ofKeys.keyXor);
      for (const key of keys) ofWords.removeWords(key.address, keyInWords(key), 0);
      expect([ofWords.flows, ofWords.keyXor]).toEqual([0, 0n]);
    }),
  );
});

test("changes are given in order, or those of an address and an owner, with whom they pass", () => {
  const someFlow = fc.tuple(anyFlow, fc.nat({ max: 1 }));
  fc.assert(
    fc.property(fc.array(someFlow, { maxLength: 30 }), fc.array(fc.boolean()), (some, isShared) => {
      const [one, other] = [some[0]?.[0].key.address, some.at(-1)?.[0].key.address];
      const flows = some.map(([flow, which]) => {
        const address = (which === 0 ? one : other) ?? flow.key.address;
        return { ...flow, key: { ...flow.key, address } };
      });
      const changes = new FlowChanges();
      const shared = new Uint32Array(rowWords * flows.length);
      for (const [row, flow] of flows.entries()) {
        const { address } = flow.key;
        shared.set(flowInWords(flow), rowWords * row);
        if (isShared[row] === true) changes.share(address, flow.owner, shared, rowWords * row);
        else changes.add(address, flow.owner, flowInWords(flow), 0);
      }
      changes.seal((_, owner) => (owner === "vm-b" ? "vm-c" : undefined));
      const seen = flows.map((flow) => (flow.owner === "vm-b" ? { ...flow, via: "vm-c" } : flow));
      expect(changes.length).toBe(flows.length);
      expect([...changes]).toEqual(seen);
      if (one === undefined) return;
      const ofOne = seen.filter(({ key }) => key.address === one);
      expect([...changes.matching({ address: one })]).toEqual(ofOne);
      expect([...changes.matching({ address: one, owner: "vm-b" })]).toEqual(
        ofOne.filter(({ owner }) => owner === "vm-b"),
      );
    }),
  );
});
