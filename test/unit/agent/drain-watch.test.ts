import pino from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { DrainWatch } from "../../../services/agent/drain-watch.ts";
import { FlowObserver, type Listings } from "../../../services/agent/flow-observer.ts";
import type { ConntrackRecord, TcpSocketState } from "../../../src/flow/observe.ts";
import type { TcpSocket } from "../../../src/kernel/sock-diag-codec.ts";
import type { AgentState } from "../../../src/node/state.ts";
import { agentState, ip, plain, sourceLink, states } from "../dataplane/agent-states.ts";

const own = ip("10.77.0.11");

function socket(remotePort: number, state: TcpSocketState = "ESTABLISHED", remote = "198.51.100.2"): TcpSocket {
  const ends = { local: own, localPort: 80, remote: ip(remote), remotePort };
  return { ...ends, state, inode: 1, uid: 0, socketFamily: 4, device: 0, cookie: BigInt(remotePort), ipv6Only: false };
}

class Rig {
  sockets: TcpSocket[] = [];
  connections: ConntrackRecord[] = [];
  readonly destroyed: number[] = [];
  nowMs = 0;
  readonly clock = { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs };
  readonly log = pino({ level: "silent" });
  readonly listings: Listings = {
    sockets: () => this.sockets,
    connections: () => this.connections,
    walk: async () => {},
  };
  readonly sink = {
    change() {},
    snapshot: async () => [],
    snapshotShard: async () => [],
    barrier: async () => [],
    forwards() {},
    speakFor() {},
  };
  readonly observer = new FlowObserver({ ...this, instance: "vm-a", shards: 32 });
  readonly watch = new DrainWatch({
    ...this,
    destroy: (cut) => {
      this.destroyed.push(cut.remotePort);
      this.sockets = this.sockets.filter((other) => other !== cut);
      return true;
    },
  });

  open(state: AgentState = states.sourceSwitched): number | undefined {
    this.nowMs += 10_000;
    this.watch.count(state);
    return this.watch.reports()[0]?.open;
  }
}

describe("the watch over a drain", () => {
  let rig = new Rig();
  beforeEach(() => {
    rig = new Rig();
  });

  test("counts connections with external peers, half-closed and half-open ones too", () => {
    rig.sockets = [socket(1), socket(2, "CLOSE_WAIT"), socket(3, "FIN_WAIT2"), socket(4, "SYN_RECV")];
    expect(rig.open()).toBe(4);
  });

  test("leaves out what is no connection of the public address", () => {
    rig.sockets = [socket(1, "TIME_WAIT"), socket(2, "ESTABLISHED", "10.77.0.12"), socket(3, "SYN_SENT")];
    expect(rig.open()).toBe(0);
  });

  test("counts connections of containers, which have no socket here", () => {
    const original = { source: ip("198.51.100.2"), destination: own, sourcePort: 5, destinationPort: 80 };
    const reply = { source: ip("172.17.0.2"), destination: ip("198.51.100.2"), sourcePort: 8080, destinationPort: 5 };
    rig.connections = [
      { event: "update", protocol: "tcp", original, reply, tcpState: "ESTABLISHED", status: 0, mark: 0, id: 1 },
    ];
    expect(rig.open()).toBe(1);
  });

  test("remembers how many there were when the replies moved into the channel", () => {
    rig.sockets = [socket(1), socket(2)];
    rig.open();
    rig.sockets = [socket(2)];
    rig.open();
    expect(rig.watch.reports()[0]).toMatchObject({ open: 1, atSwitch: 2 });
  });

  test("says when something has changed, and only then", () => {
    rig.sockets = [socket(1)];
    expect(rig.watch.count(states.sourceSwitched)).toBe(true);
    rig.nowMs += 10_000;
    expect(rig.watch.count(states.sourceSwitched)).toBe(false);
  });

  test("resets what is left when told to, and counts it", () => {
    rig.sockets = [socket(1), socket(2)];
    const address = {
      ...plain,
      private: own,
      egress: { kind: "channel", link: 5 },
      watchDrain: true,
      cut: true,
    } as const;
    const cutting = agentState([address], [sourceLink]);
    rig.open(cutting);
    expect(rig.open(cutting)).toBe(0);
    expect(rig.destroyed).toEqual([1, 2]);
    expect(rig.watch.reports()[0]?.cut).toBe(2);
  });
});
