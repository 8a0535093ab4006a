/**
 * The bucket `baton` in JetStream: creates of keys that were never used, renewals of one's own key, and a watch.
 *
 * nats-server before 2.9.21 does not make an update with an expected revision exclusive on a replicated bucket
 * (nats-server issue 4320), nor a create on a deleted key; so a claim is always the create of a name that is used once.
 */
import { type KV, type NatsConnection, NatsError } from "nats";
import { sleep } from "../runtime/retry.ts";

export const bucketName = "baton";

/** JetStream: wrong last sequence. */
const wrongLastSequence = 10071;
/** For one answer of the store. */
const requestTimeoutMs = 1_000;
const retryPauseMs = 50;

export type Created =
  | { readonly kind: "created"; readonly revision: number }
  /** The key is somebody else's. */
  | { readonly kind: "taken" };

export interface KvChange {
  readonly key: string;
  /** Absent: the key was deleted. */
  readonly value?: Uint8Array;
  readonly revision: number;
}

export class KvBucket {
  readonly #kv: KV;
  readonly #connection: NatsConnection;

  private constructor(kv: KV, connection: NatsConnection) {
    this.#kv = kv;
    this.#connection = connection;
  }

  /** Makes the bucket where there is none. Throws what the client throws. */
  static async open(connection: NatsConnection, replicas: number): Promise<KvBucket> {
    const jetstream = connection.jetstream({ timeout: requestTimeoutMs });
    return new KvBucket(await jetstream.views.kv(bucketName, { history: 1, replicas }), connection);
  }

  /** The bucket as it is: for who has no say in its copies. Throws what the client throws, also where there is none yet. */
  static async bind(connection: NatsConnection): Promise<KvBucket> {
    const jetstream = connection.jetstream({ timeout: requestTimeoutMs });
    const kv = await jetstream.views.kv(bucketName, { bindOnly: true });
    // The client binds to what is not there.
    await kv.status();
    return new KvBucket(kv, connection);
  }

  /**
   * Creates a key, again and again until it is known to be there or taken, or the signal aborts. An answer that was lost
   * is made good by reading the key: `value` must tell its writer apart from all others.
   */
  async create(key: string, value: Uint8Array, signal: AbortSignal): Promise<Created> {
    for (let unsure = false; ; unsure = true) {
      signal.throwIfAborted();
      try {
        return { kind: "created", revision: await this.#kv.put(key, value, { previousSeq: 0 }) };
      } catch (error) {
        if (!(error instanceof NatsError)) throw error;
        if (error.jsError()?.err_code === wrongLastSequence) {
          const own = unsure ? await this.#revisionIfOwn(key, value) : undefined;
          return own === undefined ? { kind: "taken" } : { kind: "created", revision: own };
        }
        await sleep(retryPauseMs, signal);
      }
    }
  }

  /** Writes a key that nobody else writes. False: that is not known to have happened. */
  async renew(key: string, value: Uint8Array): Promise<boolean> {
    try {
      await this.#kv.put(key, value);
      return true;
    } catch (error) {
      if (!(error instanceof NatsError)) throw error;
      return false;
    }
  }

  /** Removes keys for good; their names must never be used again. */
  async remove(keys: readonly string[], signal: AbortSignal): Promise<void> {
    const manager = await this.#connection.jetstreamManager({ timeout: requestTimeoutMs });
    for (const key of keys) {
      signal.throwIfAborted();
      await manager.streams.purge(`KV_${bucketName}`, { filter: `$KV.${bucketName}.${key}` });
    }
  }

  /**
   * The newest value of every key that matches, then every change, in the order of revisions; `onComplete` between the
   * two. Resolves when the signal aborts or the watch breaks: the store may have gone back in time, and is to be read anew.
   */
  async watch(
    onChange: (change: KvChange) => void,
    onComplete: () => void,
    signal: AbortSignal,
    keys = ">",
  ): Promise<void> {
    const changes = await this.#kv.watch({ key: keys, initializedFn: onComplete });
    const stop = (): void => changes.stop();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      for await (const { key, value, revision, operation } of changes)
        onChange(operation === "PUT" ? { key, value, revision } : { key, revision });
    } catch (error) {
      if (!(error instanceof NatsError)) throw error;
    } finally {
      signal.removeEventListener("abort", stop);
      changes.stop();
    }
  }

  async #revisionIfOwn(key: string, value: Uint8Array): Promise<number | undefined> {
    const entry = await this.#kv.get(key);
    return entry !== null && Buffer.compare(entry.value, value) === 0 ? entry.revision : undefined;
  }
}
