/**
 * Members that gossip, decide and hold shards, in simulated time. Each runs the real decider on its own late and lossy view
 * of the others; the log of epochs is the one thing that they share.
 *
 * A member's load is what its shards cost and what its machine has to do besides, strays by up to a fifth, and is told as
 * gossip does: in levels with hysteresis, seldom.
 */
import { type Assignment, shardsOf } from "../../../src/placement/assignment.ts";
import type { Candidate } from "../../../src/placement/candidate.ts";
import { Decider } from "../../../src/placement/decider.ts";
import type { Move } from "../../../src/placement/move.ts";
import { EventHeap } from "../event-heap.ts";
import type { Random } from "../random.ts";

export interface Wanted {
  readonly shards: number;
  /** Of the messages between members, and of news of an epoch. */
  readonly loss: number;
  /** 0.2: loads stray by a fifth. */
  readonly stray: number;
  /** What a shard's primary costs, as a part of a machine. */
  readonly costOf: (shard: number) => number;
}

/** What becomes of a copy that an epoch gives to a member, or takes from it. */
export interface Copies {
  /** From then on the member counts as caught up where its {@link Member.caughtUp} says so. */
  give(member: Member, shard: number): void;
  take(member: Member, shard: number): void;
  /** The member is back with the copy that it had. */
  resume(member: Member, shard: number): void;
}

export interface Epoch {
  readonly atMs: number;
  readonly assignment: Assignment;
  readonly moves: readonly Move[];
  readonly by: string;
}

const beatMs = 5_000;
const turnMaxMs = 1_000;
const loadIntervalMs = 30_000;
const levels = 8;
const hysteresis = 0.25;
/** A standby applies what the primary applies, and answers hardly anybody. */
const standbyCost = 0.5;

export class Member {
  readonly name: string;
  readonly zone: string;
  decider: Decider;
  /** Of others, as far as told. */
  readonly view = new Map<string, Candidate>();
  readonly caughtUp = new Set<number>();
  /** As of the newest epoch that it knows. */
  held: ReadonlySet<number> = new Set();
  isAlive = true;
  hosting: Candidate["hosting"] = "ready";
  /** What its machine does besides. */
  otherWork = 0;
  island = 0;
  stray = 0;
  level = 0;
  levelAtMs = Number.NEGATIVE_INFINITY;
  known = 0n;

  constructor(name: string, zone: string, shards: number) {
    this.name = name;
    this.zone = zone;
    this.decider = new Decider({ shards });
  }
}

export class SimulatedCluster {
  readonly members = new Map<string, Member>();
  readonly epochs: Epoch[] = [];
  nowMs = 0;
  onEpoch: (epoch: Epoch) => void = () => {};
  /** Without content: copies that take their time. */
  copies: Copies = {
    give: (member, shard) => this.#catchUp(member, shard),
    take: () => {},
    resume: (member, shard) => this.#catchUp(member, shard),
  };
  readonly #heap = new EventHeap<() => void>();
  readonly #random: Random;
  readonly #wanted: Wanted;

  constructor(wanted: Wanted, random: Random) {
    this.#wanted = wanted;
    this.#random = random;
  }

  get current(): Assignment | undefined {
    return this.epochs.at(-1)?.assignment;
  }

  get alive(): Member[] {
    return [...this.members.values()].filter(({ isAlive }) => isAlive);
  }

  after(delayMs: number, act: () => void): void {
    this.#heap.add(this.nowMs + delayMs, act);
  }

  runUntil(endMs: number): void {
    for (let next = this.#heap.nextMs; next !== undefined && next <= endMs; next = this.#heap.nextMs) {
      this.nowMs = next;
      this.#heap.take()();
    }
    this.nowMs = endMs;
  }

  join(name: string, zone: string): void {
    const member = new Member(name, zone, this.#wanted.shards);
    this.members.set(name, member);
    this.#hearEpoch(member);
    this.after(this.#between(0, beatMs), () => this.#beat(member));
    this.#stray(member);
  }

  /** A crash is first suspected; who leaves says so. */
  end(name: string, how: "crash" | "leave"): void {
    const member = this.members.get(name);
    if (member === undefined) return;
    member.isAlive = false;
    for (const other of this.alive) this.#lose(other, member, how);
  }

  /** Its process ends, and is back later with its copies, and with nothing of what it remembered. */
  restart(name: string, awayMs: number): void {
    const member = this.members.get(name);
    if (member === undefined) return;
    this.end(name, "leave");
    this.after(awayMs, () => {
      member.isAlive = true;
      member.decider = new Decider({ shards: this.#wanted.shards });
      member.known = 0n;
      member.view.clear();
      member.caughtUp.clear();
      for (const shard of member.held) this.copies.resume(member, shard);
      this.#hearEpoch(member);
      this.#beat(member);
    });
  }

  /** Members of different islands hear nothing of each other; all write epochs nevertheless. */
  part(islandOf: (name: string) => number): void {
    for (const member of this.alive) member.island = islandOf(member.name);
    for (const one of this.alive)
      for (const other of this.alive) if (one.island !== other.island) this.#lose(one, other, "crash");
  }

  loadOf(member: Member): number {
    const assignment = this.current;
    const held = assignment === undefined ? [] : shardsOf(assignment, member.name);
    const cost = (shard: number): number =>
      this.#wanted.costOf(shard) * (assignment?.holders[shard]?.primary.name === member.name ? 1 : standbyCost);
    const steady = held.reduce((sum, shard) => sum + cost(shard), member.otherWork);
    return Math.min(1, steady * (1 + member.stray));
  }

  #lose(holder: Member, lost: Member, how: "crash" | "leave"): void {
    const isStill = (): boolean => !lost.isAlive || lost.island !== holder.island;
    const forget = (): void => {
      if (!isStill()) return;
      holder.view.delete(lost.name);
      this.#consider(holder);
    };
    const become = (state: Candidate["state"]): void => {
      const known = holder.view.get(lost.name);
      if (known === undefined || !isStill()) return;
      holder.view.set(lost.name, { ...known, state });
      this.#consider(holder);
    };
    if (how === "leave") {
      this.after(this.#between(200, 2_000), () => become("left"));
      return;
    }
    this.after(this.#between(1_000, 3_000), () => become("suspect"));
    this.after(this.#between(4_000, 9_000), forget);
  }

  /** Tells of itself, and looks at what it knows. */
  #beat(member: Member): void {
    if (!member.isAlive) return;
    this.#measure(member);
    const told = this.#told(member);
    for (const other of this.alive) {
      if (other === member || other.island !== member.island || this.#random.chance(this.#wanted.loss)) continue;
      this.after(this.#between(50, 2_000), () => {
        if (!member.isAlive || other.island !== member.island) return;
        const isNew = !other.view.has(member.name);
        other.view.set(member.name, told);
        if (isNew) this.#consider(other);
      });
    }
    if (this.#random.chance(this.#wanted.loss) === false) this.#hearEpoch(member);
    this.#consider(member);
    this.after(beatMs, () => this.#beat(member));
  }

  #measure(member: Member): void {
    if (this.nowMs - member.levelAtMs < loadIntervalMs) return;
    const scaled = this.loadOf(member) * levels;
    if (scaled > member.level - hysteresis && scaled < member.level + 1 + hysteresis) return;
    member.level = Math.min(levels - 1, Math.floor(scaled));
    member.levelAtMs = this.nowMs;
  }

  #told({ name, zone, hosting, level, caughtUp }: Member): Candidate {
    const size = { cpus: 4, memoryBytes: 16 * 1024 ** 3 };
    const state = "alive";
    return {
      name,
      endpoint: `${name}:1`,
      state,
      load: level / levels,
      ...size,
      zone,
      hosting,
      caughtUp: [...caughtUp],
    };
  }

  #consider(member: Member): void {
    if (!this.#wants(member)) return;
    this.after(this.#between(0, turnMaxMs), () => {
      const placement = this.#wants(member);
      if (placement === undefined) return;
      this.after(this.#between(5, 50), () => this.#create({ ...placement, by: member.name }));
    });
  }

  #wants(member: Member): { readonly next: Assignment; readonly moves: readonly Move[] } | undefined {
    if (!member.isAlive) return undefined;
    member.decider.members([this.#told(member), ...member.view.values()], this.nowMs);
    const placement = member.decider.decide(this.nowMs);
    return placement.kind === "changed" ? placement : undefined;
  }

  #create({
    next,
    moves,
    by,
  }: {
    readonly next: Assignment;
    readonly moves: readonly Move[];
    readonly by: string;
  }): void {
    if (next.epoch !== BigInt(this.epochs.length) + 1n) return;
    const epoch = { atMs: this.nowMs, assignment: next, moves, by };
    this.onEpoch(epoch);
    this.epochs.push(epoch);
    for (const member of this.alive) {
      if (this.#random.chance(this.#wanted.loss)) continue;
      this.after(this.#between(10, 500), () => this.#hearEpoch(member));
    }
  }

  #hearEpoch(member: Member): void {
    const { current } = this;
    if (!member.isAlive || current === undefined || current.epoch === member.known) return;
    member.known = current.epoch;
    member.decider.epoch(current, this.nowMs);
    const held = new Set(shardsOf(current, member.name));
    for (const shard of member.held) if (!held.has(shard)) this.#take(member, shard);
    for (const shard of held) if (!member.held.has(shard)) this.copies.give(member, shard);
    member.held = held;
    this.#consider(member);
  }

  #take(member: Member, shard: number): void {
    member.caughtUp.delete(shard);
    this.copies.take(member, shard);
  }

  #catchUp(member: Member, shard: number): void {
    this.after(this.#between(2_000, 20_000), () => {
      if (member.isAlive && member.held.has(shard)) member.caughtUp.add(shard);
    });
  }

  /** Slowly: a load that strays stays so for minutes. */
  #stray(member: Member): void {
    member.stray = this.#between(-this.#wanted.stray, this.#wanted.stray);
    this.after(this.#between(10_000, 1_200_000), () => this.#stray(member));
  }

  #between(min: number, max: number): number {
    return min + this.#random.next() * (max - min);
  }
}
