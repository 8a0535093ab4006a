/** What members say to each other: in packets over UDP, and in short dialogues over TCP. */
import type { MemberAddress, MemberName, MemberProfile, MemberState } from "./member.ts";

/** UDP payload with everything around it: the envelope, encryption and its tag. */
export const packetBytesMax = 1_400;
export const messagesPerPacketMax = 255;
export const loadsPerMessageMax = 32;

/** Buckets that members are spread over by their names' hash, to find where two members' views differ. */
export const digestBuckets = 64;

export interface Ping {
  readonly kind: "ping";
  readonly sequence: number;
  /** Who is meant: an address may have passed to another member. */
  readonly target: MemberName;
}

/** Asks the receiver to ping `target` and to pass its ack on, or to say `nack` after the probe's timeout. */
export interface IndirectPing {
  readonly kind: "indirect-ping";
  readonly sequence: number;
  readonly target: MemberName;
  readonly targetAddress: MemberAddress;
  readonly nack: boolean;
}

export interface Ack {
  readonly kind: "ack";
  readonly sequence: number;
}

export interface Nack {
  readonly kind: "nack";
  readonly sequence: number;
}

export interface Alive {
  readonly kind: "alive";
  readonly incarnation: number;
  readonly profile: MemberProfile;
}

export interface Suspect {
  readonly kind: "suspect";
  readonly incarnation: number;
  readonly name: MemberName;
  readonly from: MemberName;
}

/** From the member itself: it has left. */
export interface Dead {
  readonly kind: "dead";
  readonly incarnation: number;
  readonly name: MemberName;
  readonly from: MemberName;
}

/** The newer of two reports has the higher incarnation, then the higher version. */
export interface LoadReport {
  readonly name: MemberName;
  readonly incarnation: number;
  readonly version: number;
  readonly level: number;
}

export interface Loads {
  readonly kind: "loads";
  readonly reports: readonly LoadReport[];
}

export type Rumour = Alive | Suspect | Dead;
export type PacketMessage = Ping | IndirectPing | Ack | Nack | Rumour | Loads;

/** One member in a push/pull. */
export interface SyncEntry {
  readonly profile: MemberProfile;
  readonly incarnation: number;
  readonly state: MemberState;
  /** As in {@link LoadReport}; version 0: none is known. */
  readonly load: { readonly incarnation: number; readonly version: number; readonly level: number };
}

export interface StreamPing {
  readonly kind: "stream-ping";
  readonly sequence: number;
  readonly target: MemberName;
}

export interface StreamAck {
  readonly kind: "stream-ack";
  readonly sequence: number;
}

/** First of three: the digests of what the caller knows. */
export interface SyncRequest {
  readonly kind: "sync-request";
  readonly digests: readonly number[];
  /** What the caller believes of the one that it calls, if it knows who that is. */
  readonly held: { readonly name: MemberName; readonly incarnation: number; readonly state: MemberState } | undefined;
  readonly self: SyncEntry;
}

/** Second: the buckets that differ, and all that the answering member knows of them. */
export interface SyncReply {
  readonly kind: "sync-reply";
  readonly buckets: readonly number[];
  readonly entries: readonly SyncEntry[];
}

/** Third: what the caller knew of those buckets. Needs no answer. */
export interface SyncFinish {
  readonly kind: "sync-finish";
  readonly entries: readonly SyncEntry[];
}

export type StreamMessage = StreamPing | StreamAck | SyncRequest | SyncReply | SyncFinish;
