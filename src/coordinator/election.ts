/**
 * Who leads: the holder of the lease with the highest term, for as long as it renews it.
 *
 * A term is claimed by creating `lease.<term>`. The holder stops acting by its own clock well before others may take
 * over by theirs. Clocks are only compared with themselves, so they need not agree.
 */

import type { KvBucket } from "../bus/kv.ts";
import type { Clock } from "../runtime/clock.ts";
import { isAbort, sleep } from "../runtime/retry.ts";
import type { Mirror } from "./mirror.ts";
import { decodeLease, encodeEntry, type Lease, leaseKey } from "./stored.ts";
import { nextTerm } from "./term-history.ts";

export interface Term {
  readonly term: bigint;
  /** Names this lease, of all that were ever held: hexadecimal, 24 digits. */
  readonly lease: string;
  /** Revision of the lease's creation: all that was stored before must be read before acting. */
  readonly revision: number;
  /** Aborts as soon as the lease may be lost. */
  readonly signal: AbortSignal;
  /** By the clock, the lease is still held. To be asked before anything leaves. */
  readonly held: () => boolean;
  /** Gives the lease up. */
  readonly resign: (reason: string) => void;
}

export interface ElectionOptions {
  readonly bucket: KvBucket;
  readonly mirror: Mirror;
  readonly name: string;
  /** Where nodes and clients reach this coordinator. */
  readonly endpoint: string;
  /** Random, this process's own. */
  readonly process: string;
  /** Random, 24 hexadecimal digits, another one at each call. */
  readonly newLease: () => string;
  /** The highest term that a node was heard to obey. */
  readonly heard: () => bigint;
  /** A lease that was not renewed for this long is free. */
  readonly leaseMs: number;
  readonly clock: Clock;
  readonly random: () => number;
}

/** Shares of the lease's time: how often it is renewed, and when its holder stops without a renewal. */
const renewShare = 0.2;
const stopShare = 0.65;
const pollMs = 50;
const electionJitterMs = 150;

export class Election {
  readonly #options: ElectionOptions;
  #seen: { readonly key: string; readonly beat: number; readonly sinceMs: number } | undefined;

  constructor(options: ElectionOptions) {
    this.#options = options;
  }

  /** The newest lease, whoever holds it. */
  newest(): { readonly term: bigint; readonly lease: Lease } | undefined {
    let newest: bigint | undefined;
    for (const key of this.#options.mirror.values.keys()) {
      if (!key.startsWith("lease.")) continue;
      const term = BigInt(key.slice("lease.".length));
      if (newest === undefined || term > newest) newest = term;
    }
    const data = newest === undefined ? undefined : this.#options.mirror.values.get(leaseKey(newest));
    if (newest === undefined || data === undefined) return undefined;
    return { term: newest, lease: decodeLease(leaseKey(newest), data) };
  }

  /** Where the leader is, if there is one. */
  leaderEndpoint(): string | undefined {
    const newest = this.newest();
    return newest === undefined || newest.lease.released || this.#expired() ? undefined : newest.lease.endpoint;
  }

  /** Waits until the lease is free, and takes it. Throws the abort reason. */
  async win(signal: AbortSignal): Promise<Term> {
    const { bucket, mirror, random, clock } = this.#options;
    await mirror.reached(0, signal);
    for (;;) {
      const newest = this.newest();
      if (newest === undefined || newest.lease.released || this.#expired()) {
        await sleep(random() * electionJitterMs, signal);
        if (this.newest()?.term === newest?.term) {
          const term = nextTerm(newest?.term ?? 0n, this.#options.heard());
          const lease = this.#options.newLease();
          const beganMs = clock.monotonicMs();
          const created = await bucket.create(leaseKey(term), this.#encode(lease, 0, false), signal);
          if (created.kind === "created") return this.#hold(term, lease, created.revision, beganMs, signal);
        }
      }
      await sleep(pollMs, signal);
    }
  }

  #expired(): boolean {
    const newest = this.newest();
    if (newest === undefined) return true;
    const key = leaseKey(newest.term);
    const now = this.#options.clock.monotonicMs();
    if (this.#seen?.key !== key || this.#seen.beat !== newest.lease.beat)
      this.#seen = { key, beat: newest.lease.beat, sinceMs: now };
    return now - this.#seen.sinceMs >= this.#options.leaseMs;
  }

  #hold(term: bigint, lease: string, revision: number, beganMs: number, outer: AbortSignal): Term {
    const { clock, leaseMs } = this.#options;
    const end = new AbortController();
    const signal = AbortSignal.any([outer, end.signal]);
    const renewed = { atMs: beganMs };
    const held = (): boolean => !signal.aborted && clock.monotonicMs() - renewed.atMs < leaseMs * stopShare;
    const resign = (reason: string): void => end.abort(new Error(reason));
    void this.#renew(term, lease, renewed, held, signal, resign);
    void this.#watchOver(term, held, signal, resign);
    return { term, lease, revision, signal, held, resign };
  }

  async #renew(
    term: bigint,
    lease: string,
    renewed: { atMs: number },
    held: () => boolean,
    signal: AbortSignal,
    resign: (reason: string) => void,
  ): Promise<void> {
    const { bucket, clock, leaseMs } = this.#options;
    let beat = 1;
    try {
      for (;;) {
        await sleep(leaseMs * renewShare, signal);
        const newest = this.newest();
        if (newest !== undefined && newest.term > term)
          return resign(`term ${newest.term} of ${newest.lease.leader} began`);
        const beganMs = clock.monotonicMs();
        const done = await bucket.renew(leaseKey(term), this.#encode(lease, beat++, false));
        if (done && held()) renewed.atMs = beganMs;
      }
    } catch (error) {
      if (!isAbort(error, signal)) resign(`the lease of term ${term} can't be renewed: ${String(error)}`);
    } finally {
      await bucket.renew(leaseKey(term), this.#encode(lease, beat, true)).catch(() => false);
    }
  }

  /** A renewal that hangs must not hide that time is up. */
  async #watchOver(
    term: bigint,
    held: () => boolean,
    signal: AbortSignal,
    resign: (reason: string) => void,
  ): Promise<void> {
    try {
      while (held()) await sleep(pollMs, signal);
      resign(`the lease of term ${term} could not be renewed in time`);
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  }

  #encode(own: string, beat: number, released: boolean): Uint8Array {
    const { name, endpoint, process } = this.#options;
    const lease: Lease = { leader: name, endpoint, process: own, beat, released };
    return encodeEntry(lease, process);
  }
}
