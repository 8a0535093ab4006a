/** What a source says of the connections that it still serves (SPEC R8, R10, R11). */
import pino from "pino";
import { beforeEach, describe, expect, test } from "vitest";
import { DrainWatch } from "../../../services/agent/drain-watch.ts";
import { isOpen, vantageOf } from "../../../services/agent/open-connections.ts";
import { SupersededSockets } from "../../../services/agent/superseded-sockets.ts";
import type { FlowAnswer } from "../../../src/flow/answer.ts";
import type { FlowKey } from "../../../src/flow/flow.ts";
import type { TcpSocketState } from "../../../src/flow/observe.ts";
import type { TcpSocket } from "../../../src/kernel/sock-diag-codec.ts";
import type { AgentState } from "../../../src/node/state.ts";
import { agentState, ip, plain, sourceLink, states } from "../dataplane/agent-states.ts";

const own = ip("10.77.0.11");

function socket(remotePort: number, state: TcpSocketState = "ESTABLISHED", remote = "198.51.100.2"): TcpSocket {
  const ends = { local: own, localPort: 80, remote: ip(remote), remotePort };
  return { ...ends, state, inode: 1, uid: 0, socketFamily: 4, device: 0, cookie: BigInt(remotePort), ipv6Only: false };
}

const drained = { ...plain, private: own, egress: { kind: "channel", link: 5 }, watchDrain: true } as const;
const draining = agentState([drained], [sourceLink]);
const cutting = agentState([{ ...drained, cut: true }], [sourceLink]);

class Rig {
  sockets: TcpSocket[] = [];
  translated = 0;
  resets = true;
  /** Ports of peers whose connection the tracker knows at the new holder, by generation there. */
  readonly younger = new Map<number, bigint>();
  readonly destroyed: number[] = [];
  readonly empty: string[] = [];
  readonly muted: string[] = [];
  nowMs = 0;
  readonly clock = { nowMs: () => this.nowMs, monotonicMs: () => this.nowMs };
  readonly log = pino({ level: "silent" });
  counted = Promise.withResolvers<void>();
  readonly lookup = async (keys: readonly FlowKey[]) => keys.map((key) => this.#answer(key));
  watch = this.#watch();

  withoutResets(): void {
    this.resets = false;
    this.watch = this.#watch();
  }

  /** Until a whole listing is in the report. */
  async look(state: AgentState = draining) {
    this.nowMs += 10_000;
    this.counted = Promise.withResolvers();
    this.watch.count(state);
    await this.counted.promise;
    this.watch.count(state);
    return this.watch.reports()[0];
  }

  #watch(): DrainWatch {
    return new DrainWatch({
      connections: {
        sockets: async () => {
          this.nowMs += 1;
          return this.sockets;
        },
        socketsAt: async () => this.sockets,
        translated: async () => this.translated,
      },
      superseded: new SupersededSockets({ ...this, instance: "vm-a" }),
      silence: { watch: () => undefined, longestMs: () => undefined },
      opened: () => 0,
      mute: (link, muted) => {
        this.muted.push(`${link}: ${muted.map(({ remotePort }) => remotePort).join(", ")}`);
        expect(this.destroyed).toEqual([]);
      },
      destroy: (ended) => {
        this.destroyed.push(ended.remotePort);
        this.sockets = this.sockets.filter((other) => other !== ended);
        return true;
      },
      resets: this.resets,
      onCounted: () => this.counted.resolve(),
      onEmpty: (address) => this.empty.push(address),
      clock: this.clock,
      log: this.log,
    });
  }

  #answer(key: FlowKey): FlowAnswer {
    const generation = this.younger.get(key.peerPort);
    if (generation === undefined) return { kind: "absent", appliedSequence: 1n };
    return { kind: "owned", flow: { key, owner: "vm-b", state: "open", openedAtMs: 1, generation } };
  }
}

describe("the watch over a drain", () => {
  let rig = new Rig();
  beforeEach(() => {
    rig = new Rig();
  });

  test("counts half-closed and half-open connections, and none that is no connection of the public address", () => {
    const vantage = vantageOf(drained, draining);
    const open = (state: TcpSocketState, remote?: string) => isOpen(socket(1, state, remote), vantage);
    const live = ["ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT1", "FIN_WAIT2", "LAST_ACK", "SYN_RECV"] as const;
    expect(live.filter((state) => !open(state))).toEqual([]);
    expect([open("TIME_WAIT"), open("SYN_SENT"), open("ESTABLISHED", "10.77.0.12")]).toEqual([false, false, false]);
  });

  test("says nothing before it has looked", async () => {
    rig.sockets = [socket(1)];
    rig.watch.count(draining);
    expect(rig.watch.reports()).toEqual([]);
    expect(await rig.look()).toMatchObject({ open: 1 });
  });

  test("tells when it has found no connection at all", async () => {
    rig.translated = 1;
    await rig.look();
    expect(rig.empty).toEqual([]);
    rig.translated = 0;
    await rig.look();
    expect(rig.empty).toEqual([drained.address]);
  });

  test("counts connections of containers, which have no socket here", async () => {
    rig.translated = 1;
    expect(await rig.look()).toMatchObject({ open: 1 });
  });

  test("remembers how many there were when the replies moved into the channel", async () => {
    rig.sockets = [socket(1), socket(2)];
    await rig.look();
    rig.sockets = [socket(2)];
    expect(await rig.look()).toMatchObject({ open: 1, atSwitch: 2 });
  });

  test("says when something has changed, and only then", async () => {
    rig.sockets = [socket(1)];
    await rig.look();
    expect(rig.watch.count(draining)).toBe(false);
    await rig.look();
    expect(rig.watch.count(draining)).toBe(false);
  });

  test("resets what is left when told to, and counts it", async () => {
    rig.sockets = [socket(1), socket(2)];
    await rig.look();
    await rig.look(cutting);
    expect(await rig.look(cutting)).toMatchObject({ open: 0, cut: 2, unresettable: 0 });
    expect(rig.destroyed).toEqual([1, 2]);
  });

  test("tells of those that it can't reset: all where the kernel can't, and those of containers", async () => {
    rig.withoutResets();
    rig.sockets = [socket(1), socket(2)];
    rig.translated = 1;
    expect(await rig.look()).toMatchObject({ open: 3, unresettable: 0 });
    expect(await rig.look(cutting)).toMatchObject({ open: 3, cut: 0, unresettable: 3 });
    expect(rig.destroyed).toEqual([]);
  });

  test("ends sockets whose peer has a younger connection of the same ends at the holder, and no other", async () => {
    rig.sockets = [socket(1), socket(2), socket(3)];
    rig.younger.set(2, plain.generation + 1n).set(3, plain.generation);
    await rig.look();
    expect(rig.destroyed).toEqual([2]);
    expect(await rig.look()).toMatchObject({ open: 2, superseded: 1, cut: 0 });
  });

  test("keeps to itself the reset of a superseded connection, where the source answers by itself", async () => {
    const answering = states.sourceAnswering;
    rig.sockets = [socket(1), socket(2)];
    rig.younger.set(2, plain.generation + 1n);
    expect(await rig.look(answering)).toMatchObject({ atSwitch: 2 });
    expect(rig.muted).toEqual(["5: 2"]);
    expect(rig.destroyed).toEqual([2]);
  });

  test("ends once what a release has let go of", async () => {
    const after = { ...states.steady, addresses: [], discards: [own] };
    rig.sockets = [socket(1), socket(2)];
    await rig.look(after);
    rig.sockets = [socket(3)];
    rig.watch.count(after);
    expect(rig.destroyed).toEqual([1, 2]);
  });
});
