/**
 * What is believed of every member, and how rumours change it.
 *
 * Keeps: a belief changes only for a higher incarnation, or for a worse state of the same one (M1); only a member itself
 * raises its incarnation (M2); what changes a belief is told on, anything else is not (M3).
 */
import { Awareness } from "./awareness.ts";
import type { GossipConfig } from "./config.ts";
import type { GossipCounters } from "./counters.ts";
import type { Effect } from "./effect.ts";
import { incarnationMax, type MemberEvent, type MemberName, type MemberProfile } from "./member.ts";
import { MemberTable, membersMax } from "./member-table.ts";
import type { Alive, Dead, Rumour, Suspect } from "./message.ts";
import { ProbeOrder } from "./probe-order.ts";
import { RetransmitQueue } from "./retransmit-queue.ts";
import { messageBytes, packetHeadBytes } from "./size.ts";
import { Suspicions } from "./suspicions.ts";
import { confirmationsWanted, retransmitLimit, suspicionTimeoutMs } from "./timing.ts";

/** One for each member that can be known. */
export const rumoursMax = membersMax;

/** A clash of names is told of no more often than this. */
const conflictIntervalMs = 60_000;

/** Our own slot: the first that is taken. */
export const self = 0;

export class Roster {
  readonly config: GossipConfig;
  readonly random: () => number;
  readonly table = new MemberTable();
  readonly order: ProbeOrder;
  readonly rumours = new RetransmitQueue<Rumour>(rumoursMax);
  readonly suspicions: Suspicions;
  readonly awareness: Awareness;
  readonly counters: GossipCounters;
  readonly effects: Effect[];
  /** Died not long ago: they may live, and shall hear what is said of them. In the order of their deaths. */
  readonly recentlyDead: number[] = [];
  #leaving = false;
  #conflictToldMs = Number.NEGATIVE_INFINITY;
  #correctedMs = Number.NEGATIVE_INFINITY;

  constructor(
    config: GossipConfig,
    profile: MemberProfile,
    random: () => number,
    counters: GossipCounters,
    effects: Effect[],
  ) {
    this.config = config;
    this.random = random;
    this.counters = counters;
    this.effects = effects;
    this.suspicions = new Suspicions(config.probeIntervalMs);
    this.awareness = new Awareness(config.awarenessMax);
    this.order = new ProbeOrder(this.table, random);
    this.table.add(profile);
  }

  get self(): MemberProfile {
    return this.table.profile(self);
  }

  get isLeaving(): boolean {
    return this.#leaving;
  }

  get liveCount(): number {
    return this.table.live.length;
  }

  get transmitLimit(): number {
    return retransmitLimit(this.config.retransmitMultiplier, this.liveCount);
  }

  apply(rumour: Rumour, nowMs: number): void {
    switch (rumour.kind) {
      case "alive":
        this.alive(rumour, nowMs);
        return;
      case "suspect":
        this.suspect(rumour, nowMs);
        return;
      case "dead":
        this.dead(rumour, nowMs);
        return;
      default:
        rumour satisfies never;
    }
  }

  alive(rumour: Alive, nowMs: number): void {
    const { profile, incarnation } = rumour;
    if (profile.name === this.self.name) {
      this.#aliveOfUs(rumour, nowMs);
      return;
    }
    if (!this.#speaksWith(profile)) {
      this.#refuse();
      return;
    }
    let slot = this.table.find(profile.name);
    const isNew = slot < 0;
    if (isNew) slot = this.table.add(profile);
    if (slot < 0) {
      this.#refuse();
      return;
    }
    const before = this.table.state(slot);
    const hasMoved = !isNew && this.table.profile(slot).address !== profile.address;
    if (hasMoved && !this.#mayReclaim(slot, nowMs)) {
      if (incarnation >= this.table.incarnation(slot)) this.#conflict(slot, profile, nowMs);
      return;
    }
    if (!isNew && !hasMoved && incarnation <= this.table.incarnation(slot)) return;
    const known = this.table.profile(slot);
    this.suspicions.delete(slot);
    this.table.set(slot, profile, incarnation, "alive", nowMs);
    this.order.add(slot);
    this.#tell(profile.name, rumour);
    if (before === "dead" || before === "left") this.#report("joined", slot);
    else {
      if (before === "suspect") this.#report("refuted", slot);
      if (!isSameProfile(known, profile)) this.#report("updated", slot);
    }
  }

  suspect(rumour: Suspect, nowMs: number): void {
    const slot = this.table.find(rumour.name);
    if (slot < 0 || !this.#isPresent(slot, rumour, nowMs)) return;
    if (slot === self) {
      this.#refute(rumour.incarnation, nowMs);
      return;
    }
    const wasSuspect = this.suspicions.has(slot);
    if (wasSuspect && rumour.incarnation === this.table.incarnation(slot)) {
      if (!this.suspicions.confirm(slot, rumour.from, nowMs)) return;
      this.counters.confirmations++;
      this.#tell(rumour.name, rumour);
      return;
    }
    if (!this.table.isLive(slot)) return;
    this.counters.suspicions++;
    this.#tell(rumour.name, rumour);
    this.table.set(slot, this.table.profile(slot), rumour.incarnation, "suspect", nowMs);
    this.#startSuspicion(slot, rumour.from, nowMs);
    if (!wasSuspect) this.#report("suspect", slot);
  }

  dead(rumour: Dead, nowMs: number): void {
    const slot = this.table.find(rumour.name);
    if (slot < 0 || !this.#isPresent(slot, rumour, nowMs) || !this.table.isLive(slot)) return;
    if (slot === self && !this.#leaving) {
      this.#refute(rumour.incarnation, nowMs);
      return;
    }
    const state = rumour.from === rumour.name ? "left" : "dead";
    this.suspicions.delete(slot);
    this.#tell(rumour.name, rumour);
    this.table.set(slot, this.table.profile(slot), rumour.incarnation, state, nowMs);
    this.forgetBuried(nowMs);
    if (this.recentlyDead.length < membersMax) this.recentlyDead.push(slot);
    if (state === "dead") this.counters.deaths++;
    if (slot !== self) this.#report(state, slot);
  }

  /** Suspicions that nobody refuted in time. */
  judge(nowMs: number): void {
    for (let slot = this.suspicions.takeDue(nowMs); slot !== undefined; slot = this.suspicions.takeDue(nowMs)) {
      const [name, incarnation] = [this.table.name(slot), this.table.incarnation(slot)];
      this.dead({ kind: "dead", name, incarnation, from: this.self.name }, nowMs);
    }
  }

  /** Says that we are there, with another profile than before, or again. */
  announce(profile: MemberProfile, nowMs: number): void {
    this.#renew(profile, this.table.incarnation(self) + 1, nowMs);
  }

  leave(nowMs: number): void {
    this.#leaving = true;
    const name = this.self.name;
    this.dead({ kind: "dead", name, incarnation: this.table.incarnation(self), from: name }, nowMs);
  }

  introduce(profile: MemberProfile, nowMs: number): void {
    if (this.table.find(profile.name) >= 0) return;
    const slot = this.table.add(profile);
    if (slot < 0) {
      this.#refuse();
      return;
    }
    this.table.set(slot, profile, 1, "alive", nowMs);
    this.order.add(slot);
  }

  /** Forgets who has been dead or left for long. */
  reap(nowMs: number): void {
    const { table } = this;
    const isOld = (slot: number): boolean =>
      slot !== self && !table.isLive(slot) && nowMs - table.changedAtMs(slot) > this.config.reapMs;
    const old = [...table.slots()].filter(isOld);
    if (old.length > 0) table.remove(old);
  }

  /** Up to `count` other members that `isFit`, each once, by chance. */
  pick(count: number, isFit: (slot: number) => boolean): number[] {
    const { live } = this.table;
    const total = live.length + this.recentlyDead.length;
    const picked: number[] = [];
    const triesMax = Math.min(3 * total, picksPerWanted * count);
    for (let tries = 0; tries < triesMax && picked.length < count; tries++) {
      const index = Math.floor(this.random() * total);
      const slot = live[index] ?? (this.recentlyDead[index - live.length] as number);
      if (slot !== self && !picked.includes(slot) && isFit(slot)) picked.push(slot);
    }
    return picked;
  }

  /** Those whom gossip still reaches after their death. */
  forgetBuried(nowMs: number): void {
    const dead = this.recentlyDead;
    const isBuried = (slot: number): boolean =>
      this.table.state(slot) !== "dead" || nowMs - this.table.changedAtMs(slot) > this.config.gossipToTheDeadMs;
    let buried = 0;
    while (buried < dead.length && isBuried(dead[buried] as number)) buried++;
    if (buried > 0) dead.splice(0, buried);
  }

  /** Of a higher incarnation it begins anew: the suspect has lived after the first. */
  #startSuspicion(slot: number, from: MemberName, nowMs: number): void {
    const { suspicionMultiplier, suspicionMaxMultiplier, probeIntervalMs } = this.config;
    const minMs = suspicionTimeoutMs(suspicionMultiplier, this.liveCount, probeIntervalMs);
    const wanted = confirmationsWanted(suspicionMultiplier, this.liveCount);
    this.suspicions.start(slot, from, nowMs, wanted, minMs, minMs * suspicionMaxMultiplier);
  }

  #aliveOfUs({ profile, incarnation }: Alive, nowMs: number): void {
    if (this.#leaving || incarnation < this.table.incarnation(self)) return;
    if (profile.address !== this.self.address) {
      this.#conflict(self, profile, nowMs);
      return;
    }
    if (incarnation === this.table.incarnation(self) && isSameProfile(profile, this.self)) return;
    this.#refute(incarnation, nowMs);
  }

  /** False: the accusation is of an incarnation that is past. */
  #isPresent(slot: number, { incarnation, from }: Suspect | Dead, nowMs: number): boolean {
    const isPresent = incarnation >= this.table.incarnation(slot);
    if (!isPresent && slot === self) this.#correct(from, nowMs);
    return isPresent;
  }

  /** An accuser that has missed our refutation gets it from us. */
  #correct(accuser: MemberName, nowMs: number): void {
    const slot = this.table.find(accuser);
    if (slot <= self || this.#leaving || nowMs < this.#correctedMs + this.config.gossipIntervalMs) return;
    this.#correctedMs = nowMs;
    const alive: Alive = { kind: "alive", incarnation: this.table.incarnation(self), profile: this.self };
    const { address } = this.table.profile(slot);
    this.effects.push({ kind: "send", to: address, messages: [alive], bytes: packetHeadBytes + messageBytes(alive) });
  }

  #refute(accusedIncarnation: number, nowMs: number): void {
    if (this.#leaving) return;
    this.counters.refutations++;
    this.awareness.apply(1);
    this.#renew(this.self, Math.max(this.table.incarnation(self), accusedIncarnation) + 1, nowMs);
  }

  #renew(profile: MemberProfile, wanted: number, nowMs: number): void {
    const incarnation = Math.min(wanted, incarnationMax);
    this.table.set(self, profile, incarnation, "alive", nowMs);
    this.#tell(profile.name, { kind: "alive", incarnation, profile });
  }

  #mayReclaim(slot: number, nowMs: number): boolean {
    const state = this.table.state(slot);
    if (state === "left") return true;
    return state === "dead" && nowMs - this.table.changedAtMs(slot) > this.config.reclaimMs;
  }

  #conflict(slot: number, claimant: MemberProfile, nowMs: number): void {
    this.counters.conflicts++;
    if (nowMs - this.#conflictToldMs < conflictIntervalMs) return;
    this.#conflictToldMs = nowMs;
    const member = this.table.member(slot);
    this.effects.push({ kind: "event", event: { kind: "conflict", member, claimant: claimant.address } });
  }

  #speaksWith({ versions }: MemberProfile): boolean {
    const ours = this.self.versions;
    return versions.min <= ours.max && versions.max >= ours.min;
  }

  #refuse(): void {
    this.counters.refusedMembers++;
  }

  #tell(name: MemberName, rumour: Rumour): void {
    this.rumours.put(name, rumour, messageBytes(rumour));
  }

  #report(kind: Exclude<MemberEvent["kind"], "conflict">, slot: number): void {
    this.effects.push({ kind: "event", event: { kind, member: this.table.member(slot) } });
  }
}

/** Random members are looked for this often for each one wanted: most of them fit, nearly always. */
const picksPerWanted = 10;

function isSameProfile(one: MemberProfile, other: MemberProfile): boolean {
  if (one === other) return true;
  const [a, b] = [one.metadata, other.metadata];
  return (
    one.address === other.address &&
    a.length === b.length &&
    a.every((byte, index) => byte === b[index]) &&
    one.versions.min === other.versions.min &&
    one.versions.max === other.versions.max &&
    one.versions.current === other.versions.current
  );
}
