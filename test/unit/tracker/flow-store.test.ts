/** A shard on a real LevelDB: its checkpoint, the messages after it, and what is left of either by a crash or a bad disk. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { FlowEvent } from "../../../src/flow/events.ts";
import { encodeFlowEventBatch } from "../../../src/rpc/flow-event-codec.ts";
import type { FlowStore, StoredMessage } from "../../../src/tracker/level.ts";
import { applyMessage } from "../../../src/tracker/message.ts";
import type { ShardRow } from "../../../src/tracker/peers.ts";
import { RecordFault, readKey, rowKinds, seal } from "../../../src/tracker/record.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import { openStore, type TestDirectory, temporaryDirectory } from "../../support/tracker.ts";

const shard = 3;
const fingerprint = new Uint8Array(16).fill(7);

describe("a shard in the database", () => {
  let directory: TestDirectory;
  let store: FlowStore;
  let table: ShardTable;
  let said: bigint;

  beforeEach(async () => {
    directory = await temporaryDirectory();
    store = await openStore(directory);
    table = new ShardTable(100n);
    said = 0n;
    await store.checkpoint(shard, table, position());
  });
  afterEach(async () => {
    await store[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const position = () => ({ sequence: table.sequence, fingerprint, rebuilding: false });

  const apply = (body: FlowEvent): StoredMessage => {
    said += 1n;
    const data = encodeFlowEventBatch({ instance: "vm-a", boot: "b1".repeat(16), shard, sequence: said, body });
    // Numbers of other shards' messages lie between.
    const sequence = table.sequence + 7n;
    applyMessage(table, shard, sequence, data);
    return { sequence, data };
  };
  const changes = (...rows: ReturnType<typeof rowOf>[]): FlowEvent => ({ kind: "changes", rows, coalesced: [] });
  const tell = async (...bodies: FlowEvent[]): Promise<boolean> => {
    const messages = bodies.map(apply);
    return await store.commit(shard, table, messages, position());
  };
  const portsOf = (of: ShardTable): number[] =>
    [...of.flowsOf({ address: publicAddress })].map((flow) => flow?.key.peerPort ?? 0).sort((a, b) => a - b);
  const rows = async (): Promise<ShardRow[]> => (await Array.fromAsync(store.rows(shard, 1_000_000))).flat();
  const ofKind = (all: readonly ShardRow[], kind: number): ShardRow[] =>
    all.filter(({ key }) => readKey(key).kind === kind);
  const loadOf = async (some: readonly ShardRow[]) => {
    await store.takeOver(
      shard,
      (async function* () {
        yield some;
      })(),
    );
    return await store.load(shard);
  };

  test("is read back as its checkpoint and the messages after it, also those that nobody understood", async () => {
    await tell(changes(rowOf(1), rowOf(2)));
    await store.checkpoint(shard, table, position());
    await tell(changes(rowOf(2, "closed")), changes(rowOf(3)));
    table.skip(table.sequence + 1n);
    await store.commit(shard, table, [{ sequence: table.sequence, data: Buffer.from("what?") }], position());
    const { table: read, position: at } = await store.load(shard);
    expect(portsOf(read)).toEqual([1, 3]);
    expect(read.find(keyOf(2))).toEqual({ kind: "closed", owner: "vm-a" });
    expect([...read.senders()]).toEqual([...table.senders()]);
    expect(at).toMatchObject({ sequence: table.sequence, rebuilding: false });
    expect(Buffer.from(at?.fingerprint ?? []).equals(fingerprint)).toBe(true);
  });

  test("goes on being stored after it was read", async () => {
    await tell(changes(rowOf(1)));
    ({ table } = await store.load(shard));
    await tell(changes(rowOf(2)));
    expect(portsOf((await store.load(shard)).table)).toEqual([1, 2]);
  });

  test("needs a checkpoint when there is more of its messages than of itself, and keeps none of them then", async () => {
    const all = Array.from({ length: 2_000 }, (_, port) => rowOf(port + 1));
    let messages = 0;
    for (; !(await tell(changes(...all))); messages++) expect(messages).toBeLessThan(100);
    expect(messages).toBeGreaterThan(5);
    await store.checkpoint(shard, table, position());
    expect(ofKind(await rows(), rowKinds.message)).toEqual([]);
    expect(portsOf((await store.load(shard)).table)).toEqual(portsOf(table));
    expect(await tell(changes(rowOf(1, "closed")))).toBe(false);
    expect(portsOf((await store.load(shard)).table)).toEqual(portsOf(table));
  });

  test("is the one before when a crash has cut a checkpoint off, and has nothing left of that", async () => {
    await tell(changes(rowOf(1)), changes(rowOf(2)));
    const before = await rows();
    await store.checkpoint(shard, table, position());
    const cut = [...before, ...ofKind(await rows(), rowKinds.page)];
    expect(cut.length).toBeGreaterThan(before.length);
    expect(portsOf((await loadOf(cut)).table)).toEqual([1, 2]);
    expect(await rows()).toEqual(before);
  });

  test("is the later one when a crash has left what was before a checkpoint", async () => {
    await tell(changes(rowOf(1)), changes(rowOf(2)));
    const before = await rows();
    await store.checkpoint(shard, table, position());
    const after = await rows();
    const uncleared = [...after, ...ofKind(before, rowKinds.page), ...ofKind(before, rowKinds.message)];
    expect(portsOf((await loadOf(uncleared)).table)).toEqual([1, 2]);
    expect(await rows()).toEqual(after);
  });

  test("is refused whole where a row is missing or is not what was written", async () => {
    await tell(changes(rowOf(1)));
    await store.checkpoint(shard, table, position());
    await tell(changes(rowOf(2)), changes(rowOf(3)));
    const whole = await rows();
    expect(portsOf((await loadOf(whole)).table)).toEqual([1, 2, 3]);
    for (const [n, { key, value }] of whole.entries()) {
      const { kind } = readKey(key);
      if (kind !== rowKinds.position)
        await expect(loadOf(whole.toSpliced(n, 1)), `without ${kind}`).rejects.toThrow(RecordFault);
      const changed = Buffer.from(value);
      changed[0] = (changed[0] ?? 0) ^ 1;
      await expect(loadOf(whole.with(n, { key, value: changed })), `another ${kind}`).rejects.toThrow(RecordFault);
    }
  });

  test("is refused, for it to be built anew, where a row has a form that nobody knows", async () => {
    await tell(changes(rowOf(1)));
    await store.checkpoint(shard, table, position());
    const whole = await rows();
    const page = ofKind(whole, rowKinds.page).find(({ value }) => value.includes('"boots"')) ?? expect.fail();
    const value = seal(page.key, Buffer.concat([Buffer.of(page.value[0] ?? 0), Buffer.from("[null]")]));
    const changed = whole.with(whole.indexOf(page), { key: page.key, value });
    await expect(loadOf(changed)).rejects.toThrow(RecordFault);
  });

  test("is nothing without a position", async () => {
    await tell(changes(rowOf(1)));
    const left = (await rows()).filter(({ key }) => readKey(key).kind !== rowKinds.position);
    await store.wipe(shard);
    await expect(loadOf(left)).rejects.toThrow("without a position");
    expect((await store.load(shard)).position).toBeUndefined();
    expect(await rows()).toEqual([]);
    await expect(tell(changes(rowOf(2)))).rejects.toThrow("no checkpoint");
  });
});
