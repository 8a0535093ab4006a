/** Epoch records: what an operator may write by hand, and what is stepped over (SPEC H7). */
import { describe, expect, test } from "vitest";
import { EpochMirror } from "../../../src/bus/epoch-mirror.ts";
import { decodeEpoch, encodeEpoch, epochKey, epochOfKey, epochRecordBytesMax } from "../../../src/bus/epoch-record.ts";
import { MemoryEpochLog } from "../../../src/bus/memory-epoch-log.ts";
import { type Assignment, assignShards } from "../../../src/placement/assignment.ts";
import { earlierEpochsMax } from "../../../src/placement/epoch-log.ts";

const members = [
  { name: "tracker1", endpoint: "10.77.0.31:7410" },
  { name: "tracker2", endpoint: "unix:/run/baton/tracker2" },
];
const byHand = {
  epoch: 2,
  members,
  shards: [
    { primary: "tracker1", standby: "tracker2" },
    { primary: "tracker2", pinned: true },
  ],
};
const bytes = (value: unknown): Uint8Array => Buffer.from(typeof value === "string" ? value : JSON.stringify(value));
const read = (value: unknown, epoch = 2n, shards = 2) => decodeEpoch(epoch, bytes(value), shards);
const message = (value: unknown, epoch = 2n, shards = 2): string => {
  const decoded = read(value, epoch, shards);
  return decoded.ok ? "" : decoded.message;
};

describe("an epoch record", () => {
  const [tracker1, tracker2] = members;

  test("may be written by hand, with keys that nobody knows", () => {
    expect(read({ ...byHand, why: "maintenance" })).toEqual({
      ok: true,
      value: {
        epoch: 2n,
        holders: [
          { primary: tracker1, standby: tracker2 },
          { primary: tracker2, pinned: true },
        ],
      },
    });
  });

  test("comes back as it was written", () => {
    const assignment = assignShards(7n, 32, members);
    expect(decodeEpoch(7n, encodeEpoch(assignment, "w"), 32)).toEqual({ ok: true, value: assignment });
  });

  test("names addresses with several buckets, as an operator may do by hand", () => {
    const buckets = { "203.0.113.10": { buckets: 2, generation: 3, before: 1 } };
    const layouts = new Map([["203.0.113.10", { buckets: 2, generation: 3, before: 1 }]]);
    const decoded = read({ ...byHand, buckets });
    expect(decoded).toMatchObject({ ok: true, value: { layouts } });
    if (decoded.ok) expect(decodeEpoch(2n, encodeEpoch(decoded.value, "w"), 2)).toEqual(decoded);
  });

  test("leaves layouts as they are in the epoch before, where it does not name them or has older ones (K5)", () => {
    const mirror = new EpochMirror({ shards: 2, onMalformed: () => undefined });
    const [one, two] = ["203.0.113.10", "203.0.113.11"];
    const moving = { buckets: 2, generation: 3, before: 1 };
    const settled = { buckets: 2, generation: 3 };
    const take = (epoch: number, buckets?: object) =>
      mirror.apply(epochKey(BigInt(epoch)), bytes({ ...byHand, epoch, ...(buckets && { buckets }) }));
    const layouts = () => Object.fromEntries(mirror.current?.layouts ?? []);
    take(2, { [one]: moving, [two]: settled });
    take(3);
    expect(layouts()).toEqual({ [one]: moving, [two]: settled });
    take(4, { [one]: settled, [two]: { buckets: 1, generation: 2 } });
    expect(layouts()).toEqual({ [one]: settled, [two]: settled });
    take(5, { [one]: moving });
    expect(layouts()).toEqual({ [one]: settled, [two]: settled });
    expect(mirror.earlier).toHaveLength(3);
  });

  test("that moves flows without saying from where is refused, unless the one before is not known (K5)", () => {
    const told: string[] = [];
    const mirror = new EpochMirror({ shards: 2, onMalformed: (key, why) => told.push(`${key} ${why}`) });
    const take = (epoch: number, layout: object) =>
      mirror.apply(epochKey(BigInt(epoch)), bytes({ ...byHand, epoch, buckets: { "203.0.113.10": layout } }));
    take(2, { buckets: 2, generation: 3 });
    expect(mirror.current?.epoch).toBe(2n);
    take(3, { buckets: 1, generation: 4 });
    take(4, { buckets: 1, generation: 4 });
    expect(mirror.current?.epoch).toBe(2n);
    expect(told).toEqual(
      [3, 4].map((n) => `epoch.${n} buckets.203.0.113.10.before: expected 2, as in epoch 2, found none`),
    );
    take(5, { buckets: 1, generation: 4, before: 2 });
    take(6, { buckets: 1, generation: 4 });
    expect(mirror.current?.epoch).toBe(6n);
    take(9, { buckets: 2, generation: 5 });
    expect(mirror.current?.epoch).toBe(9n);
  });

  test.each<[string, unknown, string]>([
    [
      "with buckets of what is no address",
      { ...byHand, buckets: { x: { buckets: 1, generation: 1 } } },
      "canonical form",
    ],
    [
      "with an address in another form than the one in which it is compared",
      { ...byHand, buckets: { "2001:DB8::1": { buckets: 1, generation: 1 } } },
      "canonical form",
    ],
    [
      "with more buckets than shards",
      { ...byHand, buckets: { "203.0.113.10": { buckets: 3, generation: 1 } } },
      "buckets.203.0.113.10: expected at most 2",
    ],
    [
      "with no bucket before",
      { ...byHand, buckets: { "203.0.113.10": { buckets: 2, generation: 1, before: 0 } } },
      "buckets.203.0.113.10.before",
    ],
    [
      "with a layout of no generation",
      { ...byHand, buckets: { "203.0.113.10": { buckets: 2 } } },
      "buckets.203.0.113.10.generation",
    ],
    ["that is not JSON", "{", "not JSON"],
    ["of another number than its key", { ...byHand, epoch: 3 }, "epoch: expected 2"],
    ["without members", { ...byHand, members: [] }, "members"],
    ["with two members of one name", { ...byHand, members: [members[0], members[0]] }, "same name"],
    [
      "with two members at one endpoint",
      { ...byHand, members: [members[0], { ...members[0], name: "x" }] },
      "same endpoint",
    ],
    [
      "with an endpoint that is none",
      { ...byHand, members: [{ name: "tracker1", endpoint: "x" }] },
      "members.0.endpoint",
    ],
    [
      "with a member that nobody knows",
      { ...byHand, shards: [{ primary: "x" }, { primary: "tracker1" }] },
      "shards.0.primary: x",
    ],
    [
      "with one member twice",
      { ...byHand, shards: [byHand.shards[0], { primary: "tracker1", standby: "tracker1" }] },
      "same member",
    ],
    ["for another number of shards", { ...byHand, shards: [byHand.shards[0]] }, "expected 2 entries, found 1"],
    ["that is too large", " ".repeat(epochRecordBytesMax + 1), "bytes"],
    ["that is a list", [], "the whole"],
  ])("%s is refused, with the place and the reason", (_, value, reason) => {
    expect(message(value)).toContain(reason);
  });

  test("has a key with a whole number from 1 on", () => {
    expect(epochOfKey(epochKey(12n))).toBe(12n);
    expect(["epoch.0", "epoch.01", "epoch.x", "epoch.1.2", "epoch.9999999999999999"].map(epochOfKey)).toEqual(
      Array(5).fill(undefined),
    );
  });
});

describe("the mirror of the records", () => {
  const told: string[] = [];
  const mirror = (remembered?: Assignment) =>
    new EpochMirror({ shards: 2, onMalformed: (key, reason) => told.push(`${key} ${reason}`), remembered });
  const of = (epoch: bigint) => ({ ...assignShards(epoch, 2, members), epoch });
  const apply = (to: EpochMirror, epoch: bigint) => to.apply(epochKey(epoch), encodeEpoch(of(epoch), "w"));

  test("goes by the highest number, whatever order they come in, and remembers some before it", () => {
    const it = mirror();
    for (const epoch of [3n, 1n, 2n]) apply(it, epoch);
    expect(it.current?.epoch).toBe(3n);
    expect(it.earlier.map(({ epoch }) => epoch)).toEqual([2n, 1n]);
    for (let epoch = 4n; epoch < 30n; epoch++) apply(it, epoch);
    expect(it.earlier).toHaveLength(earlierEpochsMax);
  });

  test("tells of each malformed record once, and never goes by it", () => {
    told.length = 0;
    const it = mirror();
    apply(it, 1n);
    for (let times = 0; times < 2; times++) it.apply("epoch.2", bytes("nonsense"));
    it.apply("epoch.0", bytes("nonsense"));
    expect(it.current?.epoch).toBe(1n);
    expect(it.highest).toBe(2n);
    expect(told).toEqual(["epoch.2 not JSON", expect.stringContaining("epoch.0 expected a key")]);
  });

  test("keeps what it knew when the store has lost it", () => {
    const it = mirror(of(5n));
    apply(it, 3n);
    expect(it.current?.epoch).toBe(5n);
  });

  test("tells each change once to everyone who follows, of several at once the last", async () => {
    const it = mirror();
    const signal = AbortSignal.timeout(10_000);
    const changes = it.changes(signal);
    apply(it, 1n);
    apply(it, 2n);
    expect((await changes.next()).value.epoch).toBe(2n);
    const next = changes.next();
    apply(it, 2n);
    apply(it, 3n);
    expect((await next).value.epoch).toBe(3n);
  });
});

describe("a log of epochs", () => {
  const { signal } = new AbortController();
  const of = (epoch: bigint) => assignShards(epoch, 2, members);

  test("lets one of several create a number, and the others see what it has decided", async () => {
    const log = new MemoryEpochLog({ shards: 2 });
    const created = await Promise.all([1, 2, 3].map(() => log.create(of(1n), signal)));
    expect(created.sort()).toEqual(["created", "taken", "taken"]);
    expect(log.current?.epoch).toBe(1n);
    expect(await log.create(of(1n), signal)).toBe("taken");
  });

  test("passes over numbers that are wasted by records nobody can read", async () => {
    const log = new MemoryEpochLog({ shards: 2 });
    await log.create(of(1n), signal);
    log.write("epoch.2", bytes("nonsense"));
    log.write("epoch.3", bytes("nonsense"));
    expect(await log.create(of(2n), signal)).toBe("created");
    expect(log.current?.epoch).toBe(4n);
  });
});
