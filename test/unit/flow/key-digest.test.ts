import { expect, test } from "vitest";
import { flowKeyText } from "../../../src/flow/flow.ts";
import { KeyDigest } from "../../../src/flow/key-digest.ts";
import { keyOf } from "../../support/flows.ts";

/** As the specification of FNV-1a has it. */
function fnv1a64(text: string): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(text)) hash = ((hash ^ BigInt(byte)) * 0x100000001b3n) & 0xffff_ffff_ffff_ffffn;
  return hash;
}

test("a key's hash is the 64-bit FNV-1a of its text", () => {
  for (let port = 1; port < 500; port++) {
    const digest = new KeyDigest();
    digest.add(keyOf(port));
    expect(digest.keyXor).toBe(fnv1a64(flowKeyText(keyOf(port))));
  }
});

test("digests of parts merge into the digest of the whole", () => {
  const [left, right, whole] = [new KeyDigest(), new KeyDigest(), new KeyDigest()];
  for (const port of [1, 2]) left.add(keyOf(port));
  for (const port of [3, 4]) right.add(keyOf(port));
  for (const port of [4, 3, 2, 1]) whole.add(keyOf(port));
  left.merge(right);
  expect([left.flows, left.keyXor]).toEqual([whole.flows, whole.keyXor]);
});
