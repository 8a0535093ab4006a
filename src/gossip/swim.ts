/**
 * The whole machine: deals time and messages out to its parts, and gathers what they want done.
 *
 * Steps of one tick, in this order: what we slept through is discounted; the probe; errands; suspicions that are due;
 * rumours; push/pull. The parts share one {@link Roster}.
 */
import type { GossipCounters } from "./counters.ts";
import { noCounts } from "./counters.ts";
import type { Effect } from "./effect.ts";
import { LoadLane } from "./load-lane.ts";
import type { GossipMachine, MachineOptions } from "./machine.ts";
import type { Member, MemberAddress, MemberName, MemberProfile } from "./member.ts";
import type { PacketMessage, StreamMessage } from "./message.ts";
import { Packets } from "./packets.ts";
import { Prober } from "./prober.ts";
import { PushPull } from "./push-pull.ts";
import { Relay } from "./relay.ts";
import { Roster, self } from "./roster.ts";
import { Sequence } from "./sequence.ts";

/** How often we look for members to forget. */
const reapIntervalMs = 60_000;

/** A leave that nobody hears must not keep the process. */
const leaveTimeoutMs = 5_000;

export class Swim implements GossipMachine {
  readonly counters: GossipCounters = noCounts();
  readonly #roster: Roster;
  readonly #loads: LoadLane;
  readonly #packets: Packets;
  readonly #prober: Prober;
  readonly #relay: Relay;
  readonly #pushPull: PushPull;
  #effects: Effect[] = [];
  #gossipMs = Number.POSITIVE_INFINITY;
  #reapMs = Number.POSITIVE_INFINITY;
  #departMs = Number.POSITIVE_INFINITY;

  constructor({ config, self: profile, random, seeds }: MachineOptions) {
    this.#roster = new Roster(config, profile, random, this.counters, this.#effects);
    const sequence = new Sequence(random);
    this.#loads = new LoadLane(this.#roster);
    this.#packets = new Packets(this.#roster, this.#loads);
    this.#prober = new Prober(this.#roster, this.#packets, sequence);
    this.#relay = new Relay(this.#roster, this.#packets, sequence);
    this.#pushPull = new PushPull(this.#roster, this.#loads, sequence, seeds);
  }

  get nextDueMs(): number {
    return Math.min(
      this.#prober.nextMs,
      this.#relay.nextMs,
      this.#roster.suspicions.nextMs,
      this.#roster.rumours.size === 0 ? Number.POSITIVE_INFINITY : this.#gossipMs,
      this.#pushPull.nextMs,
      this.#loads.nextMs,
      this.#reapMs,
      this.#departMs,
    );
  }

  get self(): Member {
    return this.#roster.table.member(self);
  }

  get liveCount(): number {
    return this.#roster.liveCount;
  }

  get awareness(): number {
    return this.#roster.awareness.score;
  }

  get rumoursQueued(): number {
    return this.#roster.rumours.size;
  }

  get rumoursDropped(): number {
    return this.#roster.rumours.dropped;
  }

  members(): Member[] {
    return [...this.#roster.table.slots()].map((slot) => this.#roster.table.member(slot));
  }

  member(name: MemberName): Member | undefined {
    const slot = this.#roster.table.find(name);
    return slot < 0 ? undefined : this.#roster.table.member(slot);
  }

  start(nowMs: number): readonly Effect[] {
    this.#gossipMs = nowMs + this.#roster.random() * this.#roster.config.gossipIntervalMs;
    this.#reapMs = nowMs + reapIntervalMs;
    this.#roster.announce(this.#roster.self, nowMs);
    this.#prober.start(nowMs);
    this.#pushPull.start(nowMs);
    return this.tick(nowMs);
  }

  tick(nowMs: number): readonly Effect[] {
    this.#discountStall(nowMs);
    this.#prober.tick(nowMs);
    this.#relay.tick(nowMs);
    this.#prober.giveHearings(nowMs);
    this.#roster.judge(nowMs);
    this.#loads.tick(nowMs);
    if (nowMs >= this.#gossipMs && this.#roster.rumours.size > 0) {
      this.#packets.gossip(nowMs);
      this.#gossipMs += this.#roster.config.gossipIntervalMs;
    }
    this.#pushPull.tick(nowMs);
    if (nowMs >= this.#reapMs) {
      this.#reapMs = nowMs + reapIntervalMs;
      this.#roster.reap(nowMs);
    }
    this.#depart(nowMs);
    return this.#settle(nowMs);
  }

  receive(from: MemberAddress, messages: readonly PacketMessage[], nowMs: number): readonly Effect[] {
    for (const message of messages) this.#hear(from, message, nowMs);
    return this.#settle(nowMs);
  }

  receiveStream(_from: MemberAddress, message: StreamMessage, nowMs: number): Answer {
    const reply =
      message.kind === "stream-ping"
        ? this.#streamAck(message.sequence, message.target)
        : this.#pushPull.hear(message, nowMs);
    return { reply, effects: this.#settle(nowMs) };
  }

  dialAnswered(id: number, message: StreamMessage, nowMs: number): Answer {
    const isProbe = this.#prober.dialEnded(id, message.kind === "stream-ack");
    const reply = isProbe ? undefined : this.#pushPull.answered(id, message, nowMs);
    return { reply, effects: this.#settle(nowMs) };
  }

  dialFailed(id: number, nowMs: number): readonly Effect[] {
    if (!this.#prober.dialEnded(id, false)) this.#pushPull.failed(id);
    return this.#settle(nowMs);
  }

  setLoad(load: number, nowMs: number): readonly Effect[] {
    this.#loads.set(load, nowMs);
    return this.#settle(nowMs);
  }

  setSeeds(seeds: readonly MemberAddress[], nowMs: number): readonly Effect[] {
    this.#pushPull.setSeeds(seeds, nowMs);
    return this.#settle(nowMs);
  }

  setMetadata(metadata: Uint8Array, nowMs: number): readonly Effect[] {
    this.#roster.announce({ ...this.#roster.self, metadata }, nowMs);
    return this.#settle(nowMs);
  }

  leave(nowMs: number): readonly Effect[] {
    if (this.#roster.isLeaving) return [];
    this.#prober.stop();
    this.#pushPull.stop();
    this.#roster.leave(nowMs);
    this.#departMs = nowMs + leaveTimeoutMs;
    return this.tick(nowMs);
  }

  introduce(members: readonly MemberProfile[], nowMs: number): void {
    for (const profile of members) this.#roster.introduce(profile, nowMs);
  }

  #hear(from: MemberAddress, message: PacketMessage, nowMs: number): void {
    switch (message.kind) {
      case "ping":
        if (message.target === this.#roster.self.name)
          this.#packets.send(from, { kind: "ack", sequence: message.sequence });
        else this.counters.misdirectedPings++;
        return;
      case "indirect-ping":
        this.#relay.ask(from, message, nowMs);
        return;
      case "ack":
        this.#prober.acked(message.sequence);
        this.#relay.acked(message.sequence);
        return;
      case "nack":
        this.#prober.nacked(from, message.sequence);
        return;
      case "loads":
        for (const report of message.reports) this.#loads.hear(report);
        return;
      case "alive":
      case "suspect":
      case "dead":
        this.#roster.apply(message, nowMs);
        return;
      default:
        message satisfies never;
    }
  }

  #streamAck(sequence: number, target: MemberName): StreamMessage | undefined {
    if (target === this.#roster.self.name) return { kind: "stream-ack", sequence };
    this.counters.misdirectedPings++;
    return undefined;
  }

  /** Late by our own fault: meanwhile answers may have come that we could not read. They get their time. */
  #discountStall(nowMs: number): void {
    const { stallMs } = this.#roster.config;
    const lateMs = nowMs - this.nextDueMs;
    if (stallMs === 0 || lateMs <= stallMs) return;
    this.counters.stalls++;
    this.#roster.awareness.apply(1);
    this.#prober.postpone(lateMs);
    this.#roster.suspicions.postpone(lateMs);
    if (lateMs < this.#roster.config.probeIntervalMs || this.#roster.isLeaving) return;
    // We are suspected by now, may be stopped again before we hear of it, and have missed what was told of others.
    this.#roster.announce(this.#roster.self, nowMs);
    this.#pushPull.hasten(nowMs);
  }

  #depart(nowMs: number): void {
    const isTold = !this.#roster.rumours.has(this.#roster.self.name) || this.#roster.table.live.length === 0;
    if (this.#departMs === Number.POSITIVE_INFINITY || !(isTold || nowMs >= this.#departMs)) return;
    this.#departMs = Number.POSITIVE_INFINITY;
    this.#effects.push({ kind: "departed" });
  }

  #settle(nowMs: number): readonly Effect[] {
    const intervalMs = this.#roster.config.gossipIntervalMs;
    if (this.#gossipMs <= nowMs) this.#gossipMs += intervalMs * Math.ceil((nowMs - this.#gossipMs + 1) / intervalMs);
    if (this.#effects.length === 0) return noEffects;
    return this.#effects.splice(0);
  }
}

const noEffects: readonly Effect[] = [];

interface Answer {
  readonly reply: StreamMessage | undefined;
  readonly effects: readonly Effect[];
}
