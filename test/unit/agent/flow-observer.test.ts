import pino from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { FlowObserver } from "../../../services/agent/flow-observer.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import type { ConntrackRecord, ConntrackTcpState } from "../../../src/flow/observe.ts";
import type { TcpSocket } from "../../../src/kernel/sock-diag-codec.ts";
import { agentState, ip, plain } from "../dataplane/agent-states.ts";

const own = ip("10.77.0.11");
const steady = agentState([{ ...plain, private: own }], []);

function record(
  peerPort: number,
  tcpState: ConntrackTcpState,
  event: ConntrackRecord["event"] = "update",
): ConntrackRecord {
  const there = { source: ip("198.51.100.2"), destination: own, sourcePort: peerPort, destinationPort: 80 };
  const back = { source: own, destination: ip("198.51.100.2"), sourcePort: 80, destinationPort: peerPort };
  return { event, protocol: "tcp", original: there, reply: back, tcpState, status: 0, mark: 0, id: peerPort };
}

function socket(remotePort: number): TcpSocket {
  return {
    local: own,
    localPort: 80,
    remote: ip("198.51.100.2"),
    remotePort,
    state: "ESTABLISHED",
    inode: remotePort,
    uid: 0,
    socketFamily: 4,
    device: 0,
    cookie: 1n,
    ipv6Only: false,
  };
}

class Rig {
  sockets: TcpSocket[] = [];
  nowMs = 0;
  readonly told: string[] = [];
  readonly snapshots: { address: IpAddress; flows: number }[] = [];
  readonly observer = new FlowObserver({
    instance: "vm-a",
    shards: 32,
    listings: { sockets: () => this.sockets, connections: () => [] },
    sink: {
      change: (flow: Flow) => this.told.push(`${flow.key.peerPort} ${flow.state}`),
      snapshot: async (address, flows) => {
        this.snapshots.push({ address, flows: [...flows].length });
        return [{ shard: 1, sequence: 9n }];
      },
      snapshotShard: async () => [],
      barrier: async () => [{ shard: 1, sequence: 10n }],
    },
    clock: { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs },
    log: pino({ level: "silent" }),
  });
}

describe("the agent's flow observer", () => {
  let rig = new Rig();
  beforeEach(() => {
    rig = new Rig();
  });

  test("tells of a connection's opening, life and end, each once", () => {
    rig.observer.watch(steady);
    for (const state of ["SYN_RECV", "ESTABLISHED", "ESTABLISHED", "FIN_WAIT", "TIME_WAIT"] as const)
      rig.observer.onConnections([record(1000, state)]);
    expect(rig.told).toEqual(["1000 half-open", "1000 open", "1000 closing", "1000 closed"]);
  });

  test("publishes an address that it newly has whole, with what was open before", () => {
    rig.sockets = [socket(1000), socket(1001)];
    rig.observer.watch(steady);
    expect(rig.snapshots).toEqual([{ address: "203.0.113.10", flows: 2 }]);
    rig.observer.watch(steady);
    expect(rig.snapshots).toHaveLength(1);
  });

  test("asks the sockets before it believes that a forgotten connection has ended (trap 18)", () => {
    rig.sockets = [socket(1000)];
    rig.observer.watch(steady);
    rig.observer.onConnections([record(1000, "ESTABLISHED", "destroy")]);
    rig.nowMs = 5_000;
    rig.observer.tick();
    expect(rig.told).toEqual(["1000 open"]);
    rig.sockets = [];
    rig.observer.onConnections([record(1000, "ESTABLISHED", "destroy")]);
    rig.nowMs = 10_000;
    rig.observer.tick();
    expect(rig.told).toEqual(["1000 open", "1000 closed"]);
  });

  test("makes its table equal to the kernel's before a mark", async () => {
    rig.observer.watch(steady);
    rig.sockets = [socket(1000)];
    const report = await rig.observer.mark({ id: "m", address: ip("203.0.113.10"), snapshot: true });
    expect(report).toEqual({ id: "m", positions: [{ shard: 1, sequence: 9n }], flows: 1 });
    expect(rig.told).toEqual(["1000 open"]);
  });

  test("counts what was opened since the address came to this generation", () => {
    rig.observer.watch(steady);
    rig.observer.onConnections([record(1, "ESTABLISHED"), record(2, "ESTABLISHED")]);
    expect(rig.observer.opened(ip("203.0.113.10"))).toBe(2);
    rig.observer.watch(agentState([{ ...plain, private: own, generation: 8n }], []));
    expect(rig.observer.opened(ip("203.0.113.10"))).toBe(0);
  });

  test("does not take a channel's proofs for connections", () => {
    rig.observer.watch(steady);
    const proof = record(7703, "ESTABLISHED");
    const probe = ip("192.0.2.1");
    const original = { ...proof.original, source: probe };
    rig.observer.onConnections([{ ...proof, original, reply: { ...proof.reply, destination: probe } }]);
    expect(rig.told).toEqual([]);
  });
});
