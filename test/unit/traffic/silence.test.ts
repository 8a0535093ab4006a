import { describe, expect, it } from "vitest";
import type { CapturedPacket } from "../../traffic/pcap.ts";
import { flowDelays } from "../../traffic/silence.ts";

const ownerPrivate = "10.77.0.11";
const publicAddress = "203.0.113.10";

/** A segment from the server to the client's port 50000. */
function segment(source: string, atMs: number, sequence: number, payloadBytes = 10): CapturedPacket {
  const flags = { syn: false, fin: false, rst: false, ack: true, acknowledgement: 1 };
  const tcp = { sourcePort: 7001, destinationPort: 50_000, sequence, payloadBytes, ...flags };
  return { atUs: atMs * 1000, source, destination: "198.51.100.2", protocol: 6, tcp };
}

type Sending = readonly [atMs: number, sequence: number, bytes?: number];

function delaysOf(sent: readonly Sending[], arrived: readonly Sending[], lastMs: number, firstMs = 0) {
  return flowDelays({
    atOwner: sent.map(([atMs, sequence, bytes]) => segment(ownerPrivate, atMs, sequence, bytes)),
    atClient: [
      segment("192.0.2.1", firstMs, 0),
      ...arrived.map(([atMs, sequence, bytes]) => segment(publicAddress, atMs, sequence, bytes)),
      segment("192.0.2.1", lastMs, 0),
    ],
    ownerPrivate,
    publicAddress,
    headMs: 0,
    tailMs: 0,
  });
}

describe("the silence of a flow between two captures", () => {
  it("is the longest way of a byte, and not the sender's own pause", () => {
    const [flow] = delaysOf(
      [
        [0, 100],
        [20, 110],
        [500, 120],
      ],
      [
        [1, 100],
        [24, 110],
        [501, 120],
      ],
      600,
    );
    expect(flow).toMatchObject({ longestDelayMs: 4, sentAtUs: 20_000, repeated: 0, segments: 3 });
  });

  it("lasts until the repetition when a segment was lost, for all that waits behind it", () => {
    const sent: Sending[] = [
      [0, 100],
      [20, 110],
      [40, 120],
      [240, 110],
    ];
    const [flow] = delaysOf(
      sent,
      [
        [1, 100],
        [41, 120],
        [241, 110],
      ],
      600,
    );
    expect(flow).toMatchObject({ longestDelayMs: 221, sentAtUs: 20_000, repeated: 1, lost: 1 });
  });

  it("lasts until the capture's end when nothing arrives any more", () => {
    const [flow] = delaysOf(
      [
        [0, 100],
        [20, 110],
      ],
      [[1, 100]],
      600,
    );
    expect(flow?.longestDelayMs).toBe(580);
  });

  it("has lost nothing when an impatient sender repeats what arrives twice", () => {
    const sent: Sending[] = [
      [0, 100],
      [8, 100],
    ];
    const arrived: Sending[] = [
      [9, 100],
      [10, 100],
    ];
    const [flow] = delaysOf(sent, arrived, 600);
    expect(flow).toMatchObject({ longestDelayMs: 9, repeated: 1, lost: 0 });
  });

  it("is not judged before the client's capture begins", () => {
    const sent: Sending[] = [
      [0, 100],
      [20, 110],
      [40, 120],
    ];
    const [flow] = delaysOf(sent, [[41, 120]], 600, 30);
    expect(flow?.longestDelayMs).toBe(1);
  });

  it("does not mind how segments were cut or joined on their way", () => {
    const [flow] = delaysOf(
      [[0, 100, 30]],
      [
        [1, 100, 10],
        [2, 110, 15],
        [3, 125, 5],
      ],
      600,
    );
    expect(flow?.longestDelayMs).toBe(3);
  });

  it("goes on where sequence numbers start again from zero", () => {
    const [flow] = delaysOf(
      [
        [0, 0xfffffffb],
        [20, 5],
      ],
      [
        [1, 0xfffffffb],
        [22, 5],
      ],
      600,
    );
    expect(flow).toMatchObject({ longestDelayMs: 2, repeated: 0 });
  });
});
