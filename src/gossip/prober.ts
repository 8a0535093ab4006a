/**
 * Probes one member after another: directly, then through others and by TCP, and suspects who answers none of it.
 *
 * Lifeguard: the worse our own health, the longer we wait. A probe that succeeds improves it; one that fails costs it
 * one for every helper that did not even say `nack`, as then it may be us who can't hear.
 */
import type { MemberAddress } from "./member.ts";
import type { PacketMessage } from "./message.ts";
import type { Packets } from "./packets.ts";
import type { Roster } from "./roster.ts";
import type { Sequence } from "./sequence.ts";

interface Probe {
  readonly slot: number;
  readonly sequence: number;
  /** When helpers are asked; infinite once they have been. */
  helpersDueMs: number;
  endMs: number;
  helpers: number;
  /** Helpers that said `nack`, by the addresses that they said it from. */
  readonly nacked: Set<MemberAddress>;
  dial: number | undefined;
  /** TCP reached it. */
  isRescued: boolean;
}

export class Prober {
  readonly #roster: Roster;
  readonly #packets: Packets;
  readonly #sequence: Sequence;
  #probe: Probe | undefined;
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(roster: Roster, packets: Packets, sequence: Sequence) {
    this.#roster = roster;
    this.#packets = packets;
    this.#sequence = sequence;
  }

  get nextMs(): number {
    if (this.#probe === undefined) return this.#nextMs;
    return Math.min(this.#probe.helpersDueMs, this.#probe.endMs);
  }

  /** The first probe comes at random within an interval, so that members started together don't stay in step. */
  start(nowMs: number): void {
    this.#nextMs = nowMs + this.#roster.random() * this.#roster.config.probeIntervalMs;
  }

  stop(): void {
    this.#probe = undefined;
    this.#nextMs = Number.POSITIVE_INFINITY;
  }

  tick(nowMs: number): void {
    if (this.#probe !== undefined && nowMs >= this.#probe.endMs) this.#fail(this.#probe, nowMs);
    if (this.#probe !== undefined && nowMs >= this.#probe.helpersDueMs) this.#askHelpers(this.#probe);
    if (this.#probe === undefined && nowMs >= this.#nextMs) this.#begin(nowMs);
  }

  /**
   * Those whom we accused ourselves are told once more before their time is up: if it was us who were cut off, they have
   * not heard of it.
   */
  giveHearings(nowMs: number): void {
    const { suspicions, config, self } = this.#roster;
    for (let slot = suspicions.takeHearing(nowMs); slot !== undefined; slot = suspicions.takeHearing(nowMs))
      if (config.tellSuspects && suspicions.isAccusedBy(slot, self.name)) this.#ping(slot, this.#sequence.next());
  }

  postpone(byMs: number): void {
    if (this.#probe === undefined) return;
    this.#probe.helpersDueMs += byMs;
    this.#probe.endMs += byMs;
  }

  acked(sequence: number): void {
    if (this.#probe?.sequence === sequence) this.#succeed();
  }

  nacked(from: MemberAddress, sequence: number): void {
    if (this.#probe?.sequence === sequence) this.#probe.nacked.add(from);
  }

  /** False: not a dial of the prober's. */
  dialEnded(id: number, hasAnswered: boolean): boolean {
    if (this.#probe?.dial !== id) return false;
    this.#probe.isRescued ||= hasAnswered;
    this.#probe.dial = undefined;
    return true;
  }

  #begin(nowMs: number): void {
    const { config, order, awareness, counters } = this.#roster;
    this.#nextMs +=
      config.probeIntervalMs * Math.max(1, Math.ceil((nowMs - this.#nextMs + 1) / config.probeIntervalMs));
    const slot = order.next();
    if (slot === undefined) return;
    counters.probes++;
    const sequence = this.#sequence.next();
    this.#probe = {
      slot,
      sequence,
      helpersDueMs: nowMs + config.probeTimeoutMs,
      endMs: nowMs + awareness.scale(config.probeIntervalMs),
      helpers: 0,
      nacked: new Set(),
      dial: undefined,
      isRescued: false,
    };
    this.#ping(slot, sequence);
  }

  /** A suspect hears of it before it is asked, so that its ack brings the refutation along. */
  #ping(slot: number, sequence: number): void {
    const { config, table, self } = this.#roster;
    const { name, address } = table.profile(slot);
    const ping: PacketMessage = { kind: "ping", sequence, target: name };
    const isTold = config.tellSuspects && !table.isAlive(slot);
    const suspect: PacketMessage = { kind: "suspect", incarnation: table.incarnation(slot), name, from: self.name };
    this.#packets.send(address, ...(isTold ? [suspect, ping] : [ping]));
  }

  #askHelpers(probe: Probe): void {
    const { config, table, counters, effects } = this.#roster;
    probe.helpersDueMs = Number.POSITIVE_INFINITY;
    counters.indirectProbes++;
    const { name: target, address: targetAddress } = table.profile(probe.slot);
    const mayHelp = (slot: number): boolean => slot !== probe.slot && table.isAlive(slot);
    for (const slot of this.#roster.pick(config.indirectProbes, mayHelp)) {
      const { address } = table.profile(slot);
      probe.helpers++;
      const { sequence } = probe;
      this.#packets.send(address, { kind: "indirect-ping", sequence, target, targetAddress, nack: config.nacks });
    }
    if (!config.streamFallback) return;
    probe.dial = this.#sequence.next();
    const message = { kind: "stream-ping", sequence: probe.sequence, target } as const;
    const timeoutMs = Math.max(config.probeIntervalMs - config.probeTimeoutMs, config.probeTimeoutMs);
    effects.push({ kind: "dial", id: probe.dial, to: targetAddress, message, timeoutMs });
  }

  #succeed(): void {
    this.#probe = undefined;
    this.#roster.awareness.apply(-1);
  }

  #fail(probe: Probe, nowMs: number): void {
    const { table, awareness, counters, config, self } = this.#roster;
    if (probe.isRescued) {
      counters.streamRescues++;
      this.#succeed();
      return;
    }
    this.#probe = undefined;
    counters.probesFailed++;
    if (!config.nacks || probe.helpers === 0) awareness.apply(1);
    else awareness.apply(Math.max(0, probe.helpers - probe.nacked.size));
    const incarnation = table.incarnation(probe.slot);
    this.#roster.suspect({ kind: "suspect", incarnation, name: table.name(probe.slot), from: self.name }, nowMs);
  }
}
