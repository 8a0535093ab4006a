import { describe, expect, it } from "vitest";
import { type IpAddress, type Prefix, parseIpAddress, parsePrefix } from "../../../src/flow/address.ts";
import {
  type ConntrackRecord,
  type ConntrackTcpState,
  createVantage,
  ListingObserver,
  observeConntrack,
  observeSocket,
  type SocketSighting,
  type TcpSocketState,
  type Tuple,
} from "../../../src/flow/observe.ts";

const ip = (text: string) => parseIpAddress(text) as IpAddress;
const publicAddress = ip("203.0.113.10");
const privateAddress = ip("10.77.0.11");
const client = ip("198.51.100.2");
const vantage = createVantage(new Map([[privateAddress, { address: publicAddress, generation: 7n }]]), [
  parsePrefix("10.77.0.0/24") as Prefix,
  parsePrefix("fd77::/64") as Prefix,
]);

const tuple = (source: string, sourcePort: number, destination: string, destinationPort: number): Tuple => ({
  source: ip(source),
  sourcePort,
  destination: ip(destination),
  destinationPort,
});
const turned = (one: Tuple): Tuple => tuple(one.destination, one.destinationPort, one.source, one.sourcePort);

function record(original: Tuple, more: Partial<ConntrackRecord> = {}): ConntrackRecord {
  const base = { event: "update", protocol: "tcp", tcpState: "ESTABLISHED", status: 0, mark: 0, id: 1 } as const;
  return { ...base, original, reply: turned(original), ...more };
}

const inbound = tuple("198.51.100.2", 40_000, "10.77.0.11", 443);
const outbound = tuple("10.77.0.11", 50_000, "198.51.100.2", 25);
const inboundKey = { address: publicAddress, protocol: "tcp", peer: client, peerPort: 40_000, port: 443 };

describe("observeConntrack", () => {
  it("names an inbound flow by the public address and the port that the client connected to", () => {
    expect(observeConntrack(record(inbound), vantage)).toEqual({
      key: inboundKey,
      state: "open",
      direction: "in",
      generation: 7n,
      forgotten: false,
    });
  });

  it("names an outbound flow with the local end first", () => {
    const change = observeConntrack(record(outbound), vantage);
    expect(change).toMatchObject({
      direction: "out",
      key: { address: publicAddress, port: 50_000, peer: client, peerPort: 25 },
    });
  });

  it("gives a container's outbound flow the address and port that the wire sees", () => {
    const fromContainer = record(tuple("172.17.0.2", 33_333, "198.51.100.2", 80), {
      reply: tuple("198.51.100.2", 80, "10.77.0.11", 61_000),
    });
    const change = observeConntrack(fromContainer, vantage);
    expect(change).toMatchObject({ direction: "out", key: { address: publicAddress, port: 61_000, peerPort: 80 } });
  });

  it("gives a container's published port as the client knows it", () => {
    const toContainer = record(tuple("198.51.100.2", 40_000, "10.77.0.11", 8080), {
      reply: tuple("172.17.0.2", 80, "198.51.100.2", 40_000),
    });
    expect(observeConntrack(toContainer, vantage)).toMatchObject({
      direction: "in",
      key: { port: 8080, peer: client },
    });
  });

  it.each([
    ["the fabric", tuple("10.77.0.12", 40_000, "10.77.0.11", 443)],
    ["loopback", tuple("127.0.0.1", 40_000, "10.77.0.11", 443)],
    ["a link-local service", tuple("10.77.0.11", 40_000, "169.254.169.254", 80)],
    ["a multicast group", tuple("10.77.0.11", 5353, "224.0.0.251", 5353)],
    ["the instance itself", tuple("10.77.0.11", 40_000, "10.77.0.11", 443)],
    ["nobody of ours, both ends", tuple("192.0.2.1", 40_000, "192.0.2.2", 443)],
    ["nobody of ours: a container that is not translated", tuple("172.17.0.2", 40_000, "198.51.100.2", 443)],
  ])("says nothing of a connection with %s", (_what, original) => {
    expect(observeConntrack(record(original), vantage)).toBeUndefined();
  });

  it("takes its own address as internal even when the fabric does not contain it", () => {
    const outside = createVantage(
      new Map([
        [privateAddress, { address: publicAddress, generation: 1n }],
        [ip("192.0.2.5"), { address: ip("203.0.113.11"), generation: 1n }],
      ]),
      [],
    );
    expect(observeConntrack(record(tuple("192.0.2.5", 1, "10.77.0.11", 2)), outside)).toBeUndefined();
  });

  it.each<[ConntrackTcpState, string | undefined]>([
    ["NONE", undefined],
    ["SYN_SENT", "half-open"],
    ["SYN_RECV", "half-open"],
    ["SYN_SENT2", "half-open"],
    ["ESTABLISHED", "open"],
    ["FIN_WAIT", "closing"],
    ["CLOSE_WAIT", "closing"],
    ["LAST_ACK", "closing"],
    ["TIME_WAIT", "closed"],
    ["CLOSE", "closed"],
  ])("takes TCP state %s as %s", (tcpState, state) => {
    expect(observeConntrack(record(inbound, { tcpState }), vantage)?.state).toBe(state);
  });

  it("says nothing of an update that does not tell the TCP state", () => {
    const { tcpState: _, ...stateless } = record(inbound);
    expect(observeConntrack(stateless, vantage)).toBeUndefined();
  });

  it("takes the end of an entry as the end of the flow, in doubt unless the TCP state was an end", () => {
    const ends = (["TIME_WAIT", "CLOSE", "ESTABLISHED", "CLOSE_WAIT"] as const).map((tcpState) => {
      const change = observeConntrack(record(inbound, { event: "destroy", tcpState }), vantage);
      return [change?.state, change?.forgotten];
    });
    expect(ends).toEqual([
      ["closed", false],
      ["closed", false],
      ["closed", true],
      ["closed", true],
    ]);
  });

  it("takes a UDP flow as open from its first packet until its entry ends", () => {
    const { tcpState: _, ...udp } = record(inbound, { protocol: "udp", event: "new" });
    expect(observeConntrack(udp, vantage)).toMatchObject({ state: "open", key: { protocol: "udp" } });
    expect(observeConntrack({ ...udp, event: "destroy" }, vantage)).toMatchObject({
      state: "closed",
      forgotten: false,
    });
  });
});

const socket = (more: Partial<SocketSighting> = {}): SocketSighting => ({
  local: privateAddress,
  localPort: 443,
  remote: client,
  remotePort: 40_000,
  state: "ESTABLISHED",
  ...more,
});

describe("observeSocket", () => {
  it("names the flow as conntrack's entry for it does", () => {
    const change = observeSocket(socket(), vantage);
    expect(change?.key).toEqual(observeConntrack(record(inbound), vantage)?.key);
    expect(change).toMatchObject({ state: "open", generation: 7n });
  });

  it.each<[TcpSocketState, string | undefined, string | undefined]>([
    ["SYN_SENT", "half-open", "out"],
    ["SYN_RECV", "half-open", "in"],
    ["ESTABLISHED", "open", undefined],
    ["FIN_WAIT1", "closing", undefined],
    ["FIN_WAIT2", "closing", undefined],
    ["CLOSE_WAIT", "closing", undefined],
    ["CLOSING", "closing", undefined],
    ["LAST_ACK", "closing", undefined],
    ["TIME_WAIT", "closed", undefined],
    ["CLOSE", "closed", undefined],
    ["LISTEN", undefined, undefined],
  ])("takes state %s as %s, opened %s", (state, flowState, direction) => {
    const change = observeSocket(socket({ state }), vantage);
    expect([change?.state, change?.direction]).toEqual([flowState, direction]);
  });

  it("says nothing of sockets towards the fabric and of other addresses' sockets", () => {
    expect(observeSocket(socket({ remote: ip("10.77.0.12") }), vantage)).toBeUndefined();
    expect(observeSocket(socket({ local: ip("10.77.0.99") }), vantage)).toBeUndefined();
  });
});

describe("the observer of listings", () => {
  const changesOf = (sockets: SocketSighting[], records: ConntrackRecord[]) => {
    const observer = new ListingObserver(vantage);
    const changes = records.map((one) => observer.connection(one));
    return [...changes, ...sockets.map((one) => observer.socket(one))].filter((change) => change !== undefined);
  };
  const statesOf = (sockets: SocketSighting[], records: ConntrackRecord[]) =>
    changesOf(sockets, records).map((change) => `${change.key.port} ${change.state}`);

  it("keeps the half-closed flow that conntrack has forgotten", () => {
    expect(statesOf([socket({ state: "CLOSE_WAIT" })], [])).toEqual(["443 closing"]);
  });

  it("leaves out an untranslated entry whose socket is gone", () => {
    expect(statesOf([], [record(inbound)])).toEqual([]);
  });

  it("keeps translated flows, UDP and handshakes, which may have no socket", () => {
    const container = record(tuple("172.17.0.2", 33_333, "198.51.100.2", 80), {
      reply: tuple("198.51.100.2", 80, "10.77.0.11", 61_000),
    });
    const udp = record(tuple("198.51.100.2", 5_000, "10.77.0.11", 53), { protocol: "udp" });
    const handshake = record(tuple("198.51.100.2", 40_001, "10.77.0.11", 444), { tcpState: "SYN_RECV" });
    expect(statesOf([], [container, udp, handshake])).toEqual(["61000 open", "53 open", "444 half-open"]);
  });

  it("gives the socket behind a redirected port the key that the wire shows, and the socket's state", () => {
    const redirected = record(tuple("198.51.100.2", 40_000, "10.77.0.11", 80), {
      reply: tuple("10.77.0.11", 8080, "198.51.100.2", 40_000),
    });
    expect(statesOf([socket({ localPort: 8080, state: "CLOSE_WAIT" })], [redirected])).toEqual([
      "80 open",
      "80 closing",
    ]);
  });

  it("gives the socket of a connection that leaves translated the key that the wire shows", () => {
    const rewritten = record(tuple("10.77.0.11", 50_000, "192.0.2.80", 80), {
      reply: tuple("198.51.100.2", 8080, "10.77.0.11", 50_001),
    });
    const inner = socket({ localPort: 50_000, remote: ip("192.0.2.80"), remotePort: 80, state: "FIN_WAIT2" });
    expect(changesOf([inner], [rewritten]).map(({ key, state }) => [key.port, key.peer, state])).toEqual([
      [50_001, client, "open"],
      [50_001, client, "closing"],
    ]);
  });

  it("puts the socket's word after conntrack's", () => {
    expect(statesOf([socket()], [record(inbound, { tcpState: "SYN_RECV" })])).toEqual(["443 half-open", "443 open"]);
  });
});
