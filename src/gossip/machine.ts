/**
 * A member of the cluster as a machine: SWIM with Lifeguard's local health.
 *
 * Pure: time and chance are given, what it wants done is returned. Every call returns the effects in their order, and
 * must be followed by a `tick` no later than `nextDueMs`. Times are of one monotonic clock, in milliseconds.
 */
import type { GossipConfig } from "./config.ts";
import type { Effect } from "./effect.ts";
import type { Member, MemberAddress, MemberName, MemberProfile } from "./member.ts";
import type { PacketMessage, StreamMessage } from "./message.ts";

export interface MachineOptions {
  readonly config: GossipConfig;
  readonly self: MemberProfile;
  /** 0 to 1, without 1. */
  readonly random: () => number;
  /** Tried at the start and as long as nobody else is known. */
  readonly seeds: readonly MemberAddress[];
}

/** What {@link Swim} of swim.ts is to those who run it. */
export interface GossipMachine {
  readonly nextDueMs: number;
  readonly self: Member;
  /** Alive or suspect members, ourselves among them. */
  readonly liveCount: number;
  /** Local health: 0 is well. */
  readonly awareness: number;
  readonly rumoursQueued: number;
  /** Ourselves, everybody alive, suspect, dead and left that is not forgotten. */
  members(): Member[];
  member(name: MemberName): Member | undefined;
  /** Once, before anything else. */
  start(nowMs: number): readonly Effect[];
  tick(nowMs: number): readonly Effect[];
  receive(from: MemberAddress, messages: readonly PacketMessage[], nowMs: number): readonly Effect[];
  /** A message on a stream that another opened; `reply`: to be sent back on it, undefined: close. */
  receiveStream(
    from: MemberAddress,
    message: StreamMessage,
    nowMs: number,
  ): { readonly reply: StreamMessage | undefined; readonly effects: readonly Effect[] };
  dialAnswered(
    id: number,
    message: StreamMessage,
    nowMs: number,
  ): { readonly reply: StreamMessage | undefined; readonly effects: readonly Effect[] };
  dialFailed(id: number, nowMs: number): readonly Effect[];
  /** 0 to 1; told as a level, with hysteresis, and not more often than the configuration says. */
  setLoad(load: number, nowMs: number): readonly Effect[];
  /** In place of those before; tried at once while nobody else is known. */
  setSeeds(seeds: readonly MemberAddress[], nowMs: number): readonly Effect[];
  setMetadata(metadata: Uint8Array, nowMs: number): readonly Effect[];
  /** Tells the others; `departed` follows. Anything said of us afterwards is not refuted. */
  leave(nowMs: number): readonly Effect[];
  /** Knows these from now on, without asking or telling anybody: for tests and simulations of a settled cluster. */
  introduce(members: readonly MemberProfile[], nowMs: number): void;
}
