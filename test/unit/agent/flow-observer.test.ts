import { setImmediate as nextTurn } from "node:timers/promises";
import pino from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { FlowObserver } from "../../../services/agent/flow-observer.ts";
import type { ListingVisitor } from "../../../services/agent/listings.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { Forward } from "../../../src/flow/events.ts";
import type { Flow } from "../../../src/flow/flow.ts";
import type { ConntrackRecord, ConntrackTcpState } from "../../../src/flow/observe.ts";
import type { TcpSocket } from "../../../src/kernel/sock-diag-codec.ts";
import type { Follow } from "../../../src/node/state.ts";
import type { Layout } from "../../../src/placement/layout.ts";
import { Layouts } from "../../../src/placement/layouts.ts";
import { shardOf } from "../../../src/placement/shard.ts";
import { desiredStateCodec } from "../../../src/rpc/desired-state.ts";
import { digestOfState } from "../../../src/rpc/fields.ts";
import { agentStateBytes } from "../../../src/rpc/node-codec.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
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

const publicAddress = ip("203.0.113.10");
const shards = 32;
const shard = shardOf(publicAddress, shards);
const signal = AbortSignal.timeout(30_000);

class Rig {
  sockets: TcpSocket[] = [];
  nowMs = 0;
  walks = 0;
  /** Runs in the middle of a listing, after the sockets were shown. */
  duringWalk: () => void | Promise<void> = () => {};
  readonly told: string[] = [];
  readonly snapshots: { address?: IpAddress; shard?: number; flows: number }[] = [];
  readonly forwards: { shard: number; forwards: readonly Forward[] }[] = [];
  spokenFor: number[] = [];
  readonly layouts = new Layouts(shards);
  readonly adopted: string[] = [];
  readonly observer = new FlowObserver({
    instance: "vm-a",
    shards,
    layouts: this.layouts,
    listings: { walk: (local, visitor) => this.walk(local, visitor) },
    sink: {
      change: (flow: Flow) => this.told.push(`${flow.key.peerPort} ${flow.state}`),
      adopt: async (address, layout) => {
        this.adopted.push(`${address} ${layout.buckets}`);
        this.layouts.take(address, layout);
      },
      snapshot: async (address, flows) => {
        this.snapshots.push({ address, flows: [...flows].length });
        return [{ shard: 1, sequence: 9n }];
      },
      snapshotShard: async (index, flows) => {
        this.snapshots.push({ shard: index, flows: [...flows].length });
        return [];
      },
      barrier: async () => [{ shard: 1, sequence: 10n }],
      forwards: (index, forwards) => void this.forwards.push({ shard: index, forwards }),
      speakFor: (all) => {
        this.spokenFor = [...all];
      },
    },
    clock: { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs },
    log: pino({ level: "silent" }),
  });

  async walk(local: IpAddress, visitor: ListingVisitor): Promise<void> {
    this.walks++;
    for (const shown of this.sockets) if (shown.local === local) visitor.socket(shown);
    await nextTurn();
    await this.duringWalk();
  }

  /** Takes the state and waits for the first snapshots. */
  async start(state = steady): Promise<void> {
    this.observer.watch(state);
    await this.until(() => this.snapshots.length > 0);
  }

  async until(condition: () => boolean): Promise<void> {
    await waitFor(condition, { signal, timeoutMs: 5_000, what: "the observer", intervalMs: 1 });
  }
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

  test("publishes the shards of its first addresses whole, with what was open before, and the others by and by (E11)", async () => {
    rig.sockets = [socket(1000), socket(1001)];
    await rig.start();
    expect(rig.snapshots).toEqual([{ shard, flows: 2 }]);
    expect(rig.spokenFor).toEqual([shard]);
    rig.observer.watch(steady);
    for (let tick = 0; tick < shards; tick++) rig.observer.tick();
    await rig.until(() => rig.snapshots.length >= shards);
    expect(rig.snapshots.map((snapshot) => snapshot.shard).sort((a = 0, b = 0) => a - b)).toEqual(
      Array.from({ length: shards }, (_, index) => index),
    );
  });

  test("publishes an address whole that comes later", async () => {
    rig.observer.watch(agentState([], []));
    for (let tick = 0; tick < shards; tick++) rig.observer.tick();
    await rig.until(() => rig.snapshots.length === shards);
    rig.snapshots.length = 0;
    rig.sockets = [socket(1000)];
    rig.observer.watch(steady);
    await rig.until(() => rig.snapshots.length > 0);
    expect(rig.snapshots).toEqual([{ address: publicAddress, flows: 1 }]);
  });

  test("takes a stray for no connection, however many come, and lists nothing for them (D13)", async () => {
    await rig.start();
    const { walks } = rig;
    for (let port = 1; port <= 100; port++) {
      rig.observer.onConnections([record(port, "ESTABLISHED", "new"), record(port, "CLOSE")]);
    }
    rig.nowMs += 2_000;
    rig.observer.tick();
    await nextTurn();
    expect(rig.told).toEqual([]);
    expect(rig.walks).toBe(walks);
  });

  test("finds a connection that is older than its tracking by its socket", async () => {
    await rig.start();
    rig.sockets = [socket(1000)];
    rig.observer.onConnections([record(1000, "ESTABLISHED", "new"), record(1001, "ESTABLISHED", "new")]);
    expect(rig.told).toEqual([]);
    rig.nowMs += 2_000;
    rig.observer.tick();
    await rig.until(() => rig.told.length > 0);
    expect(rig.told).toEqual(["1000 open"]);
  });

  test("asks the sockets before it believes that a forgotten connection has ended (trap 18)", async () => {
    rig.sockets = [socket(1000)];
    await rig.start();
    rig.observer.onConnections([record(1000, "ESTABLISHED", "destroy")]);
    rig.nowMs = 5_000;
    rig.observer.tick();
    await rig.until(() => rig.walks >= 2);
    rig.sockets = [];
    rig.observer.onConnections([record(1000, "ESTABLISHED", "destroy")]);
    rig.nowMs = 10_000;
    rig.observer.tick();
    await rig.until(() => rig.told.length === 2);
    expect(rig.told).toEqual(["1000 open", "1000 closed"]);
    expect(rig.walks).toBe(3);
  });

  test("lists again what has ended unseen, when the kernel shows no connection at all", async () => {
    rig.sockets = [socket(1000)];
    await rig.start();
    rig.sockets = [];
    rig.observer.onEmpty(publicAddress);
    rig.nowMs = 5_000;
    rig.observer.tick();
    await rig.until(() => rig.told.length === 2);
    expect(rig.told).toEqual(["1000 open", "1000 closed"]);
    rig.observer.onEmpty(publicAddress);
    rig.nowMs = 10_000;
    rig.observer.tick();
    expect(rig.walks).toBe(2);
  });

  test("believes what happens while a listing is taken, and not the listing (E12)", async () => {
    rig.sockets = [socket(1000), socket(1001)];
    rig.duringWalk = () => {
      rig.observer.onConnections([record(1000, "TIME_WAIT"), record(1002, "ESTABLISHED")]);
    };
    rig.observer.onConnections([record(1000, "ESTABLISHED")]);
    await rig.start();
    expect(rig.told.sort()).toEqual(["1001 open", "1002 open"]);
    expect(rig.snapshots).toEqual([{ shard, flows: 2 }]);
  });

  test("ends the flows of an address that it no longer has", async () => {
    rig.sockets = [socket(1000)];
    await rig.start();
    rig.observer.watch(agentState([], []));
    await rig.until(() => rig.told.length === 2);
    expect(rig.told).toEqual(["1000 open", "1000 closed"]);
    expect(rig.observer.size).toBe(0);
    expect(rig.spokenFor).toEqual([]);
  });

  test("keeps the flows of an address that was gone for a moment only", async () => {
    rig.sockets = [socket(1000)];
    await rig.start();
    rig.observer.watch(agentState([], []));
    rig.observer.watch(steady);
    await rig.until(() => rig.snapshots.length === 2);
    expect(rig.told).toEqual(["1000 open"]);
  });

  test("lists and publishes everything after events were lost, and once more if they are lost meanwhile", async () => {
    await rig.start();
    rig.sockets = [socket(1000)];
    rig.observer.onOverflow();
    rig.observer.onOverflow();
    await rig.until(() => rig.snapshots.length === 3);
    expect(rig.snapshots.at(-1)).toEqual({ shard, flows: 1 });
    expect([rig.observer.overflows, rig.walks]).toEqual([2, 3]);
  });

  test("lists and publishes again what the kernel has refused to list (E7)", async () => {
    await rig.start();
    for (let tick = 0; tick < shards; tick++) rig.observer.tick();
    await rig.until(() => rig.snapshots.length === shards);
    rig.sockets = [socket(1000)];
    rig.duringWalk = () => {
      rig.duringWalk = () => {};
      throw new Error("no buffer space available");
    };
    rig.observer.onOverflow();
    await rig.until(() => rig.walks === 2);
    await rig.until(() => {
      rig.observer.tick();
      return rig.snapshots.length > shards;
    });
    expect(rig.snapshots.at(-1)).toEqual({ shard, flows: 1 });
    expect(rig.walks).toBe(3);
  });

  test("makes its table equal to the kernel's before a mark", async () => {
    await rig.start();
    rig.sockets = [socket(1000)];
    const report = await rig.observer.mark({ id: "m", address: publicAddress, snapshot: true });
    expect(report).toEqual({ id: "m", positions: [{ shard: 1, sequence: 9n }], flows: 1 });
    expect(rig.told).toEqual(["1000 open"]);
  });

  test("says whose flows it forwards once packets can come, and when it is over", async () => {
    const follow = followOf("vm-s");
    await rig.start(agentState([{ ...plain, private: own, follows: [follow], holdOpens: true }], []));
    expect(rig.forwards).toEqual([]);
    const opened = agentState([{ ...plain, private: own, follows: [follow] }], []);
    rig.observer.watch(opened);
    rig.observer.watch(opened);
    expect(rig.forwards).toEqual([{ shard, forwards: [{ address: publicAddress, owner: "vm-s" }] }]);
    rig.observer.publishShard(shard, "a tracker asks");
    await rig.until(() => rig.forwards.length === 2);
    rig.observer.watch(steady);
    expect(rig.forwards.at(-1)).toEqual({ shard, forwards: [] });
  });

  test("counts what was opened since the address came to this generation", () => {
    rig.observer.watch(steady);
    rig.observer.onConnections([record(1, "ESTABLISHED"), record(2, "ESTABLISHED")]);
    expect(rig.observer.opened(publicAddress)).toBe(2);
    rig.observer.watch(agentState([{ ...plain, private: own, generation: 8n }], []));
    expect(rig.observer.opened(publicAddress)).toBe(0);
  });

  test("goes by a layout whose flows are to move only when its mark has told the shards that have them (K3)", async () => {
    await rig.start();
    const layout = { buckets: 2, generation: 1, before: 1 };
    const next = (shard + 1) % shards;
    rig.observer.watch(agentState([{ ...plain, private: own, layout }], []));
    expect(rig.layouts.shardsOf(publicAddress)).toEqual([shard]);
    await rig.observer.mark({ id: "layout", address: publicAddress, snapshot: true });
    expect(rig.adopted).toEqual([`${publicAddress} 2`]);
    expect(rig.spokenFor.toSorted()).toEqual([shard, next].toSorted());
    const ports = [1, 2, 3, 4, 5, 6, 7, 8];
    rig.observer.onConnections(ports.map((port) => record(port, "ESTABLISHED")));
    const counts = [shard, next].map((of) => rig.observer.digestOf(of).flows);
    expect(counts.reduce((sum, count) => sum + count)).toBe(ports.length);
    expect(counts.every((count) => count > 0)).toBe(true);
    rig.observer.watch(agentState([{ ...plain, private: own, layout: { buckets: 2, generation: 1 } }], []));
    await rig.observer.mark({ id: "again", address: publicAddress, snapshot: false });
    expect(rig.adopted).toHaveLength(1);
  });

  test("begins by the layout that its stored state has, and where flows move by the one before until it has told (K6)", async () => {
    const codec = desiredStateCodec("agent");
    const stored = (layout: Layout) => {
      const state = agentState([{ ...plain, private: own, layout }], []);
      const digest = digestOfState(agentStateBytes(state));
      const fence = { term: 1n, leader: "c1", lease: "00".repeat(12), generation: 1n, digest };
      const decoded = codec.decode(codec.encode({ kind: "agent", state, fence }));
      if (!decoded.ok) throw new Error(decoded.message);
      return decoded.value.state;
    };
    await rig.start(stored({ buckets: 2, generation: 1, before: 1 }));
    expect(rig.layouts.of(publicAddress).buckets).toBe(1);
    await rig.observer.mark({ id: "layout", address: publicAddress, snapshot: true });
    expect(rig.layouts.of(publicAddress).buckets).toBe(2);
    const next = new Rig();
    next.observer.watch(stored({ buckets: 2, generation: 1 }));
    expect(next.layouts.of(publicAddress)).toEqual({ buckets: 2, generation: 1 });
  });

  test("goes by a layout of which nothing moves at once, and never back (K5)", async () => {
    rig.observer.watch(agentState([{ ...plain, private: own, layout: { buckets: 3, generation: 2 } }], []));
    expect(rig.layouts.shardsOf(publicAddress)).toHaveLength(3);
    rig.observer.watch(steady);
    expect(rig.layouts.shardsOf(publicAddress)).toHaveLength(3);
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

function followOf(owner: string): Follow {
  return {
    owner,
    ownerPrivate: ip("10.77.0.12"),
    link: 1,
    unknown: "follow",
    settled: false,
    loadId: "l",
    loadAtLeast: [],
  };
}
