import { beforeEach, describe, expect, test } from "vitest";
import { Prover } from "../../../services/gateway/prover.ts";
import { buildTcpPacket, parseTcpPacket } from "../../../src/dataplane/packet.ts";
import { decodeProof, encodeProof, type Proof } from "../../../src/dataplane/proof.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { RawSendOutcome } from "../../../src/kernel/raw-socket.ts";
import type { ProofRequest } from "../../../src/node/state.ts";
import { ip } from "../dataplane/gateway-states.ts";

const probeSource = ip("192.0.2.1");
const request: ProofRequest = { id: "r1/5", link: 5, targetPrivate: ip("10.77.0.12"), mtu: 1500 };

let sent: { packet: Uint8Array; destination: IpAddress }[];
let outcome: RawSendOutcome;
let prover: Prover;

beforeEach(() => {
  sent = [];
  outcome = { ok: true };
  prover = new Prover({
    gateway: "gw1",
    send(packet, destination) {
      sent.push({ packet, destination });
      return outcome;
    },
  });
});

function sentProof(): Proof {
  const packet = parseTcpPacket(sent.at(-1)?.packet ?? new Uint8Array(0));
  const proof = packet === undefined ? undefined : decodeProof(packet.payload);
  if (proof === undefined) throw new Error("no proof was sent");
  return proof;
}

/** The packet as it comes back from the fabric. */
function returned(proof: Proof): Uint8Array {
  return buildTcpPacket({
    source: ip("10.77.0.12"),
    destination: probeSource,
    sourcePort: proof.link,
    destinationPort: 7703,
    sequence: 1,
    acknowledgement: 1,
    flags: 0x18,
    payload: encodeProof(proof),
  }).subarray(0, 320);
}

describe("a gateway that is asked for a proof", () => {
  test("sends at once a segment of exactly that size, from the probe source to the link's port", () => {
    prover.want({ proofs: [request], probeSource });
    expect(sent).toHaveLength(1);
    expect(sent[0]?.packet).toHaveLength(1500);
    expect(sent[0]?.destination).toBe("10.77.0.12");
    expect(parseTcpPacket(sent[0]?.packet ?? new Uint8Array(0))).toMatchObject({
      source: probeSource,
      destination: "10.77.0.12",
      destinationPort: 5,
      flags: 0x18,
      intact: true,
    });
    expect(sentProof()).toMatchObject({ kind: "request", id: "r1/5", sender: "gw1", link: 5, mtu: 1500 });
  });

  test("sends again until its own comes back, and then reports it", () => {
    prover.want({ proofs: [request], probeSource });
    prover.send();
    expect(sent).toHaveLength(2);
    expect(prover.receive(returned({ ...sentProof(), kind: "reply" }))).toBe(true);
    prover.send();
    expect(sent).toHaveLength(2);
    expect(prover.reports()).toEqual([{ id: "r1/5", sender: "gw1", mtu: 1500 }]);
  });

  test("says it once, however often it comes back", () => {
    prover.want({ proofs: [request], probeSource });
    const reply = returned({ ...sentProof(), kind: "reply" });
    expect([prover.receive(reply), prover.receive(reply)]).toEqual([true, false]);
  });

  test("reports another gateway's beside its own, and goes on with its own", () => {
    prover.want({ proofs: [request], probeSource });
    expect(prover.receive(returned({ ...sentProof(), kind: "reply", sender: "gw2" }))).toBe(true);
    prover.send();
    expect(sent).toHaveLength(2);
    expect(prover.reports()).toEqual([{ id: "r1/5", sender: "gw2", mtu: 1500 }]);
  });

  test("is not taken in by forged or foreign packets", () => {
    prover.want({ proofs: [request], probeSource });
    expect(prover.receive(returned({ ...sentProof(), kind: "reply", nonce: new Uint8Array(16) }))).toBe(false);
    expect(prover.receive(returned(sentProof()))).toBe(false);
    expect(prover.receive(new Uint8Array(20))).toBe(false);
    expect(prover.reports()).toEqual([]);
  });

  test("hears a bounded number of gateways, and always itself", () => {
    prover.want({ proofs: [request], probeSource });
    const own = sentProof();
    for (let index = 0; index < 100; index++) prover.receive(returned({ ...own, kind: "reply", sender: `x${index}` }));
    expect(prover.reports()).toHaveLength(64);
    expect(prover.receive(returned({ ...own, kind: "reply" }))).toBe(true);
  });

  test("keeps what came back while the same proof is wanted, and forgets it with the proof", () => {
    prover.want({ proofs: [request], probeSource });
    prover.receive(returned({ ...sentProof(), kind: "reply" }));
    prover.want({ proofs: [request, { ...request, id: "r2/6", link: 6 }], probeSource });
    expect(prover.reports()).toHaveLength(1);
    prover.want({ proofs: [], probeSource });
    expect(prover.reports()).toEqual([]);
  });

  test("begins anew when the same proof is asked for at another size", () => {
    prover.want({ proofs: [request], probeSource });
    prover.receive(returned({ ...sentProof(), kind: "reply" }));
    prover.want({ proofs: [{ ...request, mtu: 1400 }], probeSource });
    expect(prover.reports()).toEqual([]);
    expect(sentProof().mtu).toBe(1400);
  });

  test("says why it can't send, as long as it can't", () => {
    outcome = { ok: false, errno: "EMSGSIZE" };
    prover.want({ proofs: [request], probeSource });
    expect(prover.faults()).toEqual([
      {
        code: "MTU_TOO_SMALL",
        message:
          "proof r1/5 of 1500 bytes to 10.77.0.12 can't be sent: the gateway's fabric device takes smaller packets only",
      },
    ]);
    outcome = { ok: true };
    expect(prover.send()).toBe(true);
    expect(prover.faults()).toEqual([]);
  });
});
