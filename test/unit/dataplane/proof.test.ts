import { describe, expect, test } from "vitest";
import {
  decodeProof,
  encodeProof,
  judgeReply,
  type Proof,
  type ProofExpectation,
  proofIdMax,
  proofSenderMax,
  proofSnapBytes,
} from "../../../src/dataplane/proof.ts";
import { ip } from "./gateway-states.ts";

const nonce = Uint8Array.from({ length: 16 }, (_, index) => index * 7);
const request: Proof = { kind: "request", id: "r1/5", sender: "gw1", link: 5, mtu: 1500, nonce };
const reply: Proof = { ...request, kind: "reply" };
const headerBytes = 40;

const expected: ProofExpectation = {
  gateway: "gw1",
  requests: [{ id: "r1/5", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 1500 }],
  nonces: new Map([["r1/5", nonce]]),
};

describe("a proof packet's payload", () => {
  test("fills the packet to its full size", () => {
    expect(encodeProof(request)).toHaveLength(1500 - headerBytes);
  });

  test("is read back from as much as the log copies, whatever its names", () => {
    const longest: Proof = {
      ...reply,
      id: "i".repeat(proofIdMax),
      sender: "s".repeat(proofSenderMax),
      link: 1023,
      mtu: 65_535,
    };
    for (const proof of [request, reply, longest])
      expect(decodeProof(encodeProof(proof).subarray(0, proofSnapBytes - headerBytes))).toEqual(proof);
  });

  test("begins like this, for agents of other versions read it too", () => {
    const head = Buffer.from(encodeProof(reply).subarray(0, 40)).toString("hex");
    expect(head).toBe(
      [
        "4241544f4e505246", // BATONPRF
        "01", // version
        "02", // reply
        "0005", // link
        "05dc", // mtu
        "00070e151c232a31383f464d545b6269", // nonce
        "0403", // lengths
        "72312f35677731", // r1/5 gw1
        "27", // pattern: the byte's place
      ].join(""),
    );
  });

  test.each([
    ["cut short", (bytes: Uint8Array) => bytes.subarray(0, 35)],
    ["of a stranger", (bytes: Uint8Array) => bytes.fill(0x20, 0, 1)],
    ["of another version", (bytes: Uint8Array) => bytes.fill(2, 8, 9)],
    ["of an unknown kind", (bytes: Uint8Array) => bytes.fill(3, 9, 10)],
    ["for link 0", (bytes: Uint8Array) => bytes.fill(0, 10, 12)],
    ["for a link beyond the last", (bytes: Uint8Array) => bytes.fill(4, 10, 11)],
    ["without an id", (bytes: Uint8Array) => bytes.fill(0, 30, 31)],
    ["with a control character in its id", (bytes: Uint8Array) => bytes.fill(7, 32, 33)],
  ])("%s is not a proof", (_, damage) => {
    expect(decodeProof(damage(encodeProof(reply)))).toBeUndefined();
  });

  test("can't carry names that no reader would take, or be smaller than its own head", () => {
    expect(() => encodeProof({ ...request, id: "" })).toThrow(RangeError);
    expect(() => encodeProof({ ...request, sender: "a b" })).toThrow(RangeError);
    expect(() => encodeProof({ ...request, mtu: 78 })).toThrow(RangeError);
  });
});

describe("a packet that came back", () => {
  test("proves its link at its size", () => {
    expect(judgeReply(reply, 1500, expected)).toEqual({ id: "r1/5", sender: "gw1", mtu: 1500 });
  });

  test("through another gateway counts for the one that sent it", () => {
    const other: Proof = { ...reply, sender: "gw2", nonce: new Uint8Array(16) };
    expect(judgeReply(other, 1500, expected)).toEqual({ id: "r1/5", sender: "gw2", mtu: 1500 });
  });

  test.each<[string, Proof, number]>([
    ["is the request itself", request, 1500],
    ["is not whole", reply, 1400],
    ["claims another size than was asked for", { ...reply, mtu: 1400 }, 1400],
    ["belongs to another link", { ...reply, link: 6 }, 1500],
    ["answers what nobody asked", { ...reply, id: "r2/5" }, 1500],
    ["is forged: it has this gateway's name without its nonce", { ...reply, nonce: new Uint8Array(16) }, 1500],
  ])("proves nothing when it %s", (_, proof, bytes) => {
    expect(judgeReply(proof, bytes, expected)).toBeUndefined();
  });

  test("proves nothing about what an earlier run of this gateway sent", () => {
    expect(judgeReply(reply, 1500, { ...expected, nonces: new Map() })).toBeUndefined();
  });
});
