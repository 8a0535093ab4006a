import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ParsedTcpPacket } from "../../src/dataplane/packet.ts";
import type { RawSendOutcome } from "../../src/kernel/raw-socket.ts";
import { Namespace } from "./kernel/namespace.ts";

interface SeenPacket {
  group: number;
  payload: string;
  prefix: string;
  mark: number;
  inputDevice: number;
  sequence: number;
}

interface Observed {
  sent: RawSendOutcome[];
  tooLarge: RawSendOutcome;
  noRoute: RawSendOutcome;
  busy: string;
  device: number;
  whole: string;
  one: SeenPacket[];
  two: SeenPacket[];
  lostOne: number;
  parsed: Omit<ParsedTcpPacket, "payload"> & { payload: number };
  flood: { received: number; lost: number; lastSequence: number };
  closeMs: number;
}

describe("raw packets and nflog", () => {
  let namespace: Namespace;
  let observed: Observed;

  beforeAll(async () => {
    namespace = new Namespace("nflog");
    namespace.ip("link set lo mtu 1500");
    observed = await namespace.script("nflog.script.ts");
  });
  afterAll(() => namespace[Symbol.dispose]());

  it("a subscriber sees the very bytes that the raw socket sent, with mark, prefix and device", () => {
    expect(observed.sent).toEqual([{ ok: true }, { ok: true }, { ok: true }]);
    const about = { group: 7701, prefix: "one ", mark: 0x10000, inputDevice: observed.device };
    expect(observed.one).toMatchObject([
      { ...about, payload: observed.whole, sequence: 0 },
      { ...about, sequence: 1 },
    ]);
    expect(observed.one[1]?.payload).toHaveLength(2 * 60);
    expect(observed.lostOne).toBe(0);
  });

  it("two subscribers in one process get the packets of their own groups, cut at their own length", () => {
    expect(observed.two).toMatchObject([{ group: 7702, prefix: "two", mark: 0x20000 }]);
    expect(observed.two[0]?.payload).toBe(observed.whole.slice(0, 2 * 64));
  });

  it("a packet from the kernel parses with right checksums", () => {
    const { source, destination, payload, intact } = observed.parsed;
    expect({ source, destination, payload, intact }).toEqual({
      source: "198.51.100.2",
      destination: "127.0.0.1",
      payload: 1460,
      intact: true,
    });
  });

  it("a packet larger than the MTU, or without a route, is refused by name", () => {
    expect(observed.tooLarge).toEqual({ ok: false, errno: "EMSGSIZE" });
    expect(observed.noRoute).toEqual({ ok: false, errno: "ENETUNREACH" });
  });

  it("a group that has a subscriber is busy for another", () => {
    expect(observed.busy).toContain("nflog group 7701: EBUSY");
  });

  it("a flood while nobody reads loses packets, and every loss is counted", () => {
    const { received, lost, lastSequence } = observed.flood;
    expect(lost).toBeGreaterThan(0);
    expect(received + lost).toBe(lastSequence + 1);
  });

  it("a subscription ends soon, and its group can be taken again", () => {
    expect(observed.closeMs).toBeLessThan(1_000);
  });
});
