/**
 * Whole views compared over TCP: what gossip has lost, joins, and partitions that have ended.
 *
 * Three messages: digests of the caller's view by buckets; what the callee knows of the buckets that differ; what the
 * caller knew of them. Equal views cost some hundred bytes in a cluster of any size. What the other end holds dead is
 * only suspected here: it shall have the chance to refute.
 */
import type { Effect } from "./effect.ts";
import type { LoadLane } from "./load-lane.ts";
import type { MemberAddress, MemberName } from "./member.ts";
import type { StreamMessage, SyncEntry, SyncReply, SyncRequest } from "./message.ts";
import { type Roster, self } from "./roster.ts";
import type { Sequence } from "./sequence.ts";
import { pushPullIntervalMs } from "./timing.ts";

/** Exchanges that we have begun and that have not ended. */
export const exchangesMax = 8;

/** Seeds tried at a time. */
const seedsPerTry = 3;

/** While nobody else is known, seeds are tried this soon again, then ever less often. */
const firstRetryMs = 1_000;

/** In the whole cluster, about as many members as this try a seed that is not a member, in one interval. */
const seedSeekers = 4;

interface Exchange {
  readonly to: MemberAddress;
  readonly name: MemberName | undefined;
}

export class PushPull {
  readonly #roster: Roster;
  readonly #loads: LoadLane;
  readonly #sequence: Sequence;
  #seeds: readonly MemberAddress[] = [];
  readonly #exchanges = new Map<number, Exchange>();
  #exchangeMs = Number.POSITIVE_INFINITY;
  #reconnectMs = Number.POSITIVE_INFINITY;
  #retryMs = firstRetryMs;

  constructor(roster: Roster, loads: LoadLane, sequence: Sequence, seeds: readonly MemberAddress[]) {
    this.#roster = roster;
    this.#loads = loads;
    this.#sequence = sequence;
    this.#seeds = this.#withoutUs(seeds);
  }

  get nextMs(): number {
    return Math.min(this.#exchangeMs, this.#reconnectMs);
  }

  start(nowMs: number): void {
    this.#exchangeMs = nowMs + this.#roster.random() * this.#intervalMs();
    this.#reconnectMs = nowMs;
  }

  setSeeds(seeds: readonly MemberAddress[], nowMs: number): void {
    this.#seeds = this.#withoutUs(seeds);
    if (!this.#isAlone() || this.#roster.isLeaving) return;
    this.#retryMs = firstRetryMs;
    this.#reconnectMs = Math.min(this.#reconnectMs, nowMs);
  }

  stop(): void {
    this.#exchangeMs = Number.POSITIVE_INFINITY;
    this.#reconnectMs = Number.POSITIVE_INFINITY;
  }

  /** The next exchange is due at once. */
  hasten(nowMs: number): void {
    this.#exchangeMs = Math.min(this.#exchangeMs, nowMs);
  }

  tick(nowMs: number): void {
    if (nowMs >= this.#exchangeMs) {
      this.#exchangeMs = nowMs + this.#intervalMs();
      const [partner] = this.#roster.pick(1, (slot) => this.#roster.table.isAlive(slot));
      if (partner !== undefined) this.#beginWith(partner);
    }
    if (nowMs >= this.#reconnectMs) this.#reconnect(nowMs);
  }

  /** The first message of a dialogue that another began, or the third. */
  hear(message: StreamMessage, nowMs: number): StreamMessage | undefined {
    if (message.kind === "sync-request") return this.#answer(message, nowMs);
    if (message.kind === "sync-finish") this.#merge(message.entries, nowMs);
    return undefined;
  }

  answered(id: number, message: StreamMessage, nowMs: number): StreamMessage | undefined {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined || !this.#exchanges.delete(id)) return undefined;
    if (message.kind !== "sync-reply") {
      this.#roster.counters.pushPullsFailed++;
      return undefined;
    }
    this.#roster.counters.pushPulls++;
    this.#retryMs = firstRetryMs;
    const wasAlone = this.#isAlone();
    this.#merge(message.entries, nowMs);
    if (wasAlone && !this.#isAlone()) this.#joined(exchange);
    if (message.buckets.length === 0) return undefined;
    return { kind: "sync-finish", entries: this.#roster.table.entriesIn(message.buckets) };
  }

  failed(id: number): void {
    if (this.#exchanges.delete(id)) this.#roster.counters.pushPullsFailed++;
  }

  #answer(request: SyncRequest, nowMs: number): SyncReply {
    const { table } = this.#roster;
    const { held } = request;
    const caller = request.self.profile.name;
    if (held?.name === this.#roster.self.name && held.state === "left")
      this.#roster.dead({ kind: "dead", name: held.name, incarnation: held.incarnation, from: held.name }, nowMs);
    else if (held?.name === this.#roster.self.name && held.state !== "alive")
      this.#roster.suspect({ kind: "suspect", name: held.name, incarnation: held.incarnation, from: caller }, nowMs);
    this.#merge([request.self], nowMs);
    const digests = table.digests;
    const buckets = digests.flatMap((digest, bucket) => (digest === request.digests[bucket] ? [] : [bucket]));
    return { kind: "sync-reply", buckets, entries: table.entriesIn(buckets) };
  }

  /** Somebody who was given up, as a partition may have ended; a seed that isn't among us; all seeds, if we are alone. */
  #reconnect(nowMs: number): void {
    const { config, table, random } = this.#roster;
    if (this.#isAlone()) {
      this.#reconnectMs = nowMs + this.#retryMs;
      this.#retryMs = Math.min(2 * this.#retryMs, config.reconnectIntervalMs);
      for (const seed of this.#someSeeds(seedsPerTry)) this.#begin({ to: seed, name: undefined });
      this.#tryDead();
      return;
    }
    this.#reconnectMs = nowMs + config.reconnectIntervalMs;
    const living = table.live.length;
    if (random() < (table.size - living) / living) this.#tryDead();
    if (random() >= seedSeekers / living) return;
    const [seed] = this.#someSeeds(1);
    const isMember = (slot: number): boolean => table.profile(slot).address === seed;
    if (seed !== undefined && !table.live.some(isMember)) this.#begin({ to: seed, name: undefined });
  }

  #tryDead(): void {
    const { table, random, counters } = this.#roster;
    let chosen: number | undefined;
    let seen = 0;
    for (const slot of table.slots())
      if (table.state(slot) === "dead" && slot !== self && random() * ++seen < 1) chosen = slot;
    if (chosen === undefined) return;
    counters.reconnects++;
    this.#beginWith(chosen);
  }

  #withoutUs(seeds: readonly MemberAddress[]): readonly MemberAddress[] {
    return seeds.filter((seed) => seed !== this.#roster.self.address);
  }

  #someSeeds(count: number): MemberAddress[] {
    const offset = Math.floor(this.#roster.random() * this.#seeds.length);
    return [...this.#seeds.slice(offset), ...this.#seeds.slice(0, offset)].slice(0, count);
  }

  #beginWith(slot: number): void {
    const { name, address } = this.#roster.table.profile(slot);
    this.#begin({ to: address, name });
  }

  #begin(exchange: Exchange): void {
    const { table, config, effects } = this.#roster;
    if (this.#exchanges.size >= exchangesMax) return;
    const id = this.#sequence.next();
    this.#exchanges.set(id, exchange);
    const message: SyncRequest = {
      kind: "sync-request",
      digests: table.digests,
      held: this.#held(exchange.name),
      self: table.entry(self),
    };
    effects.push({ kind: "dial", id, to: exchange.to, message, timeoutMs: config.streamTimeoutMs });
  }

  #held(name: MemberName | undefined): SyncRequest["held"] {
    if (name === undefined) return undefined;
    const { table } = this.#roster;
    const slot = table.find(name);
    return { name, incarnation: table.incarnation(slot), state: table.state(slot) };
  }

  #merge(entries: readonly SyncEntry[], nowMs: number): void {
    for (const entry of entries) {
      this.#mergeOne(entry, nowMs);
      const { incarnation, version, level } = entry.load;
      if (version > 0) this.#loads.hear({ name: entry.profile.name, incarnation, version, level });
    }
  }

  #mergeOne({ profile, incarnation, state }: SyncEntry, nowMs: number): void {
    const { name } = profile;
    switch (state) {
      case "alive":
        this.#roster.alive({ kind: "alive", incarnation, profile }, nowMs);
        return;
      case "left":
        this.#roster.dead({ kind: "dead", name, incarnation, from: name }, nowMs);
        return;
      case "suspect":
      case "dead":
        this.#roster.suspect({ kind: "suspect", name, incarnation, from: this.#roster.self.name }, nowMs);
        return;
      default:
        state satisfies never;
    }
  }

  #joined({ to, name }: Exchange): void {
    const effect: Effect = { kind: "joined-cluster", through: to, name };
    this.#roster.effects.push(effect);
  }

  #isAlone(): boolean {
    return this.#roster.table.live.length <= 1;
  }

  #intervalMs(): number {
    return pushPullIntervalMs(this.#roster.config.pushPullIntervalMs, this.#roster.liveCount);
  }
}
