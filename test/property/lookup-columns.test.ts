import fc from "fast-check";
import { expect, test } from "vitest";
import type { FlowAnswer } from "../../src/flow/answer.ts";
import { LookupFlowsRequest, LookupFlowsResponse } from "../../src/gen/baton/v1/tracker.ts";
import { FieldFault } from "../../src/rpc/fields.ts";
import { lookupResponse, readAnswerColumns } from "../../src/rpc/lookup-answers.ts";
import { keysOf, keysToColumns, readLookupKeys } from "../../src/rpc/lookup-keys.ts";
import { anyKey } from "../support/flows.ts";

const sequence = fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn });
const name = fc.constantFrom("vm-a", "vm-b", "vm-c");
const owned = fc.record(
  {
    key: anyKey,
    owner: name,
    via: name,
    state: fc.constantFrom("half-open" as const, "open" as const, "closing" as const),
    openedAtMs: fc.nat({ max: 253_402_300_799_999 }),
    generation: sequence,
  },
  { requiredKeys: ["key", "owner", "state", "openedAtMs", "generation"] },
);
/** Answers with the keys that were asked for. */
const asked = fc.array(
  fc
    .tuple(
      anyKey,
      fc.oneof(
        owned.map((flow): FlowAnswer => ({ kind: "owned", flow })),
        fc.record({ kind: fc.constant("closed" as const), owner: name, appliedSequence: sequence }),
        fc.record({ kind: fc.constant("absent" as const), appliedSequence: sequence }),
        fc.record({ kind: fc.constant("unknown" as const), reason: fc.constantFrom("behind", "served elsewhere, so") }),
      ),
    )
    .map(([key, answer]): { key: typeof key; answer: FlowAnswer } =>
      answer.kind === "owned" ? { key, answer: { kind: "owned", flow: { ...answer.flow, key } } } : { key, answer },
    ),
  { maxLength: 40 },
);

test("keys and answers of a look-up are the same after their way as columns", () => {
  fc.assert(
    fc.property(asked, (rows) => {
      const keys = rows.map(({ key }) => key);
      const answers = rows.map(({ answer }) => answer);
      const sent = { keys: [], atLeast: [], layouts: [], columns: keysToColumns(keys) };
      const request = LookupFlowsRequest.decode(LookupFlowsRequest.encode(sent).finish());
      expect(keysOf(readLookupKeys(request))).toEqual(keys);
      const response = LookupFlowsResponse.encode(lookupResponse(request, answers)).finish();
      expect(readAnswerColumns(keys, LookupFlowsResponse.decode(response).columns)).toEqual(answers);
    }),
  );
});

test("columns of a look-up that don't belong together are refused, whatever is wrong with them", () => {
  const key = fc.sample(anyKey, 1)[0] ?? expect.fail();
  const good = keysToColumns([key, key]);
  const request = (columns: typeof good) => ({ keys: [], atLeast: [], layouts: [], columns });
  expect(keysOf(readLookupKeys(request(good)))).toEqual([key, key]);
  for (const bad of [
    { ...good, peer: good.peer.subarray(1) },
    { ...good, ports: Buffer.alloc(0) },
    { ...good, protocol: Buffer.from([6, 7]) },
    { ...good, addresses: ["nowhere"] },
    { ...good, addressIndex: [0, 9] },
    keysToColumns(Array(10_001).fill(key)),
  ])
    expect(() => readLookupKeys(request(bad))).toThrow(FieldFault);
  expect(() => readAnswerColumns([key], undefined)).toThrow(FieldFault);
  const answers = lookupResponse(request(good), [{ kind: "closed", owner: "vm-a", appliedSequence: 1n }]).columns;
  expect(() => readAnswerColumns([key, key], answers)).toThrow(FieldFault);
  expect(() => readAnswerColumns([key], answers && { ...answers, textIndex: [9] })).toThrow(FieldFault);
  expect(() => readAnswerColumns([key], answers && { ...answers, kind: Buffer.from([5]) })).toThrow(FieldFault);
});
