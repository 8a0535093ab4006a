/**
 * Tells consumers that the stream under them is not the one that they began with: deleted, made anew, or gone back in
 * time, all of which a server can bring about without losing a connection.
 *
 * Asks once for all consumers of a stream, and only while there are any.
 */
import { BusError } from "./bus.ts";

export interface StreamSighting {
  /** Differs between a stream and another of its name. */
  readonly identity: string;
  readonly last: bigint;
}

export interface StreamGuardOptions {
  /** Undefined: there is no such stream. Throws when the bus can't be asked. */
  see(stream: string): Promise<StreamSighting | undefined>;
  readonly intervalMs: number;
}

interface Guarded {
  readonly timer: NodeJS.Timeout;
  readonly consumers: Set<{ readonly identity: string; readonly fail: (error: BusError) => void }>;
  seen: StreamSighting | undefined;
}

export class StreamGuard {
  readonly #options: StreamGuardOptions;
  readonly #streams = new Map<string, Guarded>();

  constructor(options: StreamGuardOptions) {
    this.#options = options;
  }

  /** Calls `fail` once, when the stream is not the one of this identity any more. */
  watch(stream: string, identity: string, fail: (error: BusError) => void): Disposable {
    const guarded = this.#streams.get(stream) ?? this.#begin(stream);
    const consumer = { identity, fail };
    guarded.consumers.add(consumer);
    return {
      [Symbol.dispose]: () => {
        guarded.consumers.delete(consumer);
        if (guarded.consumers.size > 0 || this.#streams.get(stream) !== guarded) return;
        clearInterval(guarded.timer);
        this.#streams.delete(stream);
      },
    };
  }

  #begin(stream: string): Guarded {
    const look = (): void => {
      this.#options.see(stream).then(
        (sighting) => this.#compare(stream, guarded, sighting),
        // Whoever can't ask has lost the connection, and hears of it elsewhere.
        () => undefined,
      );
    };
    const guarded: Guarded = {
      timer: setInterval(look, this.#options.intervalMs),
      consumers: new Set(),
      seen: undefined,
    };
    this.#streams.set(stream, guarded);
    return guarded;
  }

  #compare(stream: string, guarded: Guarded, sighting: StreamSighting | undefined): void {
    const before = guarded.seen;
    guarded.seen = sighting;
    const wentBack = sighting !== undefined && before?.identity === sighting.identity && before.last > sighting.last;
    for (const consumer of [...guarded.consumers]) {
      if (sighting?.identity === consumer.identity && !wentBack) continue;
      guarded.consumers.delete(consumer);
      const what = sighting === undefined ? "is gone" : wentBack ? "has gone back" : "is another one";
      consumer.fail(new BusError(`the stream ${stream} ${what}`));
    }
  }
}
