/** What a gossip node wants of a network; UDP and TCP give it, and a twin in memory for tests. */
import type { MemberAddress } from "../member.ts";

export interface TransportHandlers {
  packet(from: MemberAddress, bytes: Uint8Array): void;
  /** A frame on a stream that `from` opened; what is returned goes back on it. */
  frame(from: MemberAddress, bytes: Uint8Array): Uint8Array | undefined;
}

export interface TransportCounters {
  packetsSent: number;
  packetBytesSent: number;
  packetsReceived: number;
  packetBytesReceived: number;
  /** Too many under way, or refused by the system. */
  packetsDropped: number;
  streamsOpened: number;
  streamsAccepted: number;
  streamsFailed: number;
  streamBytesSent: number;
  streamBytesReceived: number;
  /** More than may be open. */
  streamsRefused: number;
}

export interface Transport extends AsyncDisposable {
  readonly address: MemberAddress;
  readonly counters: Readonly<TransportCounters>;
  /** From now on, until it is disposed. Once. */
  start(handlers: TransportHandlers): void;
  /** Best effort: never waits, never throws. */
  send(to: MemberAddress, bytes: Uint8Array): void;
  /** Sends a frame, gives the one that comes back to `answered`, sends what that returns. Rejects with what failed. */
  dial(
    to: MemberAddress,
    frame: Uint8Array,
    timeoutMs: number,
    answered: (reply: Uint8Array) => Uint8Array | undefined,
  ): Promise<void>;
}

/** What a packet can be at the most; larger ones are cut off by the system and fail their checksum. */
export const datagramBytesMax = 1_500;

/** 16,384 members with full metadata are 9 MiB; they are compressed. */
export const frameBytesMax = 8 * 1024 * 1024;

export function noTraffic(): TransportCounters {
  return {
    packetsSent: 0,
    packetBytesSent: 0,
    packetsReceived: 0,
    packetBytesReceived: 0,
    packetsDropped: 0,
    streamsOpened: 0,
    streamsAccepted: 0,
    streamsFailed: 0,
    streamBytesSent: 0,
    streamBytesReceived: 0,
    streamsRefused: 0,
  };
}
