/** Pings on behalf of others: who asked, and what is owed to them. Bounded; who asks for more is not helped. */

import type { MemberAddress } from "./member.ts";
import type { IndirectPing } from "./message.ts";
import type { Packets } from "./packets.ts";
import type { Roster } from "./roster.ts";
import type { Sequence } from "./sequence.ts";

export const relaysMax = 1_024;

/** Of the probe's timeout: a nack that leaves only when all of it is over reaches a healthy prober too late. */
const patience = 0.8;

interface Errand {
  readonly asker: MemberAddress;
  readonly sequence: number;
  readonly nack: boolean;
  readonly endMs: number;
}

export class Relay {
  readonly #roster: Roster;
  readonly #packets: Packets;
  readonly #sequence: Sequence;
  /** By our own sequence; all last equally long, so the first is due first. */
  readonly #errands = new Map<number, Errand>();
  #nextMs = Number.POSITIVE_INFINITY;

  constructor(roster: Roster, packets: Packets, sequence: Sequence) {
    this.#roster = roster;
    this.#packets = packets;
    this.#sequence = sequence;
  }

  get nextMs(): number {
    return this.#nextMs;
  }

  ask(asker: MemberAddress, request: IndirectPing, nowMs: number): void {
    const { counters, config } = this.#roster;
    if (this.#errands.size >= relaysMax) {
      counters.relaysRefused++;
      return;
    }
    counters.relays++;
    const sequence = this.#sequence.next();
    const endMs = nowMs + patience * config.probeTimeoutMs;
    this.#errands.set(sequence, { asker, sequence: request.sequence, nack: request.nack, endMs });
    if (this.#errands.size === 1) this.#nextMs = endMs;
    this.#packets.send(request.targetAddress, { kind: "ping", sequence, target: request.target });
  }

  acked(sequence: number): void {
    const errand = this.#errands.get(sequence);
    if (errand === undefined) return;
    this.#errands.delete(sequence);
    this.#packets.send(errand.asker, { kind: "ack", sequence: errand.sequence });
  }

  tick(nowMs: number): void {
    if (nowMs < this.#nextMs) return;
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const [sequence, errand] of this.#errands) {
      if (nowMs < errand.endMs) {
        this.#nextMs = errand.endMs;
        return;
      }
      this.#errands.delete(sequence);
      if (errand.nack) this.#packets.send(errand.asker, { kind: "nack", sequence: errand.sequence });
    }
  }
}
