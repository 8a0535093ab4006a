/**
 * A member of the cluster as a running service: the machine, a network, a clock, and the seal around messages.
 *
 * Whatever arrives is opened, decoded, and counted by what was wrong with it; nothing from outside throws.
 */
import type { Clock } from "../../runtime/clock.ts";
import type { GossipConfig } from "../config.ts";
import type { GossipCounters } from "../counters.ts";
import type { Effect } from "../effect.ts";
import type { Member, MemberAddress, MemberName, ProtocolVersions } from "../member.ts";
import { packetBytesMax, type StreamMessage } from "../message.ts";
import { decodeStreamMessage, encodeStreamMessage } from "../stream-wire.ts";
import { Swim } from "../swim.ts";
import { decodePacket, encodePacket } from "../wire.ts";
import { Envelope, type EnvelopeFault, type EnvelopeOptions, envelopeBytesMax, envelopeFaults } from "./envelope.ts";
import { EventFeed, type FeedEvent } from "./event-feed.ts";
import { datagramBytesMax, frameBytesMax, type Transport, type TransportCounters } from "./transport.ts";

export const protocolVersions: ProtocolVersions = { min: 1, max: 1, current: 1 };

export interface GossipOptions {
  readonly config: GossipConfig;
  readonly name: MemberName;
  /** Where others reach us, if that is not where the transport listens. */
  readonly advertise?: MemberAddress;
  readonly metadata: Uint8Array;
  readonly seeds: readonly MemberAddress[];
  readonly envelope: EnvelopeOptions;
  readonly clock: Clock;
  /** 0 to 1. */
  readonly random: () => number;
}

/** What came in and was not a message of ours, by its fault. */
export type RefusedCounters = Record<EnvelopeFault | "message", number>;

/** No timer sleeps longer; the system's clock may be set. */
const sleepMaxMs = 60_000;

export class Gossip implements AsyncDisposable {
  readonly refused: RefusedCounters = { ...noFaults(), message: 0 };
  readonly #options: GossipOptions;
  readonly #transport: Transport;
  readonly #machine: Swim;
  readonly #envelope: Envelope;
  readonly #feed = new EventFeed(() => this.members());
  readonly #departed = Promise.withResolvers<void>();
  #packetsTaken = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;
  #isOpen = true;
  #isStarted = false;

  /** Takes the transport over. Says and hears nothing before {@link start}. */
  constructor(options: GossipOptions, transport: Transport) {
    if (options.config.packetBytes + envelopeBytesMax > packetBytesMax)
      throw new RangeError(`packetBytes ${options.config.packetBytes}: with its envelope more than ${packetBytesMax}`);
    this.#options = options;
    this.#transport = transport;
    this.#envelope = new Envelope(options.envelope);
    const { config, name, metadata, random, seeds } = options;
    const address = options.advertise ?? transport.address;
    const self = { name, address, metadata, versions: protocolVersions };
    this.#machine = new Swim({ config, self, random, seeds });
  }

  /** From now on it is a member. */
  start(): this {
    this.#isStarted = true;
    this.#transport.start({
      packet: (from, bytes) => this.#packet(from, bytes),
      frame: (from, bytes) => this.#frame(from, bytes),
    });
    this.#carryOut(this.#machine.start(this.#nowMs()));
    return this;
  }

  get self(): Member {
    return this.#machine.self;
  }

  get counters(): Readonly<GossipCounters> {
    return this.#machine.counters;
  }

  get traffic(): Readonly<TransportCounters> {
    return this.#transport.counters;
  }

  get awareness(): number {
    return this.#machine.awareness;
  }

  get rumoursQueued(): number {
    return this.#machine.rumoursQueued;
  }

  get eventsMissed(): number {
    return this.#feed.missed;
  }

  /** Packets that were messages of ours; the others are in `refused`. */
  get packetsTaken(): number {
    return this.#packetsTaken;
  }

  /** Ourselves among them. */
  members(): Member[] {
    return this.#machine.members();
  }

  member(name: MemberName): Member | undefined {
    return this.#machine.member(name);
  }

  events(signal: AbortSignal): AsyncGenerator<FeedEvent, void, undefined> {
    return this.#feed.events(signal);
  }

  /** 0 to 1; as often as one likes. */
  setLoad(load: number): void {
    this.#carryOut(this.#machine.setLoad(load, this.#nowMs()));
  }

  /** Tried from now on, in place of those before. */
  setSeeds(seeds: readonly MemberAddress[]): void {
    this.#carryOut(this.#machine.setSeeds(seeds, this.#nowMs()));
  }

  setMetadata(metadata: Uint8Array): void {
    this.#carryOut(this.#machine.setMetadata(metadata, this.#nowMs()));
  }

  /** Resolves when the others have been told, or after five seconds. */
  async leave(): Promise<void> {
    if (!this.#isStarted) return;
    this.#carryOut(this.#machine.leave(this.#nowMs()));
    await this.#departed.promise;
  }

  /** Without `leave` it is a crash to the others. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    this.#departed.resolve();
    this.#feed[Symbol.dispose]();
    await this.#transport[Symbol.asyncDispose]();
  }

  #packet(from: MemberAddress, bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    const opened = this.#envelope.open(bytes, datagramBytesMax);
    if (!opened.ok) {
      this.refused[opened.fault]++;
      return;
    }
    const decoded = decodePacket(opened.payload);
    if (!decoded.ok) {
      this.refused.message++;
      return;
    }
    this.#packetsTaken++;
    this.#carryOut(this.#machine.receive(from, decoded.value, this.#nowMs()));
  }

  #frame(from: MemberAddress, bytes: Uint8Array): Uint8Array | undefined {
    const message = this.#openFrame(bytes);
    if (message === undefined || !this.#isOpen) return undefined;
    const { reply, effects } = this.#machine.receiveStream(from, message, this.#nowMs());
    this.#carryOut(effects);
    return reply === undefined ? undefined : this.#envelope.wrap(encodeStreamMessage(reply), true);
  }

  #openFrame(bytes: Uint8Array): StreamMessage | undefined {
    const opened = this.#envelope.open(bytes, frameBytesMax);
    if (!opened.ok) {
      this.refused[opened.fault]++;
      return undefined;
    }
    const message = streamMessageOf(opened.payload);
    if (message === undefined) this.refused.message++;
    return message;
  }

  #carryOut(effects: readonly Effect[]): void {
    for (const effect of effects) this.#do(effect);
    this.#arm();
  }

  #do(effect: Effect): void {
    switch (effect.kind) {
      case "send":
        this.#transport.send(effect.to, this.#envelope.wrap(encodePacket(effect.messages), false));
        return;
      case "dial":
        this.#dial(effect).catch(() => {
          if (this.#isOpen) this.#carryOut(this.#machine.dialFailed(effect.id, this.#nowMs()));
        });
        return;
      case "event":
        this.#feed.publish(effect.event);
        return;
      case "departed":
        this.#departed.resolve();
        return;
      case "joined-cluster":
        return;
      default:
        effect satisfies never;
    }
  }

  async #dial({ id, to, message, timeoutMs }: Effect & { readonly kind: "dial" }): Promise<void> {
    const frame = this.#envelope.wrap(encodeStreamMessage(message), true);
    await this.#transport.dial(to, frame, timeoutMs, (bytes) => {
      const answer = this.#openFrame(bytes);
      if (answer === undefined) throw new Error(`${to} answered what is no message`);
      if (!this.#isOpen) return undefined;
      const { reply, effects } = this.#machine.dialAnswered(id, answer, this.#nowMs());
      this.#carryOut(effects);
      return reply === undefined ? undefined : this.#envelope.wrap(encodeStreamMessage(reply), true);
    });
  }

  /** One timer, for what is due first. */
  #arm(): void {
    const dueMs = this.#machine.nextDueMs;
    if (!this.#isOpen || (this.#timer !== undefined && this.#timerMs <= dueMs)) return;
    clearTimeout(this.#timer);
    this.#timerMs = dueMs;
    const waitMs = Math.min(sleepMaxMs, Math.max(0, dueMs - this.#nowMs()));
    this.#timer = setTimeout(() => this.#wake(), Math.ceil(waitMs));
  }

  #wake(): void {
    this.#timer = undefined;
    this.#carryOut(this.#nowMs() >= this.#machine.nextDueMs ? this.#machine.tick(this.#nowMs()) : []);
  }

  #nowMs(): number {
    return this.#options.clock.monotonicMs();
  }
}

function streamMessageOf(payload: Uint8Array): StreamMessage | undefined {
  const decoded = decodeStreamMessage(payload);
  return decoded.ok ? decoded.value : undefined;
}

function noFaults(): Record<EnvelopeFault, number> {
  return Object.fromEntries(envelopeFaults.map((fault) => [fault, 0])) as Record<EnvelopeFault, number>;
}
