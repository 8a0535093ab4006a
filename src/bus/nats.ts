/**
 * The bus on NATS and JetStream. Owns the connection: it is made in the background, again and again without end, and
 * drained when the bus is disposed of.
 */
import {
  AckPolicy,
  connect,
  consumerOpts,
  DeliverPolicy,
  DiscardPolicy,
  Events,
  headers,
  type JetStreamClient,
  type JetStreamSubscription,
  type JsMsg,
  type MsgRequest,
  type NatsConnection,
  NatsError,
  nanos,
  ReplayPolicy,
  RetentionPolicy,
  StorageType,
  type Subscription,
} from "nats";
import { abortable } from "./abortable.ts";
import {
  type Bus,
  BusError,
  type BusMessage,
  type ConsumeOptions,
  type ExistingStream,
  type PublishOptions,
  type StreamConfig,
  type StreamRange,
} from "./bus.ts";
import { StreamGuard, type StreamSighting } from "./stream-guard.ts";

export interface BusTls {
  readonly caFile: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

export interface ConnectBusOptions {
  /** "host:port" or "nats://host:port"; any of them will do. */
  readonly servers: readonly string[];
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly tls?: BusTls;
}

/** An acknowledgement or an answer of JetStream's interface that takes longer counts as none. */
const requestTimeoutMs = 5_000;
const reconnectWaitMs = 250;
const reconnectJitterMs = 250;
/** A server that answers no ping for twice this long counts as gone. */
const pingIntervalMs = 5_000;
/** A consumer that hears nothing for twice this long asks again. */
const idleHeartbeatMs = 5_000;
const drainTimeoutMs = 2_000;
/** Between two looks at whether a consumed stream is still the same. */
const guardIntervalMs = 5_000;

/** JetStream: stream not found. */
const streamNotFound = 10059;
/** JetStream: no message found. */
const messageNotFound = 10037;
/** JetStream: a stream of this name exists with another configuration. */
const streamNameInUse = 10058;

/** Begins to connect and returns at once; whatever needs the server waits for it. */
export function connectBus(options: ConnectBusOptions): NatsBus {
  return new NatsBus(options);
}

export class NatsBus implements Bus {
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #connection: Promise<NatsConnection>;
  readonly #closed = new AbortController();
  readonly #guard = new StreamGuard({ see: (stream) => this.#see(stream), intervalMs: guardIntervalMs });
  #connected = false;

  constructor(options: ConnectBusOptions) {
    this.#connection = this.#connect(options);
    this.#connection.then(
      (connection) => this.#follow(connection),
      () => this.#setConnected(false),
    );
  }

  /** The connection, once it was made for the first time. For what this port doesn't cover, such as key-value stores. */
  connection(signal: AbortSignal): Promise<NatsConnection> {
    return abortable(this.#connection, signal);
  }

  get connected(): boolean {
    return this.#connected;
  }

  onStatus(listener: (connected: boolean) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  async ensureStream(config: StreamConfig, signal: AbortSignal, existing: ExistingStream = "set"): Promise<void> {
    const wanted = {
      name: config.name,
      subjects: [...config.subjects],
      retention: RetentionPolicy.Limits,
      storage: StorageType.File,
      discard: DiscardPolicy.Old,
      max_age: nanos(config.maxAgeMs),
      max_bytes: config.maxBytes,
      duplicate_window: nanos(config.duplicateWindowMs),
      num_replicas: config.replicas,
    };
    await this.#ask(`make the stream ${config.name}`, signal, async (connection) => {
      const manager = await connection.jetstreamManager({ timeout: requestTimeoutMs });
      try {
        await manager.streams.add(wanted);
      } catch (error) {
        if (apiCode(error) !== streamNameInUse) throw error;
        if (existing === "set") await manager.streams.update(config.name, wanted);
      }
    });
  }

  async streamRange(stream: string, signal: AbortSignal): Promise<StreamRange> {
    return await this.#ask(`read the state of ${stream}`, signal, async (connection) => {
      const manager = await connection.jetstreamManager({ timeout: requestTimeoutMs });
      const { state, created } = await manager.streams.info(stream);
      const last = BigInt(state.last_seq);
      return { first: state.messages === 0 ? last + 1n : BigInt(state.first_seq), last, identity: String(created) };
    });
  }

  async #see(stream: string): Promise<StreamSighting | undefined> {
    try {
      return await this.streamRange(stream, this.#closed.signal);
    } catch (error) {
      if (error instanceof BusError && apiCode(error.cause) === streamNotFound) return undefined;
      throw error;
    }
  }

  async lastSequence(stream: string, subject: string, signal: AbortSignal): Promise<bigint> {
    return (await this.#message(stream, { last_by_subj: subject }, signal))?.sequence ?? 0n;
  }

  async messageAt(stream: string, sequence: bigint, signal: AbortSignal): Promise<BusMessage | undefined> {
    return await this.#message(stream, { seq: Number(sequence) }, signal);
  }

  async #message(stream: string, which: MsgRequest, signal: AbortSignal): Promise<BusMessage | undefined> {
    return await this.#ask(`read a message of ${stream}`, signal, async (connection) => {
      const manager = await connection.jetstreamManager({ timeout: requestTimeoutMs });
      try {
        const found = await manager.streams.getMessage(stream, which);
        return { subject: found.subject, sequence: BigInt(found.seq), data: found.data, pending: 0 };
      } catch (error) {
        if (apiCode(error) === messageNotFound) return undefined;
        throw error;
      }
    });
  }

  async publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<bigint> {
    await this.#whenConnected(options.signal);
    return await this.#ask(`publish on ${subject}`, options.signal, async (connection) => {
      const head = headers();
      head.set("Nats-Msg-Id", options.messageId);
      const reply = await connection.request(subject, data, { timeout: requestTimeoutMs, headers: head });
      return readAcknowledgement(reply.data);
    });
  }

  async *consume(options: ConsumeOptions): AsyncGenerator<readonly BusMessage[], void, undefined> {
    await this.#whenConnected(options.signal);
    const lost = new AbortController();
    using _status = this.onStatus((connected) => {
      if (!connected) lost.abort(new BusError(`the connection was lost while consuming ${options.subject}`));
    });
    using _guard =
      options.identity === undefined
        ? undefined
        : this.#guard.watch(options.stream, options.identity, (error) => lost.abort(error));
    const stop = AbortSignal.any([options.signal, lost.signal, this.#closed.signal]);
    const subscription = await this.#ask(`consume ${options.subject}`, stop, async (connection) => {
      const jetstream = connection.jetstream({ timeout: requestTimeoutMs });
      return await subscribeInOrder(jetstream, options);
    });
    try {
      const messages = subscription[Symbol.asyncIterator]();
      for (;;) {
        const batch: BusMessage[] = [];
        do {
          const next = await translated(`consume ${options.subject}`, abortable(messages.next(), stop));
          if (next.done) throw new BusError(`consuming ${options.subject} ended`);
          batch.push(toBusMessage(next.value));
        } while (subscription.getPending() > 0 && batch.length < options.batchMax);
        yield batch;
      }
    } finally {
      subscription.unsubscribe();
    }
  }

  announce(subject: string, data: Uint8Array): void {
    if (!this.#connected) return;
    this.#connection.then(
      (connection) => !connection.isClosed() && connection.publish(subject, data),
      () => undefined,
    );
  }

  listen(subject: string, listener: (data: Uint8Array) => void): Disposable {
    let subscription: Subscription | undefined;
    let stopped = false;
    this.#connection.then(
      (connection) => {
        if (stopped || connection.isClosed()) return;
        subscription = connection.subscribe(subject, {
          callback: (error, message) => {
            if (error === null) listener(message.data);
          },
        });
      },
      () => undefined,
    );
    return {
      [Symbol.dispose]: () => {
        stopped = true;
        subscription?.unsubscribe();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const wasConnected = this.#connected;
    this.#closed.abort(new BusError("the bus is closed"));
    const connection = await this.#connection.catch(() => undefined);
    if (connection === undefined || connection.isClosed()) return;
    if (wasConnected) await Promise.race([connection.drain(), timeout(drainTimeoutMs)]).catch(() => undefined);
    await connection.close();
  }

  async #connect(options: ConnectBusOptions): Promise<NatsConnection> {
    for (;;) {
      try {
        return await connect({
          servers: [...options.servers],
          name: options.name,
          maxReconnectAttempts: -1,
          reconnectTimeWait: reconnectWaitMs,
          reconnectJitter: reconnectJitterMs,
          pingInterval: pingIntervalMs,
          timeout: requestTimeoutMs,
          ...(options.tls === undefined ? {} : { tls: options.tls }),
        });
      } catch (error) {
        if (this.#closed.signal.aborted) throw error;
        await timeout(reconnectWaitMs + Math.random() * reconnectJitterMs);
        this.#closed.signal.throwIfAborted();
      }
    }
  }

  #follow(connection: NatsConnection): void {
    this.#setConnected(true);
    const watch = async (): Promise<void> => {
      for await (const status of connection.status()) {
        if (status.type === Events.Disconnect) this.#setConnected(false);
        if (status.type === Events.Reconnect) this.#setConnected(true);
      }
    };
    watch().then(
      () => this.#setConnected(false),
      () => this.#setConnected(false),
    );
  }

  #setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    for (const listener of [...this.#listeners]) listener(connected);
  }

  async #whenConnected(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    stop.throwIfAborted();
    if (this.#connected) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    using _status = this.onStatus((connected) => connected && resolve());
    await abortable(promise, stop);
  }

  async #ask<T>(what: string, signal: AbortSignal, op: (connection: NatsConnection) => Promise<T>): Promise<T> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    const connection = await abortable(this.#connection, stop);
    return await translated(what, abortable(op(connection), stop));
  }
}

async function subscribeInOrder(jetstream: JetStreamClient, options: ConsumeOptions): Promise<JetStreamSubscription> {
  const wanted = consumerOpts({
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: Number(options.from),
    ack_policy: AckPolicy.None,
    replay_policy: ReplayPolicy.Instant,
  });
  wanted.orderedConsumer();
  wanted.bindStream(options.stream);
  wanted.idleHeartbeat(idleHeartbeatMs);
  return await jetstream.subscribe(options.subject, wanted);
}

function toBusMessage(message: JsMsg): BusMessage {
  return {
    subject: message.subject,
    sequence: BigInt(message.info.streamSequence),
    data: message.data,
    pending: message.info.pending,
  };
}

/** `{"stream":…,"seq":…}`, or `{"error":{…}}`. */
function readAcknowledgement(data: Uint8Array): bigint {
  const answer = JSON.parse(Buffer.from(data).toString("utf8")) as { seq?: unknown; error?: { description?: unknown } };
  if (answer.error !== undefined)
    throw new BusError(`JetStream refused the message: ${String(answer.error.description)}`);
  if (typeof answer.seq !== "number" || answer.seq < 1) throw new BusError("JetStream acknowledged without a sequence");
  return BigInt(answer.seq);
}

function apiCode(error: unknown): number | undefined {
  return error instanceof NatsError ? error.jsError()?.err_code : undefined;
}

async function translated<T>(what: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof NatsError)) throw error;
    const advice =
      apiCode(error) === streamNotFound || error.code === "503" ? "; is there a tracker that made the stream?" : "";
    throw new BusError(`could not ${what}: ${error.message}${advice}`, { cause: error });
  }
}

function timeout(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
