/** The bus in memory: the same semantics as `nats.ts`, for tests and simulations of one process. */
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

interface Stream {
  readonly identity: string;
  config: StreamConfig;
  messages: {
    readonly subject: string;
    readonly sequence: bigint;
    readonly data: Uint8Array;
    readonly storedAtMs: number;
  }[];
  bytes: number;
  last: bigint;
  /** Message id → sequence, and when it was stored. */
  ids: Map<string, { readonly sequence: bigint; readonly storedAtMs: number }>;
}

export class MemoryBus implements Bus {
  readonly #nowMs: () => number;
  readonly #streams = new Map<string, Stream>();
  readonly #listeners = new Map<string, Set<(data: Uint8Array) => void>>();
  readonly #statusListeners = new Set<(connected: boolean) => void>();
  readonly #closed = new AbortController();
  #connected = true;
  #streamsMade = 0;
  /** Replaced at each change that someone may wait for. */
  #changed = Promise.withResolvers<void>();

  constructor(nowMs: () => number = () => 0) {
    this.#nowMs = nowMs;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Takes the bus away from its users, or gives it back. */
  setConnected(connected: boolean): void {
    if (this.#connected === connected) return;
    this.#connected = connected;
    for (const listener of [...this.#statusListeners]) listener(connected);
    this.#wake();
  }

  /** Drops the stream with all that it holds, as a server does that lost its disk. */
  deleteStream(name: string): void {
    this.#streams.delete(name);
    this.#wake();
  }

  onStatus(listener: (connected: boolean) => void): Disposable {
    this.#statusListeners.add(listener);
    return { [Symbol.dispose]: () => void this.#statusListeners.delete(listener) };
  }

  async ensureStream(config: StreamConfig, signal: AbortSignal, existing: ExistingStream = "set"): Promise<void> {
    await this.#whenConnected(signal);
    const stream = this.#streams.get(config.name);
    if (stream !== undefined) {
      if (existing === "set") stream.config = config;
    } else {
      const identity = String(++this.#streamsMade);
      this.#streams.set(config.name, { identity, config, messages: [], bytes: 0, last: 0n, ids: new Map() });
    }
  }

  async streamRange(name: string, signal: AbortSignal): Promise<StreamRange> {
    await this.#whenConnected(signal);
    const stream = this.#stream(name);
    const { last, identity } = stream;
    return { first: stream.messages[0]?.sequence ?? last + 1n, last, identity };
  }

  async lastSequence(name: string, subject: string, signal: AbortSignal): Promise<bigint> {
    await this.#whenConnected(signal);
    return this.#stream(name).messages.findLast((message) => message.subject === subject)?.sequence ?? 0n;
  }

  async messageAt(name: string, sequence: bigint, signal: AbortSignal): Promise<BusMessage | undefined> {
    await this.#whenConnected(signal);
    const found = this.#stream(name).messages.find((message) => message.sequence === sequence);
    return found === undefined ? undefined : { ...found, pending: 0 };
  }

  async publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<bigint> {
    await this.#whenConnected(options.signal);
    const stream = [...this.#streams.values()].find(({ config }) => config.subjects.some((it) => matches(it, subject)));
    if (stream === undefined) throw new BusError(`could not publish on ${subject}: no stream holds it`);
    const nowMs = this.#nowMs();
    this.#expire(stream, nowMs);
    const known = stream.ids.get(options.messageId);
    if (known !== undefined) return known.sequence;
    stream.last += 1n;
    stream.messages.push({ subject, sequence: stream.last, data: data.slice(), storedAtMs: nowMs });
    stream.bytes += data.length;
    stream.ids.set(options.messageId, { sequence: stream.last, storedAtMs: nowMs });
    this.#expire(stream, nowMs);
    this.#wake();
    return stream.last;
  }

  async *consume(options: ConsumeOptions): AsyncGenerator<readonly BusMessage[], void, undefined> {
    await this.#whenConnected(options.signal);
    let lost = false;
    using _status = this.onStatus((connected) => {
      lost ||= !connected;
    });
    for (let from = options.from; ; ) {
      if (lost) throw new BusError(`the connection was lost while consuming ${options.subject}`);
      const { messages: held, identity } = this.#stream(options.stream);
      if (options.identity !== undefined && identity !== options.identity)
        throw new BusError(`the stream ${options.stream} is another one`);
      const found = held.filter((message) => message.subject === options.subject && message.sequence >= from);
      const batch = found.slice(0, options.batchMax);
      const last = batch.at(-1);
      if (last === undefined) {
        await this.#change(options.signal);
      } else {
        from = last.sequence + 1n;
        yield batch.map((message, index) => ({ ...message, pending: found.length - 1 - index }));
        options.signal.throwIfAborted();
      }
    }
  }

  announce(subject: string, data: Uint8Array): void {
    if (!this.#connected) return;
    for (const listener of this.#listeners.get(subject) ?? []) queueMicrotask(() => listener(data));
  }

  listen(subject: string, listener: (data: Uint8Array) => void): Disposable {
    const listeners = this.#listeners.get(subject) ?? new Set();
    this.#listeners.set(subject, listeners.add(listener));
    return { [Symbol.dispose]: () => void listeners.delete(listener) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new BusError("the bus is closed"));
    this.setConnected(false);
  }

  #stream(name: string): Stream {
    const stream = this.#streams.get(name);
    if (stream === undefined) throw new BusError(`there is no stream ${name}`);
    return stream;
  }

  #expire(stream: Stream, nowMs: number): void {
    for (;;) {
      const oldest = stream.messages[0];
      if (oldest === undefined) break;
      if (oldest.storedAtMs + stream.config.maxAgeMs > nowMs && stream.bytes <= stream.config.maxBytes) break;
      stream.messages.shift();
      stream.bytes -= oldest.data.length;
    }
    for (const [id, { storedAtMs }] of stream.ids) {
      if (storedAtMs + stream.config.duplicateWindowMs > nowMs) break;
      stream.ids.delete(id);
    }
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    changed.resolve();
  }

  async #whenConnected(signal: AbortSignal): Promise<void> {
    AbortSignal.any([signal, this.#closed.signal]).throwIfAborted();
    while (!this.#connected) await this.#change(signal);
  }

  async #change(signal: AbortSignal): Promise<void> {
    const stop = AbortSignal.any([signal, this.#closed.signal]);
    stop.throwIfAborted();
    await abortable(this.#changed.promise, stop);
  }
}

function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const given = subject.split(".");
  const tail = wanted.indexOf(">");
  if (tail >= 0)
    return given.length > tail && wanted.slice(0, tail).every((token, i) => token === "*" || token === given[i]);
  return wanted.length === given.length && wanted.every((token, i) => token === "*" || token === given[i]);
}
