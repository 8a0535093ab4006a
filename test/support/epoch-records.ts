/** All epochs of a cluster as their store shows them, and whether they are what epochs must be. */
import { decodeEpoch, epochKeys, epochOfKey } from "../../src/bus/epoch-record.ts";
import type { NatsBus } from "../../src/bus/nats.ts";
import { type Assignment, holdersOf } from "../../src/placement/assignment.ts";

export interface EpochRecord {
  readonly atMs: number;
  readonly assignment: Assignment;
}

export class EpochRecords implements AsyncDisposable {
  readonly records: EpochRecord[] = [];
  readonly #faults: string[] = [];
  readonly #shards: number;
  /** "shard name" → the epoch that took it away, since the last {@link cause}. */
  readonly #lost = new Map<string, bigint>();
  #end: () => Promise<void> = async () => {};

  private constructor(shards: number) {
    this.#shards = shards;
  }

  /** The bucket must be there. */
  static async watch(bus: NatsBus, shards: number, signal: AbortSignal): Promise<EpochRecords> {
    const found = new EpochRecords(shards);
    const connection = await bus.connection(signal);
    const bucket = await connection.jetstream().views.kv("baton", { bindOnly: true });
    const changes = await bucket.watch({ key: epochKeys });
    const reading = (async () => {
      for await (const { key, operation, value } of changes) if (operation === "PUT") found.#read(key, value);
    })();
    found.#end = async () => {
      changes.stop();
      await reading;
    };
    return found;
  }

  get current(): Assignment | undefined {
    return this.records.at(-1)?.assignment;
  }

  /** Something from outside: who lost a copy may get it back by it. */
  cause(): void {
    this.#lost.clear();
  }

  /** Numbers that were written twice or left out, records that nobody can read, copies that went and came without a cause. */
  faults(): readonly string[] {
    return this.#faults;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #read(key: string, value: Uint8Array): void {
    const epoch = epochOfKey(key) ?? 0n;
    const expected = (this.current?.epoch ?? 0n) + 1n;
    if (epoch !== expected) this.#faults.push(`epoch ${epoch} was written where ${expected} comes next`);
    const decoded = decodeEpoch(epoch, value, this.#shards);
    if (!decoded.ok) {
      this.#faults.push(`epoch ${epoch} can't be read: ${decoded.message}`);
      return;
    }
    const before = this.current;
    if (before !== undefined) this.#compare(before, decoded.value);
    this.records.push({ atMs: performance.now(), assignment: decoded.value });
  }

  #compare(before: Assignment, after: Assignment): void {
    for (let shard = 0; shard < this.#shards; shard++) {
      const [had, has] = [before, after].map((it) => holdersOf(it, shard).map(({ name }) => name));
      for (const name of had ?? []) if (!has?.includes(name)) this.#lost.set(`${shard} ${name}`, after.epoch);
      for (const name of has ?? []) {
        const lostIn = had?.includes(name) ? undefined : this.#lost.get(`${shard} ${name}`);
        if (lostIn !== undefined)
          this.#faults.push(
            `shard ${shard} came back to ${name} in epoch ${after.epoch}, which epoch ${lostIn} took it from`,
          );
      }
    }
  }
}
