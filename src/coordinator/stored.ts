/**
 * What is stored, as JSON: keys, their order, and the validation of whatever is read.
 *
 * Keys: `lease.<term>`, `accepted.<term>`, `remap.<id>.<step>`, `inventory.<n>`; each is created once. The newest step of a
 * remap is the remap; the inventory is the fold of its entries in the order of n. `accepted.<term>` says that this leader may
 * replace whatever terms up to its own have ordered.
 */
import { z } from "zod";
import { type IpAddress, parseIpAddress } from "../flow/address.ts";
import { applyEntry, emptyInventory, type Inventory, type InventoryEntry, subjectOf } from "../inventory/inventory.ts";
import { hookOutcomes } from "../node/status.ts";
import { errorCodes } from "../remap/error.ts";
import { type RemapRecord, switchStages } from "../remap/record.ts";
import { remapPhases } from "../remap/remap.ts";
import type { StoredAudit } from "./ports.ts";
import type { KnownTerm } from "./term-history.ts";

const address = z.string().transform((text, context): IpAddress => {
  const parsed = parseIpAddress(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "expected an IP address", input: text });
  return z.NEVER;
});
const big = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);
const count = z.int().min(0);
const text = z.string().max(4_096);
const channelKind = z.enum(["direct", "vxlan", "ipip", "gre", "wireguard"]);
const endOutcome = z.enum(["completed", "cut", "source-lost", "target-lost"]);
const error = z.strictObject({ code: z.enum(errorCodes), message: text });

const phase = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("preparing") }),
  z.strictObject({ kind: z.literal("arming") }),
  z.strictObject({ kind: z.literal("switching"), stage: z.enum(switchStages) }),
  z.strictObject({ kind: z.literal("draining"), cut: z.boolean(), retiring: z.exactOptional(z.literal(true)) }),
  z.strictObject({
    kind: z.literal("finalizing"),
    outcome: endOutcome,
    released: z.exactOptional(z.literal(true)),
    offline: z.exactOptional(z.literal(true)),
  }),
  z.strictObject({ kind: z.literal("completed"), outcome: endOutcome }),
  z.strictObject({ kind: z.literal("aborting"), why: error }),
  z.strictObject({ kind: z.literal("aborted"), why: error }),
]);

const policy = z.strictObject({
  deadlineMs: z.exactOptional(count),
  onDeadline: z.enum(["cut", "wait", "keep"]),
  lingerMs: count,
  unknown: z.enum(["follow", "drop", "reset"]),
  returnPath: z.enum(["channel", "direct"]),
  channel: z.enum(["auto", ...channelKind.options]),
  follow: z.boolean(),
  offlineSource: z.boolean(),
});

const ownerLink = z.strictObject({
  remap: text,
  owner: text,
  ownerPrivate: address,
  ownerLinkAddress: text,
  targetLinkAddress: text,
  link: z.int().min(1).max(1_023),
  kind: channelKind,
  packetSize: count,
  mtu: count,
  loadAtLeast: z.array(z.strictObject({ shard: count, sequence: big })),
});

const remapRecord: z.ZodType<RemapRecord> = z.strictObject({
  id: text,
  step: z.int().min(1),
  idempotencyKey: text,
  address,
  source: text,
  sourcePrivate: address,
  sourceGeneration: big,
  sourceKernel: z.exactOptional(text),
  target: text,
  targetPrivate: address,
  generation: big,
  requestedBy: text,
  policy,
  owners: z.array(ownerLink),
  phase,
  phaseAtMs: z.partialRecord(z.enum(remapPhases), z.number()),
  provenMtu: count,
  flows: z.strictObject({
    atSwitch: count,
    remaining: count,
    closed: count,
    superseded: count,
    cut: count,
    lost: count,
    newAtTarget: count,
  }),
  traffic: z.array(z.strictObject({ link: z.int(), packets: big, bytes: big, superseded: count })),
  counts: z.array(z.strictObject({ node: text, boot: text, cut: count, superseded: count, opened: count })).default([]),
  switchMs: z.exactOptional(z.number()),
  longestSilenceMs: z.exactOptional(z.number()),
  offline: z.exactOptional(z.strictObject({ outcome: z.enum(hookOutcomes), message: text })),
  remarks: z.exactOptional(z.array(text)),
}) as unknown as z.ZodType<RemapRecord>;

const inventoryEntry: z.ZodType<InventoryEntry> = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("address-set"),
    record: z.strictObject({ address, instance: text, private: address, generation: big }),
  }),
  z.strictObject({ kind: z.literal("address-removed"), address, generation: big }),
  z.strictObject({
    kind: z.literal("node-set"),
    record: z.strictObject({
      name: text,
      kind: z.enum(["agent", "gateway"]),
      privateAddresses: z.array(address),
      version: text,
      firstSeenMs: z.number(),
    }),
  }),
  z.strictObject({ kind: z.literal("node-removed"), name: text }),
]);

const lease = z.strictObject({
  leader: text,
  endpoint: text,
  /** Random, and this lease's own. */
  process: text,
  /** One higher with every renewal. */
  beat: count,
  released: z.boolean(),
});
export type Lease = z.infer<typeof lease>;

export const leaseKey = (term: bigint): string => `lease.${term}`;
export const acceptedKey = (term: bigint): string => `accepted.${term}`;
export const remapKey = (id: string, step: number): string => `remap.${id}.${step}`;
export const inventoryKey = (n: number): string => `inventory.${n}`;

/** The action of an operator that a value was written for. */
const storedAudit = z.object({
  action: z.string().regex(/^[a-z-]{1,64}$/),
  entry: z.record(text, z.union([text, z.number(), z.null()])),
  atMs: z.number(),
});

/** Of what leaders write; others have keys of their own in the bucket. */
const ownKey = /^(remap|inventory|accepted)\./;

/** `writer` makes the value unlike that of anybody else who might try the same key. */
export function encodeEntry(value: unknown, writer: string, audit?: StoredAudit): Uint8Array {
  const json = JSON.stringify({ writer, value, audit }, (_key, item) =>
    typeof item === "bigint" ? item.toString() : item,
  );
  return new TextEncoder().encode(json);
}

export class StoredValueError extends Error {
  override readonly name = "StoredValueError";
}

export function decodeLease(key: string, data: Uint8Array): Lease {
  return decodeEntry(key, data, lease);
}

/** Actions that were stored with what they have led to, oldest first. Throws {@link StoredValueError}. */
export function auditsOf(values: ReadonlyMap<string, Uint8Array>): readonly StoredAudit[] {
  const audits = [...values].flatMap(([key, data]) => {
    if (!ownKey.test(key)) return [];
    const { audit } = decodeEnvelope(key, data, z.unknown());
    return audit === undefined ? [] : [{ ...audit, key }];
  });
  return audits.sort((a, b) => a.atMs - b.atMs);
}

/** Who has written it. Throws {@link StoredValueError}. */
export function writerOf(key: string, data: Uint8Array): string {
  return decodeEnvelope(key, data, z.unknown()).writer;
}

function decodeEntry<T>(key: string, data: Uint8Array, schema: z.ZodType<T>): T {
  return decodeEnvelope(key, data, schema).value;
}

const envelopeForm = z.object({ writer: z.string(), value: z.unknown(), audit: z.exactOptional(storedAudit) });

function decodeEnvelope<T>(key: string, data: Uint8Array, value: z.ZodType<T>) {
  try {
    const envelope = envelopeForm.parse(JSON.parse(new TextDecoder().decode(data)));
    return { ...envelope, value: value.parse(envelope.value) };
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause) : String(cause);
    throw new StoredValueError(`the store's ${key} can't be read: ${reason}. Was it written by a newer version?`);
  }
}

export interface Recovered {
  readonly inventory: Inventory;
  /** Oldest first. */
  readonly remaps: readonly RemapRecord[];
  /** Number of the last inventory entry. */
  readonly lastEntry: number;
  /** Terms that the store has leases of. */
  readonly terms: ReadonlyMap<bigint, KnownTerm>;
  /** States that terms up to this one have ordered are accepted; 0: none. */
  readonly acceptedTerm: bigint;
}

/** Everything from the newest values of all keys. Throws {@link StoredValueError}. */
export function recover(values: ReadonlyMap<string, Uint8Array>): Recovered {
  const remaps = new Map<string, RemapRecord>();
  const entries: { n: number; entry: InventoryEntry }[] = [];
  const terms = new Map<bigint, KnownTerm>();
  let acceptedTerm = 0n;
  for (const [key, data] of values) {
    const [room, name = "", step = ""] = key.split(".");
    if (room === "lease") {
      const { leader, process: own } = decodeLease(key, data);
      terms.set(BigInt(name), { leader, lease: own });
    }
    if (room === "accepted" && BigInt(name) > acceptedTerm) acceptedTerm = BigInt(name);
    if (room === "inventory") entries.push({ n: Number(name), entry: decodeEntry(key, data, inventoryEntry) });
    if (room === "remap" && Number(step) > (remaps.get(name)?.step ?? 0))
      remaps.set(name, decodeEntry(key, data, remapRecord));
  }
  entries.sort((a, b) => a.n - b.n);
  const inventory = entries.reduce((folded, { entry }) => applyEntry(folded, entry), emptyInventory);
  const byAge = [...remaps.values()].sort((a, b) => (a.phaseAtMs.preparing ?? 0) - (b.phaseAtMs.preparing ?? 0));
  return { inventory, remaps: byAge, lastEntry: entries.at(-1)?.n ?? 0, terms, acceptedTerm };
}

/** The newest; of a node that has slept through all of them the store can't tell where its state is from. */
const leasesKept = 1_000;
/** Entries are removed only this far behind the newest. */
const entriesKept = 1_000;

/** Keys that nobody needs any more: old leases, entries that later ones replace, and remaps that are not among `keep`. */
export function obsoleteKeys(values: ReadonlyMap<string, Uint8Array>, keep: ReadonlySet<string>): readonly string[] {
  const { lastEntry, terms, acceptedTerm, remaps } = recover(values);
  const [oldestKept = 0n] = [...terms.keys()].sort((a, b) => (a < b ? 1 : -1)).slice(leasesKept - 1);
  const ended = new Set(
    remaps
      .filter(({ phase: { kind }, id }) => (kind === "completed" || kind === "aborted") && !keep.has(id))
      .map(({ id }) => id),
  );
  const newest = new Map<string, number>();
  const entryOf = (key: string, data: Uint8Array) => subjectOf(decodeEntry(key, data, inventoryEntry));
  for (const [key, data] of values) {
    if (!key.startsWith("inventory.")) continue;
    const subject = entryOf(key, data);
    newest.set(subject, Math.max(newest.get(subject) ?? 0, Number(key.split(".")[1])));
  }
  return [...values].flatMap(([key, data]) => {
    const [room, name = ""] = key.split(".");
    if (room === "lease") return BigInt(name) < oldestKept ? [key] : [];
    if (room === "accepted") return BigInt(name) < acceptedTerm ? [key] : [];
    if (room === "remap") return ended.has(name) ? [key] : [];
    if (room !== "inventory" || Number(name) + entriesKept >= lastEntry) return [];
    return newest.get(entryOf(key, data)) === Number(name) ? [] : [key];
  });
}
