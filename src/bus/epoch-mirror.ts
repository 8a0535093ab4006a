/**
 * The epoch records of a store as this process has read them: the newest, some before it, and whose numbers are wasted.
 *
 * A record that can't be read, or moves flows without saying from where, is counted, told and stepped over; it rules nothing, and its number is not used again. An
 * epoch that was read is kept even when the store loses it.
 */
import type { Assignment } from "../placement/assignment.ts";
import { earlierEpochsMax } from "../placement/epoch-log.ts";
import { layoutOf, newestLayouts } from "../placement/layout.ts";
import { abortable } from "./abortable.ts";
import { decodeEpoch, epochOfKey } from "./epoch-record.ts";

export interface EpochMirrorOptions {
  readonly shards: number;
  /** For the log and the metrics. */
  readonly onMalformed: (key: string, message: string) => void;
  /** The newest of an earlier run. */
  readonly remembered?: Assignment | undefined;
}

/** Numbers of records that could not be read, so that each is told once. */
const malformedMax = 10_000;

export class EpochMirror {
  readonly #options: EpochMirrorOptions;
  readonly #malformed = new Set<bigint>();
  /** Newest first. */
  #epochs: readonly Assignment[];
  #highest: bigint;
  #changed = Promise.withResolvers<void>();

  constructor(options: EpochMirrorOptions) {
    this.#options = options;
    this.#epochs = options.remembered === undefined ? [] : [options.remembered];
    this.#highest = options.remembered?.epoch ?? 0n;
  }

  get current(): Assignment | undefined {
    return this.#epochs[0];
  }

  get earlier(): readonly Assignment[] {
    return this.#epochs.slice(1);
  }

  /** The highest number that any record has, readable or not; 0: there is none. */
  get highest(): bigint {
    return this.#highest;
  }

  isMalformed(epoch: bigint): boolean {
    return this.#malformed.has(epoch);
  }

  /** A key of the store with its value. Of two records of one number the one that was read last rules. */
  apply(key: string, value: Uint8Array): void {
    const epoch = epochOfKey(key);
    if (epoch === undefined) {
      this.#options.onMalformed(key, "expected a key epoch.<n> with a whole number from 1 on");
      return;
    }
    if (epoch > this.#highest) this.#highest = epoch;
    const decoded = decodeEpoch(epoch, value, this.#options.shards);
    if (decoded.ok) this.#judge(key, decoded.value);
    else this.#reject(epoch, key, decoded.message);
    this.#wake();
  }

  async *changes(signal: AbortSignal): AsyncGenerator<Assignment, never, undefined> {
    for (let told: Assignment | undefined; ; ) {
      await this.until(() => this.current !== undefined && this.current !== told, signal);
      told = this.current;
      if (told !== undefined) yield told;
    }
  }

  /** Throws the abort reason. */
  async until(condition: () => boolean, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    while (!condition()) await abortable(this.#changed.promise, signal);
  }

  /** Against the record before it, which may be unknown: to who has just begun, or was away for longer than records are kept. */
  #judge(key: string, read: Assignment): void {
    let before = read.epoch - 1n;
    while (this.#malformed.has(before)) before--;
    const earlier = this.#epochs.find(({ epoch }) => epoch === before);
    const fault = earlier && unannounced(earlier, read);
    if (fault === undefined) this.#keep(read);
    else this.#reject(read.epoch, key, fault);
  }

  #keep(record: Assignment): void {
    this.#malformed.delete(record.epoch);
    const read = this.#withLayouts(record);
    const known = this.#epochs.find(({ epoch }) => epoch === read.epoch);
    if (known !== undefined && isSame(known, read)) return;
    this.#epochs = [...this.#epochs.filter(({ epoch }) => epoch !== read.epoch), read]
      .sort((a, b) => (a.epoch > b.epoch ? -1 : 1))
      .slice(0, 1 + earlierEpochsMax);
  }

  /** Layouts never go back: not by a record that was written by hand, or by a program that does not know them. */
  #withLayouts(read: Assignment): Assignment {
    const before = this.#epochs.find(({ epoch }) => epoch < read.epoch)?.layouts;
    if (before === undefined) return read;
    return { ...read, layouts: newestLayouts(before, read.layouts ?? new Map()) };
  }

  #reject(epoch: bigint, key: string, message: string): void {
    if (this.#malformed.has(epoch)) return;
    if (this.#malformed.size < malformedMax) this.#malformed.add(epoch);
    this.#options.onMalformed(key, message);
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = Promise.withResolvers<void>();
    changed.resolve();
  }
}

/** Why the record moves flows without saying so: nobody would look for them where they still are. */
function unannounced(earlier: Assignment, { layouts }: Assignment): string | undefined {
  for (const [address, { buckets, generation, before }] of layouts ?? []) {
    const known = layoutOf(earlier.layouts, address);
    if (generation <= known.generation || buckets === known.buckets || before === known.buckets) continue;
    const found = before ?? "none";
    return `buckets.${address}.before: expected ${known.buckets}, as in epoch ${earlier.epoch}, found ${found}`;
  }
  return undefined;
}

function isSame(a: Assignment, b: Assignment): boolean {
  const text = ({ holders, layouts }: Assignment): string =>
    JSON.stringify([
      [...(layouts ?? [])],
      holders.map(({ primary, standby, pinned }) => [
        primary.name,
        primary.endpoint,
        standby?.name,
        standby?.endpoint,
        pinned,
      ]),
    ]);
  return text(a) === text(b);
}
