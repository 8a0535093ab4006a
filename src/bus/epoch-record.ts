/**
 * The key `epoch.<n>` of the bucket `baton`: an assignment as JSON that an operator can write by hand.
 *
 *     { "epoch": 2,
 *       "members": [{ "name": "tracker1", "endpoint": "10.77.0.31:7410" }, …],
 *       "shards": [{ "primary": "tracker1", "standby": "tracker2", "pinned": true }, …],
 *       "buckets": { "203.0.113.10": { "buckets": 4, "generation": 1, "before": 1 } } }
 *
 * `shards` has an entry for every shard, in order; `standby` and `pinned` may be left out. So may `buckets`, which names the
 * addresses that have, or had, more than one bucket; `before` is there while flows may still lie as they did before. Other keys are left alone, so
 * that a later version may add some.
 */
import { z } from "zod";
import { type IpAddress, parseIpAddress } from "../flow/address.ts";
import { shardsMax } from "../flow/events.ts";
import { type Assignment, holdersOf, type ShardHolders, type Tracker } from "../placement/assignment.ts";
import { bucketsMax, type Layout, type LayoutMap, layoutGenerationMax, layoutsMax } from "../placement/layout.ts";
import { endpointField } from "../rpc/config-fields.ts";
import { nameCharactersMax } from "../rpc/limits.ts";

/** NATS takes messages of up to 1 MiB unless it is told otherwise. */
export const epochRecordBytesMax = 1_000_000;
/** Trackers of a cluster. */
export const epochMembersMax = 64;
export const epochKeys = "epoch.*";

const keyForm = /^epoch\.([1-9]\d{0,14})$/;
const name = z
  .string()
  .max(nameCharactersMax)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "a member's name");

const bucketCount = z.int().min(1).max(bucketsMax);
const layout = z.object({
  buckets: bucketCount,
  generation: z.int().min(1).max(layoutGenerationMax),
  before: bucketCount.optional(),
});

const record = z.object({
  epoch: z.int().min(1),
  members: z
    .array(z.object({ name, endpoint: endpointField }))
    .min(1)
    .max(epochMembersMax),
  shards: z
    .array(z.object({ primary: name, standby: name.optional(), pinned: z.boolean().optional() }))
    .min(1)
    .max(shardsMax),
  buckets: z.record(z.string(), layout).optional(),
});

export type DecodedEpoch =
  | { readonly ok: true; readonly value: Assignment }
  | { readonly ok: false; readonly message: string };

export function epochKey(epoch: bigint): string {
  return `epoch.${epoch}`;
}

/** The number that a key names; undefined: it is no epoch's. */
export function epochOfKey(key: string): bigint | undefined {
  const number = keyForm.exec(key)?.[1];
  return number === undefined ? undefined : BigInt(number);
}

/** `writer` tells this record from the same one by somebody else. */
export function encodeEpoch({ epoch, holders, layouts }: Assignment, writer: string): Uint8Array {
  const members = new Map(
    holders.flatMap((_, shard) => holdersOf({ epoch, holders }, shard)).map((it) => [it.name, it]),
  );
  const shards = holders.map(({ primary, standby, pinned }) => ({
    primary: primary.name,
    ...(standby !== undefined && { standby: standby.name }),
    ...(pinned && { pinned }),
  }));
  const list = [...members.values()].map(({ name, endpoint }) => ({ name, endpoint }));
  const buckets = layouts !== undefined && layouts.size > 0 ? { buckets: Object.fromEntries(layouts) } : {};
  return Buffer.from(JSON.stringify({ epoch: Number(epoch), members: list, shards, ...buckets, writer }));
}

/** `shards`: how many the cluster has, for its whole life. */
export function decodeEpoch(epoch: bigint, data: Uint8Array, shards: number): DecodedEpoch {
  if (data.length > epochRecordBytesMax) return fault(`${data.length} bytes; at most ${epochRecordBytesMax}`);
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(data).toString("utf8"));
  } catch {
    return fault("not JSON");
  }
  const parsed = record.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fault(`${issue?.path.join(".") || "the whole"}: ${issue?.message ?? "not valid"}`);
  }
  const { members, shards: entries, epoch: stated } = parsed.data;
  if (BigInt(stated) !== epoch) return fault(`epoch: expected ${epoch} as in the key, found ${stated}`);
  if (entries.length !== shards) return fault(`shards: expected ${shards} entries, found ${entries.length}`);
  const byName = new Map(members.map((member) => [member.name, member]));
  if (byName.size !== members.length) return fault("members: two have the same name");
  if (new Set(members.map(({ endpoint }) => endpoint)).size !== members.length)
    return fault("members: two have the same endpoint");
  const layouts = readLayouts(parsed.data.buckets ?? {}, shards);
  if (!layouts.ok) return layouts;
  const read = readHolders(epoch, entries, byName);
  return read.ok && layouts.value.size > 0 ? { ok: true, value: { ...read.value, layouts: layouts.value } } : read;
}

function readLayouts(
  entries: Readonly<Record<string, z.infer<typeof layout>>>,
  shards: number,
): { readonly ok: true; readonly value: LayoutMap } | { readonly ok: false; readonly message: string } {
  const layouts = new Map<IpAddress, Layout>();
  const named = Object.entries(entries);
  if (named.length > layoutsMax)
    return fault(`buckets: expected at most ${layoutsMax} addresses, found ${named.length}`);
  for (const [text, { buckets, generation, before }] of named) {
    const address = parseIpAddress(text);
    if (address !== text) return fault(`buckets: expected addresses in their canonical form, found ${text}`);
    const most = Math.max(buckets, before ?? 1);
    if (most > shards) return fault(`buckets.${text}: expected at most ${shards}, one for each shard, found ${most}`);
    layouts.set(address, { buckets, generation, ...(before !== undefined && { before }) });
  }
  return { ok: true, value: layouts };
}

type Entry = z.infer<typeof record>["shards"][number];

function readHolders(epoch: bigint, entries: readonly Entry[], members: ReadonlyMap<string, Tracker>): DecodedEpoch {
  const holders: ShardHolders[] = [];
  for (const [shard, entry] of entries.entries()) {
    const primary = members.get(entry.primary);
    if (primary === undefined) return fault(`shards.${shard}.primary: ${entry.primary} is not among the members`);
    const pinned = entry.pinned === true ? { pinned: true as const } : {};
    if (entry.standby === undefined) {
      holders.push({ primary, ...pinned });
      continue;
    }
    const standby = members.get(entry.standby);
    if (standby === undefined) return fault(`shards.${shard}.standby: ${entry.standby} is not among the members`);
    if (standby === primary) return fault(`shards.${shard}: primary and standby are the same member`);
    holders.push({ primary, standby, ...pinned });
  }
  return { ok: true, value: { epoch, holders } };
}

function fault(message: string): { readonly ok: false; readonly message: string } {
  return { ok: false, message };
}
