/** Flows as words against flows as objects: rows of messages, rows of the database, changes, and digests of keys. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FlowRow } from "../../src/flow/events.ts";
import type { LiveFlow } from "../../src/flow/flow.ts";
import { changedAtAt, longAt, rowWords } from "../../src/flow/flow-words.ts";
import { KeyDigest } from "../../src/flow/key-digest.ts";
import { PackedRows } from "../../src/flow/packed-rows.ts";
import { FlowChanges } from "../../src/tracker/flow-changes.ts";
import { FlowRowReader, FlowRowWriter } from "../../src/tracker/flow-rows.ts";
import { RecordFault } from "../../src/tracker/record.ts";
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

test("one row of the database after the other reads back, whoever and whatever the one before was of", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyFlow, long), { minLength: 1, maxLength: 20 }), (flows) => {
      const reader = new FlowRowReader();
      for (const [flow, changedAt] of flows) {
        const writer = new FlowRowWriter(7, flow.owner, flow.key.address);
        writer.setRow(flowInWords(flow, changedAt), 0);
        reader.read(Buffer.from(writer.key), Buffer.from(writer.value));
        expect([reader.owner, reader.address]).toEqual([flow.owner, flow.key.address]);
        expect(reader.words).toEqual(flowInWords(flow, changedAt));
        expect(longAt(reader.words, changedAtAt)).toBe(changedAt);
      }
    }),
  );
});

test("a row of the database that is too short, or of no known version, protocol or state, is refused", () => {
  const [flow = expect.fail()] = fc.sample(anyFlow, 1);
  const writer = new FlowRowWriter(7, flow.owner, flow.key.address);
  writer.setRow(flowInWords(flow), 0);
  const { key, value } = writer;
  const withByte = (bytes: Buffer, at: number): Buffer => {
    const changed = Buffer.from(bytes);
    changed[at] = 0x7f;
    return changed;
  };
  const protocolByte = 3 + 16;
  for (const [badKey, badValue] of [
    [key.subarray(0, 30), value],
    [withByte(key, protocolByte), value],
    [key, value.subarray(1)],
    [key, withByte(value, 0)],
    [key, withByte(value, 1)],
  ] as const)
    expect(() => new FlowRowReader().read(badKey, badValue)).toThrow(RecordFault);
});

test("a row of the database is refused when any one of its bits is another", () => {
  /** By which the database knows that it is a flow's. */
  const kindByte = 2;
  fc.assert(
    fc.property(anyFlow, anyFlow, fc.nat(), fc.nat({ max: 7 }), (before, flow, place, bit) => {
      const reader = new FlowRowReader();
      const writer = new FlowRowWriter(7, flow.owner, flow.key.address);
      writer.setRow(flowInWords(before), 0);
      reader.read(Buffer.from(writer.key), Buffer.from(writer.value));
      writer.setRow(flowInWords(flow), 0);
      const bytes = Buffer.concat([writer.key, writer.value]);
      const at = place % bytes.length;
      fc.pre(at !== kindByte);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
      const { length } = writer.key;
      expect(() => reader.read(bytes.subarray(0, length), bytes.subarray(length))).toThrow(RecordFault);
    }),
    { numRuns: 1_000 },
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
