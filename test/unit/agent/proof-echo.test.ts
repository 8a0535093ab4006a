import { describe, expect, test } from "vitest";
import { answerProof } from "../../../services/agent/proof-echo.ts";
import { buildTcpPacket, parseTcpPacket, tcpFlags } from "../../../src/dataplane/packet.ts";
import { decodeProof, encodeProof, type Proof, proofPort } from "../../../src/dataplane/proof.ts";
import { ip, states } from "../dataplane/agent-states.ts";

const proof: Proof = {
  kind: "request",
  id: "p1",
  sender: "gw1",
  link: 5,
  mtu: 1500,
  nonce: new Uint8Array(16).fill(7),
};

function packetOf(change: Partial<Proof> = {}, source = "192.0.2.1", destination = "10.77.0.11"): Uint8Array {
  return buildTcpPacket({
    source: ip(source),
    destination: ip(destination),
    sourcePort: proofPort,
    destinationPort: 5,
    sequence: 1000,
    acknowledgement: 2000,
    flags: tcpFlags.psh | tcpFlags.ack,
    payload: encodeProof({ ...proof, ...change }),
  });
}

describe("the answer to a channel proof", () => {
  test("has the proof's size, goes the way of return traffic, and carries the nonce back", () => {
    const answer = answerProof(packetOf(), states.sourceArmed);
    expect(answer?.destination).toBe("192.0.2.1");
    expect(answer?.packet).toHaveLength(1500);
    const tcp = parseTcpPacket(answer?.packet ?? new Uint8Array());
    expect(tcp).toMatchObject({ source: "10.77.0.11", sourcePort: 5, destinationPort: proofPort, intact: true });
    expect(decodeProof(tcp?.payload ?? new Uint8Array())).toEqual({ ...proof, kind: "reply" });
  });

  test.each([
    ["from a stranger's address", packetOf({}, "198.51.100.2")],
    ["through a link that this end does not own", packetOf({ link: 6 })],
    ["to another address", packetOf({}, "192.0.2.1", "10.77.0.12")],
    ["that is an answer itself", packetOf({ kind: "reply" })],
    ["of another size than it says", packetOf().subarray(0, 1200)],
    ["without a proof's payload", new Uint8Array(1500)],
  ])("is not given to a packet %s", (_what, packet) => {
    expect(answerProof(packet, states.sourceArmed)).toBeUndefined();
  });

  test("is not given at the holder's end of a link", () => {
    expect(answerProof(packetOf(), states.targetArmed)).toBeUndefined();
  });
});
