/**
 * Epochs in the bucket `baton` of JetStream.
 *
 * Faults of old servers that it lives with (nats-server issue 4320 and others): only creates of numbers that were never
 * used decide anything; nothing is decided on a plain read; and a store that comes back without what it had acknowledged
 * is given the newest epoch again by whoever has read it.
 */
import { randomBytes } from "node:crypto";
import type { Assignment } from "../placement/assignment.ts";
import type { EpochHistory } from "../placement/epoch-log.ts";
import type { Logger } from "../runtime/log.ts";
import { sleep } from "../runtime/retry.ts";
import { abortable } from "./abortable.ts";
import { EpochMirror, type EpochMirrorOptions } from "./epoch-mirror.ts";
import { decodeEpoch, encodeEpoch, epochKey, epochKeys, epochOfKey } from "./epoch-record.ts";
import { KvBucket } from "./kv.ts";
import type { NatsBus } from "./nats.ts";

export interface KvEpochLogOptions extends EpochMirrorOptions {
  readonly bus: NatsBus;
  /** Copies of the bucket in a cluster of NATS servers, where it has to be made; absent: others make it. */
  readonly replicas?: number;
  /** What a cluster begins with that has no epoch yet; without it, the log waits for others to begin. */
  readonly first?: Assignment;
  readonly log: Logger;
}

/** Records that are kept; older ones are removed, and their numbers never come back. */
const epochsKept = 1_000n;
/** Before the store is read anew; doubled by chance. */
const retryMs = 250;
const writerBytes = 8;

export class KvEpochLog implements EpochHistory {
  readonly #options: KvEpochLogOptions;
  readonly #mirror: EpochMirror;
  readonly #writer = randomBytes(writerBytes).toString("hex");
  /** From when all that it holds was read once: what it no longer holds would look as if it had never been. */
  readonly #bucket = Promise.withResolvers<KvBucket>();

  /** Knows nothing, and stores nothing, before {@link run}. */
  constructor(options: KvEpochLogOptions) {
    this.#options = options;
    this.#mirror = new EpochMirror(options);
  }

  get current(): Assignment | undefined {
    return this.#mirror.current;
  }

  get earlier(): readonly Assignment[] {
    return this.#mirror.earlier;
  }

  changes(signal: AbortSignal): AsyncGenerator<Assignment> {
    return this.#mirror.changes(signal);
  }

  async create(next: Assignment, signal: AbortSignal): Promise<"created" | "taken"> {
    for (let { epoch } = next; ; epoch = this.#mirror.highest + 1n) {
      const bucket = await abortable(this.#bucket.promise, signal);
      // A number that was removed long ago would be free again; and under a later one, passed over what nobody can read, this
      // would undo what others have decided since.
      if (next.epoch <= (this.current?.epoch ?? 0n)) return "taken";
      const { kind } = await bucket.create(epochKey(epoch), this.#encode({ ...next, epoch }), signal);
      await this.#mirror.until(() => this.#mirror.highest >= epoch, signal);
      if (kind === "created") {
        if (epoch > epochsKept) await bucket.remove([epochKey(epoch - epochsKept)], signal);
        return "created";
      }
      if (!this.#mirror.isMalformed(epoch)) return "taken";
    }
  }

  /** Throws what nobody could read: it would waste a number, and rule nothing. */
  #encode(next: Assignment): Uint8Array {
    const data = encodeEpoch(next, this.#writer);
    const decoded = decodeEpoch(next.epoch, data, this.#options.shards);
    if (!decoded.ok) throw new RangeError(`an epoch that is no record: ${decoded.message}`);
    return data;
  }

  /** Follows the store until the signal aborts; every connection begins with all that it holds. */
  async run(signal: AbortSignal): Promise<void> {
    const { bus, log } = this.#options;
    while (!signal.aborted) {
      const lost = new AbortController();
      using _status = bus.onStatus((connected) => !connected && lost.abort());
      try {
        await this.#follow(AbortSignal.any([signal, lost.signal]));
      } catch (error) {
        if (!signal.aborted && !lost.signal.aborted) log.warn({ error }, "the store of epochs is not there yet");
      }
      await sleep(retryMs * (1 + Math.random()), signal).catch(() => undefined);
    }
  }

  async #follow(stop: AbortSignal): Promise<void> {
    const { bus, replicas } = this.#options;
    const connection = await bus.connection(stop);
    const bucket = await (replicas === undefined ? KvBucket.bind(connection) : KvBucket.open(connection, replicas));
    let stored = 0n;
    const watch = new AbortController();
    let completing: Promise<void> | undefined;
    const onComplete = (): void => {
      this.#bucket.resolve(bucket);
      completing = this.#complete(bucket, stored, stop).catch(() => watch.abort());
    };
    await bucket.watch(
      ({ key, value }) => {
        if (value === undefined) return;
        this.#mirror.apply(key, value);
        const epoch = epochOfKey(key) ?? 0n;
        if (epoch > stored) stored = epoch;
      },
      onComplete,
      AbortSignal.any([stop, watch.signal]),
      epochKeys,
    );
    await completing;
  }

  /** What the store lacks, as far as it is known here, is stored: the first epoch, or the newest one again. */
  async #complete(bucket: KvBucket, stored: bigint, signal: AbortSignal): Promise<void> {
    const { first } = this.#options;
    const newest = this.current ?? (first && { ...first, epoch: stored + 1n });
    if (newest === undefined || stored >= newest.epoch) return;
    await bucket.create(epochKey(newest.epoch), encodeEpoch(newest, this.#writer), signal);
  }
}
