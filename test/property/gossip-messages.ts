/** Arbitrary messages within their bounds, for properties of codecs and machines. */
import fc from "fast-check";
import { incarnationMax, type MemberProfile, memberStates, metadataBytesMax } from "../../src/gossip/member.ts";
import type { LoadReport, PacketMessage, StreamMessage, SyncEntry } from "../../src/gossip/message.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const incarnation = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: incarnationMax }));

/** Few names, so that messages meet in the same member. */
export const name = fc.oneof(
  fc.integer({ min: 0, max: 6 }).map((index) => `n${index}`),
  fc.stringMatching(/^[A-Za-z0-9._-]{1,64}$/),
);
const address = fc
  .tuple(
    fc.oneof(fc.ipV4(), fc.constantFrom("[::1]", "[fd00::2]", "[2001:db8:1:2:3:4:5:6]")),
    fc.integer({ min: 1, max: 0xffff }),
  )
  .map(([host, port]) => `${host}:${port}`);
const versions = fc
  .tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 3 }))
  .map((numbers) => numbers.toSorted((one, other) => one - other))
  .map(([min, current, max]) => ({ min: min ?? 0, current: current ?? 0, max: max ?? 0 }));

const profile: fc.Arbitrary<MemberProfile> = fc.record({
  name,
  address,
  metadata: fc.uint8Array({ maxLength: metadataBytesMax }),
  versions,
});
const load = fc.record({ incarnation, version: u32, level: fc.integer({ min: 0, max: 7 }) });
const report: fc.Arbitrary<LoadReport> = fc.tuple(name, load).map(([of, rest]) => ({ name: of, ...rest }));
const state = fc.constantFrom(...memberStates);
const entry: fc.Arbitrary<SyncEntry> = fc.record({ profile, incarnation, state, load });
const entries = fc.array(entry, { maxLength: 8 });

export const packetMessage: fc.Arbitrary<PacketMessage> = fc.oneof(
  fc.record({ kind: fc.constant("ping"), sequence: u32, target: name }),
  fc.record({
    kind: fc.constant("indirect-ping"),
    sequence: u32,
    target: name,
    targetAddress: address,
    nack: fc.boolean(),
  }),
  fc.record({ kind: fc.constantFrom("ack", "nack"), sequence: u32 }),
  fc.record({ kind: fc.constant("alive"), incarnation, profile }),
  fc.record({ kind: fc.constantFrom("suspect", "dead"), incarnation, name, from: name }),
  fc.record({ kind: fc.constant("loads"), reports: fc.array(report, { maxLength: 32 }) }),
);

export const streamMessage: fc.Arbitrary<StreamMessage> = fc.oneof(
  fc.record({ kind: fc.constant("stream-ping"), sequence: u32, target: name }),
  fc.record({ kind: fc.constant("stream-ack"), sequence: u32 }),
  fc.record({
    kind: fc.constant("sync-request"),
    digests: fc.array(u32, { minLength: 64, maxLength: 64 }),
    held: fc.option(fc.record({ name, incarnation, state }), { nil: undefined }),
    self: entry,
  }),
  fc.record({
    kind: fc.constant("sync-reply"),
    buckets: fc.uniqueArray(fc.integer({ min: 0, max: 63 })).map((buckets) => buckets.toSorted((a, b) => a - b)),
    entries,
  }),
  fc.record({ kind: fc.constant("sync-finish"), entries }),
);
