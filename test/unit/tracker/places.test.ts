/** What a shard's table makes of flows that belong to another bucket of their address. */
import { beforeEach, describe, expect, test } from "vitest";
import type { FlowEvent } from "../../../src/flow/events.ts";
import type { FlowKey } from "../../../src/flow/flow.ts";
import { slotOf } from "../../../src/flow/key-digest.ts";
import { ShardTable } from "../../../src/tracker/table.ts";
import { keyOf, publicAddress, rowOf } from "../../support/flows.ts";
import { packed } from "../../support/packed.ts";

const buckets = 2;
const isHere = (key: FlowKey): boolean => slotOf(key) % buckets === 0;
const ports = Array.from({ length: 100 }, (_, index) => index + 1);
const [here = 0, alsoHere = 0] = ports.filter((port) => isHere(keyOf(port)));
const [there = 0, alsoThere = 0] = ports.filter((port) => !isHere(keyOf(port)));

/** This shard is the first bucket of two. */
const place = (generation: number) => ({ address: publicAddress, buckets, generation, bucket: 0 });
const whole = { address: publicAddress, buckets: 1, generation: 0, bucket: 0 };

describe("a shard whose address gets another number of buckets", () => {
  let table = new ShardTable();
  let position = 0n;
  const sent = new Map<string, bigint>();

  beforeEach(() => {
    table = new ShardTable();
    position = 0n;
    sent.clear();
  });

  function say(instance: string, body: FlowEvent, boot = "b1") {
    const sequence = (sent.get(`${instance} ${boot}`) ?? 0n) + 1n;
    sent.set(`${instance} ${boot}`, sequence);
    const batch = packed({ instance, boot: boot.repeat(16), shard: 0, sequence, body });
    const applied = table.apply(++position, batch);
    return applied.kind === "applied" ? [...applied.changes].map(({ key, state }) => `${key.peerPort} ${state}`) : [];
  }

  function snapshot(instance: string, told: typeof whole, shown: readonly number[], isWhole = false): string[] {
    const addresses = isWhole ? [] : [publicAddress];
    const pages: FlowEvent[] = [{ kind: "snapshot-page", snapshot: 7n, rows: shown.map((port) => rowOf(port)) }];
    return [
      say(instance, { kind: "snapshot-begin", snapshot: 7n, addresses, places: [told] }),
      ...pages.map((page) => say(instance, page)),
      say(instance, { kind: "snapshot-end", snapshot: 7n, flows: shown.length }),
    ].flat();
  }

  const open = (instance: string, ...opened: number[]) =>
    say(instance, { kind: "changes", rows: opened.map((port) => rowOf(port)), coalesced: [] });
  const kindOf = (port: number): string => table.find(keyOf(port)).kind;

  const release = (instance: string, told: typeof whole) =>
    say(instance, { kind: "places", places: [told], released: true });

  test.each([false, true])(
    "keeps flows that belong elsewhere at the end of a snapshot, of the whole shard: %s (K4)",
    (isWhole) => {
      open("vm-a", here, alsoHere, there, alsoThere);
      expect(snapshot("vm-a", place(1), [here], isWhole)).toEqual([`${alsoHere} closed`]);
      expect([here, alsoHere, there, alsoThere].map(kindOf)).toEqual(["owned", "closed", "owned", "owned"]);
    },
  );

  test("lets flows go that have moved when their owner says so, without telling that they ended (K4)", () => {
    open("vm-a", here, there, alsoThere);
    open("vm-b", alsoHere, there);
    const listed = table.flowsOf({ address: publicAddress, owner: "vm-a" });
    expect(release("vm-a", place(1))).toEqual([]);
    expect([here, alsoHere, there, alsoThere].map(kindOf)).toEqual(["owned", "owned", "owned", "elsewhere"]);
    expect(table.find(keyOf(there))).toMatchObject({ flow: { owner: "vm-b" } });
    expect(table.counts()).toMatchObject([{ flows: 2 }, { flows: 1 }].toSorted());
    expect([...listed]).toHaveLength(3);
    // What was left goes on as ever.
    expect(say("vm-a", { kind: "changes", rows: [rowOf(here, "closed")], coalesced: [] })).toEqual([`${here} closed`]);
    expect(table.size).toBe(2);
  });

  test("lets go of all where its address has no bucket, and knows that by digest (K4)", () => {
    open("vm-a", here, there);
    const { bucket: _, ...none } = place(1);
    release("vm-a", none as typeof whole);
    expect([table.size, kindOf(here), kindOf(there)]).toEqual([0, "elsewhere", "elsewhere"]);
    say("vm-a", { kind: "digest", flows: 0, keyXor: 0n });
    expect(table.whole).toBe(true);
  });

  test("keeps what an owner that goes by an older layout than others releases it from (K5)", () => {
    open("vm-a", here, there);
    say("vm-b", { kind: "places", places: [place(2)], released: false });
    release("vm-a", place(1));
    expect([here, there].map(kindOf)).toEqual(["owned", "owned"]);
  });

  test("says of what does not belong here that it is elsewhere, never that it has ended or that there is none (K3)", () => {
    open("vm-a", there);
    say("vm-a", { kind: "changes", rows: [rowOf(alsoThere, "closed"), rowOf(alsoHere, "closed")], coalesced: [] });
    say("vm-a", { kind: "places", places: [place(1)], released: false });
    expect(kindOf(there)).toBe("owned");
    expect([alsoThere, alsoHere, here].map(kindOf)).toEqual(["elsewhere", "closed", "absent"]);
  });

  test("keeps what an owner that goes by an older layout than others does not speak of (K5)", () => {
    open("vm-a", here, there);
    open("vm-b", alsoHere, alsoThere);
    say("vm-a", { kind: "places", places: [place(2)], released: false });
    // By generation 1 this shard was no bucket of the address.
    const { bucket: _, ...none } = place(1);
    expect(snapshot("vm-b", none as typeof whole, [])).toEqual([]);
    expect([alsoHere, alsoThere].map(kindOf)).toEqual(["owned", "owned"]);
    expect(table.placeOf(publicAddress)).toMatchObject({ generation: 2 });
  });

  test("ends what an owner by an older layout leaves out although it belongs here by that (K5)", () => {
    open("vm-b", here, there);
    say("vm-a", { kind: "places", places: [place(2)], released: false });
    expect(snapshot("vm-b", whole, [here])).toEqual([`${there} closed`]);
  });

  test("ends what an owner has here of an address that its snapshot of the whole shard does not name", () => {
    open("vm-a", here, there);
    const none: FlowEvent = { kind: "snapshot-begin", snapshot: 1n, addresses: [], places: [] };
    say("vm-b", { kind: "places", places: [place(1)], released: false });
    say("vm-a", none);
    const ended = say("vm-a", { kind: "snapshot-end", snapshot: 1n, flows: 0 });
    expect(ended.toSorted()).toEqual([`${here} closed`, `${there} closed`].toSorted());
  });
});
