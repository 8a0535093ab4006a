import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { hostPortOf } from "../../../src/gossip/address.ts";
import { type GossipConfig, lanConfig } from "../../../src/gossip/config.ts";
import type { EnvelopeOptions } from "../../../src/gossip/edge/envelope.ts";
import { EventFeed, feedEventsMax } from "../../../src/gossip/edge/event-feed.ts";
import { Keyring } from "../../../src/gossip/edge/keyring.ts";
import { MemoryNetwork } from "../../../src/gossip/edge/memory-network.ts";
import { Gossip } from "../../../src/gossip/edge/node.ts";
import { openSockets } from "../../../src/gossip/edge/sockets.ts";
import type { Transport } from "../../../src/gossip/edge/transport.ts";
import type { Member } from "../../../src/gossip/member.ts";
import { systemClock } from "../../../src/runtime/clock.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { profileOf } from "./small-cluster.ts";

/** Twenty times as fast as in a network: tests wait in real time. */
const quick: GossipConfig = {
  ...lanConfig,
  probeIntervalMs: 60,
  probeTimeoutMs: 30,
  gossipIntervalMs: 10,
  pushPullIntervalMs: 300,
  reconnectIntervalMs: 100,
  gossipToTheDeadMs: 1_000,
  loadIntervalMs: 100,
  streamTimeoutMs: 500,
};
const member: Member = { profile: profileOf(1), incarnation: 1, state: "alive", changedAtMs: 0, load: 0 };
const plain: EnvelopeOptions = { label: "test", mode: "off", keyring: undefined };
const key = (fill: number): string => Buffer.alloc(32, fill).toString("base64");

function gossip(name: string, transport: Transport, seeds: string[], envelope: EnvelopeOptions = plain): Gossip {
  const metadata = new Uint8Array();
  return new Gossip(
    { config: quick, name, metadata, seeds, envelope, clock: systemClock, random: Math.random },
    transport,
  ).start();
}

const soon = (what: string, condition: () => boolean): Promise<boolean> =>
  waitFor(condition, { signal: AbortSignal.timeout(20_000), timeoutMs: 15_000, what });

const aliveAt = (node: Gossip): string[] =>
  node
    .members()
    .filter(({ state }) => state === "alive")
    .map(({ profile }) => profile.name)
    .sort();

describe("nodes on real sockets", () => {
  it("find each other through a seed, tell their loads, and tell a leave from a crash", async () => {
    await using one = gossip("one", await openSockets({ host: "127.0.0.1", port: 0 }), []);
    const seeds = [one.self.profile.address];
    await using two = gossip("two", await openSockets({ host: "127.0.0.1", port: 0 }), seeds);
    await using three = gossip("three", await openSockets({ host: "127.0.0.1", port: 0 }), seeds);
    const all = [one, two, three];
    await soon("three members everywhere", () => all.every((node) => aliveAt(node).length === 3));
    two.setLoad(1);
    await soon("the load of two", () => one.member("two")?.load === 7 && three.member("two")?.load === 7);
    await two.leave();
    await two[Symbol.asyncDispose]();
    await soon("a leave", () => one.member("two")?.state === "left" && three.member("two")?.state === "left");
    await three[Symbol.asyncDispose]();
    await soon("a death", () => one.member("three")?.state === "dead");
  });

  it("count garbage by what is wrong with it, and go on (M8)", async () => {
    await using one = gossip("one", await openSockets({ host: "127.0.0.1", port: 0 }), []);
    await using sender = await openSockets({ host: "127.0.0.1", port: 0 });
    sender.start({ packet: () => undefined, frame: () => undefined });
    const to = one.self.profile.address;
    sender.send(to, Buffer.from([0xb7]));
    sender.send(to, Buffer.from("hello, is there anybody?"));
    sender.send(to, Buffer.from([0xb7, 0, 4, ...Buffer.from("test"), 1, 2, 3, 4, 5, 6]));
    sender.send(to, Buffer.from([0xb7, 0, 4, ...Buffer.from("prod"), 1, 2, 3, 4, 5, 6]));
    await soon("four refusals", () => Object.values(one.refused).reduce((sum, count) => sum + count, 0) === 4);
    expect(one.refused).toMatchObject({ truncated: 1, magic: 1, crc: 1, label: 1 });
  });

  it("close a stream that sends an oversized frame, and one that says nothing sensible", async () => {
    await using one = gossip("one", await openSockets({ host: "127.0.0.1", port: 0 }), []);
    const closedAfter = (bytes: Uint8Array): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(hostPortOf(one.self.profile.address), () => socket.write(bytes));
        socket.once("error", () => undefined);
        socket.once("close", () => resolve());
        socket.resume();
      });
    await closedAfter(Buffer.from([0xff, 0xff, 0xff, 0xff]));
    await closedAfter(Buffer.from([0, 0, 0, 2, 1, 2]));
    await soon("both to be counted", () => one.traffic.streamsFailed === 1 && one.refused.truncated === 1);
  });
});

describe("a consumer of events that is blocked", () => {
  it("stalls nobody: members go on to come, to change and to die (M10)", async () => {
    const network = new MemoryNetwork();
    await using one = gossip("one", network.transport("10.0.0.1:1"), []);
    const events = one.events(new AbortController().signal);
    await events.next();
    const two = gossip("two", network.transport("10.0.0.2:1"), ["10.0.0.1:1"]);
    await soon("a join", () => aliveAt(one).length === 2);
    two.setMetadata(Uint8Array.of(7));
    await soon("a change", () => one.member("two")?.profile.metadata[0] === 7);
    await two[Symbol.asyncDispose]();
    await soon("a death", () => one.member("two")?.state === "dead");
    expect(one.eventsMissed).toBe(0);
    const kinds = [(await events.next()).value?.kind, (await events.next()).value?.kind];
    expect(kinds).toEqual(["joined", "updated"]);
  });

  it("costs no more memory than its queue, and begins anew with all members when it reads again (M10)", async () => {
    using feed = new EventFeed(() => [member]);
    const events = feed.events(new AbortController().signal);
    await events.next();
    for (let count = 0; count < 3 * feedEventsMax; count++) feed.publish({ kind: "updated", member });
    expect(feed.missed).toBe(2 * feedEventsMax);
    for (let count = 0; count < feedEventsMax; count++)
      expect((await events.next()).value).toEqual({ kind: "updated", member });
    expect((await events.next()).value).toEqual({ kind: "resync", members: [member] });
    feed.publish({ kind: "left", member });
    expect((await events.next()).value).toEqual({ kind: "left", member });
  });
});

describe("an encryption rollout", () => {
  it("in four rounds of restarts loses no member", async () => {
    const network = new MemoryNetwork();
    const ring = (...keys: string[]): Keyring => {
      const parsed = Keyring.parse(keys);
      if (!parsed.ok) throw new Error(parsed.message);
      return parsed.value;
    };
    const rounds: EnvelopeOptions[] = [
      { label: "test", mode: "accept", keyring: ring(key(1)) },
      { label: "test", mode: "send", keyring: ring(key(1)) },
      { label: "test", mode: "require", keyring: ring(key(1)) },
      { label: "test", mode: "require", keyring: ring(key(1), key(2)) },
    ];
    const names = ["one", "two", "three", "four"];
    const addresses = names.map((_, index) => `10.0.0.${index + 1}:1`);
    const open = (index: number, envelope: EnvelopeOptions): Gossip =>
      gossip(names[index] as string, network.transport(addresses[index] as string), addresses, envelope);
    const nodes = names.map((_, index) => open(index, plain));
    const isWhole = (): boolean => nodes.every((node) => aliveAt(node).length === names.length);
    const grieved: string[] = [];
    try {
      await soon("a whole cluster", isWhole);
      for (const round of rounds) {
        for (const index of names.keys()) {
          await nodes[index]?.leave();
          await nodes[index]?.[Symbol.asyncDispose]();
          nodes[index] = open(index, round);
          await soon(`${names[index]} to be back in mode ${round.mode}`, isWhole);
          grieved.push(
            ...nodes.flatMap((node) => node.members()).flatMap(({ state }) => (state === "dead" ? ["dead"] : [])),
          );
        }
      }
      expect(grieved).toEqual([]);
      expect(nodes.reduce((sum, node) => sum + node.counters.deaths, 0)).toBe(0);
    } finally {
      for (const node of nodes) await node[Symbol.asyncDispose]();
    }
  });
});
