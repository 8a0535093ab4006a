/**
 * All members that are known, by slot and by name.
 *
 * Columns instead of objects: a simulation of 5,000 members holds 25 million rows. A slot stays a member's own until it
 * is removed. Keeps the list of the living and the digests of what is known up to date as rows change.
 */
import { type Member, type MemberName, type MemberProfile, type MemberState, memberStates } from "./member.ts";
import { digestBuckets, type LoadReport, type SyncEntry } from "./message.ts";

/** Further ones are refused. */
export const membersMax = 16_384;

const firstCapacity = 16;
const nowhere = 0xffff_ffff;
const alive = memberStates.indexOf("alive");
const suspect = memberStates.indexOf("suspect");
const dead = memberStates.indexOf("dead");

export class MemberTable {
  readonly #profiles: (MemberProfile | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #live: number[] = [];
  readonly #digests = new Uint32Array(digestBuckets);
  #size = 0;
  #hashes = new Uint32Array(firstCapacity);
  #incarnations = new Uint32Array(firstCapacity);
  #states = new Uint8Array(firstCapacity);
  #changedAtMs = new Float64Array(firstCapacity);
  #livePositions = new Uint32Array(firstCapacity);
  #loadIncarnations = new Uint32Array(firstCapacity);
  #loadVersions = new Uint32Array(firstCapacity);
  #loadLevels = new Uint8Array(firstCapacity);
  /** Open addressing by the name's hash: slot + 1, or 0. */
  #index = new Uint32Array(2 * firstCapacity);

  get size(): number {
    return this.#size;
  }

  /** Slots of members that are alive or suspect, in no order. */
  get live(): readonly number[] {
    return this.#live;
  }

  get digests(): readonly number[] {
    return Array.from(this.#digests);
  }

  /** -1: unknown. */
  find(name: MemberName): number {
    const mask = this.#index.length - 1;
    for (let at = hashOf(name) & mask; ; at = (at + 1) & mask) {
      const slot = (this.#index[at] as number) - 1;
      if (slot < 0 || this.#profiles[slot]?.name === name) return slot;
    }
  }

  /** A member not known so far, as dead since ever; -1: there are too many. */
  add(profile: MemberProfile): number {
    if (this.#size >= membersMax) return -1;
    const slot = this.#free.pop() ?? this.#profiles.length;
    if (slot >= this.#states.length) this.#grow();
    this.#profiles[slot] = profile;
    this.#hashes[slot] = hashOf(profile.name);
    this.#incarnations[slot] = 0;
    this.#states[slot] = dead;
    this.#changedAtMs[slot] = Number.NEGATIVE_INFINITY;
    this.#livePositions[slot] = nowhere;
    this.#loadVersions[slot] = 0;
    this.#loadIncarnations[slot] = 0;
    this.#loadLevels[slot] = 0;
    this.#size++;
    this.#enter(slot);
    return slot;
  }

  /** Only of members that are dead or left. */
  remove(slots: readonly number[]): void {
    for (const slot of slots) {
      this.#profiles[slot] = undefined;
      this.#free.push(slot);
    }
    this.#size -= slots.length;
    this.#index.fill(0);
    for (let slot = 0; slot < this.#profiles.length; slot++) if (this.#profiles[slot] !== undefined) this.#enter(slot);
  }

  profile(slot: number): MemberProfile {
    return this.#profiles[slot] as MemberProfile;
  }

  name(slot: number): MemberName {
    return this.profile(slot).name;
  }

  incarnation(slot: number): number {
    return this.#incarnations[slot] as number;
  }

  state(slot: number): MemberState {
    return memberStates[this.#states[slot] as number] as MemberState;
  }

  isLive(slot: number): boolean {
    return (this.#states[slot] as number) <= suspect;
  }

  isAlive(slot: number): boolean {
    return this.#states[slot] === alive;
  }

  changedAtMs(slot: number): number {
    return this.#changedAtMs[slot] as number;
  }

  set(slot: number, profile: MemberProfile, incarnation: number, state: MemberState, nowMs: number): void {
    this.#toggleDigest(slot);
    const next = memberStates.indexOf(state);
    this.#profiles[slot] = profile;
    this.#incarnations[slot] = incarnation;
    if (next !== this.#states[slot]) {
      this.#states[slot] = next;
      this.#changedAtMs[slot] = nowMs;
    }
    this.#toggleDigest(slot);
    this.#list(slot, next <= suspect);
  }

  /** False: no news. */
  setLoad(slot: number, incarnation: number, version: number, level: number): boolean {
    const held = this.#loadIncarnations[slot] as number;
    if (incarnation < held || (incarnation === held && version <= (this.#loadVersions[slot] as number))) return false;
    this.#loadIncarnations[slot] = incarnation;
    this.#loadVersions[slot] = version;
    this.#loadLevels[slot] = level;
    return true;
  }

  load(slot: number): number {
    return this.#loadLevels[slot] as number;
  }

  /** Undefined: it has never told. */
  loadReport(slot: number): LoadReport | undefined {
    const version = this.#loadVersions[slot] as number;
    if (version === 0) return undefined;
    const incarnation = this.#loadIncarnations[slot] as number;
    return { name: this.name(slot), incarnation, version, level: this.load(slot) };
  }

  member(slot: number): Member {
    return {
      profile: this.profile(slot),
      incarnation: this.incarnation(slot),
      state: this.state(slot),
      changedAtMs: this.changedAtMs(slot),
      load: this.load(slot),
    };
  }

  entry(slot: number): SyncEntry {
    const load = {
      incarnation: this.#loadIncarnations[slot] as number,
      version: this.#loadVersions[slot] as number,
      level: this.load(slot),
    };
    return { profile: this.profile(slot), incarnation: this.incarnation(slot), state: this.state(slot), load };
  }

  *slots(): Generator<number> {
    for (let slot = 0; slot < this.#profiles.length; slot++) if (this.#profiles[slot] !== undefined) yield slot;
  }

  /** Everything known of members in these buckets, of whatever state. */
  entriesIn(buckets: readonly number[]): SyncEntry[] {
    const wanted = new Set(buckets);
    const entries: SyncEntry[] = [];
    for (const slot of this.slots())
      if (wanted.has(bucketOf(this.#hashes[slot] as number))) entries.push(this.entry(slot));
    return entries;
  }

  #list(slot: number, isLive: boolean): void {
    const position = this.#livePositions[slot] as number;
    if (isLive === (position !== nowhere)) return;
    if (isLive) {
      this.#livePositions[slot] = this.#live.length;
      this.#live.push(slot);
      return;
    }
    const last = this.#live.pop() as number;
    this.#livePositions[slot] = nowhere;
    if (last === slot) return;
    this.#live[position] = last;
    this.#livePositions[last] = position;
  }

  /** The dead don't count: to have forgotten one is no difference. */
  #toggleDigest(slot: number): void {
    if (!this.isLive(slot)) return;
    const hash = this.#hashes[slot] as number;
    const belief = mix(this.incarnation(slot) * 4 + (this.#states[slot] as number));
    const fact = mix(hash ^ belief ^ hashOf(this.profile(slot).address));
    this.#digests[bucketOf(hash)] = (this.#digests[bucketOf(hash)] as number) ^ fact;
  }

  #enter(slot: number): void {
    const mask = this.#index.length - 1;
    let at = (this.#hashes[slot] as number) & mask;
    while (this.#index[at] !== 0) at = (at + 1) & mask;
    this.#index[at] = slot + 1;
  }

  #grow(): void {
    const capacity = 2 * this.#states.length;
    this.#hashes = grown(this.#hashes, new Uint32Array(capacity));
    this.#incarnations = grown(this.#incarnations, new Uint32Array(capacity));
    this.#states = grown(this.#states, new Uint8Array(capacity));
    this.#changedAtMs = grown(this.#changedAtMs, new Float64Array(capacity));
    this.#livePositions = grown(this.#livePositions, new Uint32Array(capacity));
    this.#loadIncarnations = grown(this.#loadIncarnations, new Uint32Array(capacity));
    this.#loadVersions = grown(this.#loadVersions, new Uint32Array(capacity));
    this.#loadLevels = grown(this.#loadLevels, new Uint8Array(capacity));
    const held = [...this.slots()].filter((slot) => slot < capacity / 2);
    this.#index = new Uint32Array(2 * capacity);
    for (const slot of held) this.#enter(slot);
  }
}

function grown<T extends Uint8Array | Uint32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

function bucketOf(hash: number): number {
  return hash >>> 26;
}

/** FNV-1a, mixed: neighbouring names shall not lie in one bucket. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** The finalizer of MurmurHash3: every bit of the input changes half of the output's. */
function mix(value: number): number {
  let hash = value >>> 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
