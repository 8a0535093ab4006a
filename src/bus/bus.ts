/**
 * The port to the message bus: what baton asks of NATS and JetStream, and nothing more.
 *
 * `nats.ts` and `memory.ts` implement it; one contract test runs against both.
 *
 * Order: messages of one subject are consumed in the order of their sequences. A publisher that needs its messages in
 * order awaits each acknowledgement before it publishes the next one on that subject.
 */

export interface BusMessage {
  readonly subject: string;
  /** In its stream: rising, from 1, with gaps where other subjects' messages are. */
  readonly sequence: bigint;
  readonly data: Uint8Array;
  /** Messages of the consumed subject that the stream held after this one, when this one was delivered. */
  readonly pending: number;
}

export interface StreamConfig {
  readonly name: string;
  /** May hold wildcards. */
  readonly subjects: readonly string[];
  /** The oldest messages are dropped beyond these. */
  readonly maxAgeMs: number;
  readonly maxBytes: number;
  /** How long the message ids of publishes are remembered. */
  readonly duplicateWindowMs: number;
  /** Copies in a cluster of servers: 1, 3 or 5. */
  readonly replicas: number;
}

/** Sequences of the oldest and newest message held. Empty stream: `first` is `last` + 1. */
export interface StreamRange {
  readonly first: bigint;
  readonly last: bigint;
  /** Differs between a stream and another that was made under its name later. */
  readonly identity: string;
}

export interface PublishOptions {
  /** A second publish with the same id within the duplicate window is answered like the first and not stored. */
  readonly messageId: string;
  readonly signal: AbortSignal;
}

export interface ConsumeOptions {
  readonly stream: string;
  /** One subject, without wildcards. */
  readonly subject: string;
  /** The first message delivered has this sequence or a higher one. */
  readonly from: bigint;
  /** Of {@link StreamRange}: the stream that `from` belongs to; consuming ends when it is another. */
  readonly identity?: string;
  readonly signal: AbortSignal;
  /** At most this many messages at once. */
  readonly batchMax: number;
}

/** `set`, unless said otherwise: it gets these limits. `keep`: its limits are somebody else's to choose. */
export type ExistingStream = "set" | "keep";

/** Why the bus could not do what was asked; asking again later may help. */
export class BusError extends Error {
  override readonly name = "BusError";
}

export interface Bus extends AsyncDisposable {
  readonly connected: boolean;
  /** Called at each change of {@link connected}. */
  onStatus(listener: (connected: boolean) => void): Disposable;

  /** Makes the stream; what becomes of one that is there already, `existing` says. Throws {@link BusError}. */
  ensureStream(config: StreamConfig, signal: AbortSignal, existing?: ExistingStream): Promise<void>;
  /** Throws {@link BusError}: there is no such stream, or the bus is away. */
  streamRange(stream: string, signal: AbortSignal): Promise<StreamRange>;
  /** Of the newest message of a subject; 0: there is none. */
  lastSequence(stream: string, subject: string, signal: AbortSignal): Promise<bigint>;
  /** Undefined: the stream holds no message of that sequence. */
  messageAt(stream: string, sequence: bigint, signal: AbortSignal): Promise<BusMessage | undefined>;

  /**
   * Stores a message and returns its sequence. Waits while the bus is away, until the signal aborts.
   * Throws {@link BusError} when the message was refused, or when no answer came: then it may be stored nevertheless.
   */
  publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<bigint>;
  /**
   * Messages of one subject, in order: whatever has arrived, at least one and at most `batchMax` at a time.
   * Ends by throwing: {@link BusError} when the connection was lost, or within seconds when the stream is gone, another
   * one or has gone back, else the abort reason. After
   * that, the stream may have gone back in time; the caller compares before it consumes again.
   */
  consume(options: ConsumeOptions): AsyncIterable<readonly BusMessage[]>;

  /** Tells whoever listens now; nothing is stored, nothing acknowledged. Dropped while the bus is away. */
  announce(subject: string, data: Uint8Array): void;
  /** Announcements of a subject, without wildcards, also after the connection was lost and found. */
  listen(subject: string, listener: (data: Uint8Array) => void): Disposable;
}
