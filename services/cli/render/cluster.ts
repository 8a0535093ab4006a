/** Members and shards: as tables, and as JSON. */
import type { Json } from "../../../src/remap/report.ts";
import type { AddressShardsView, MemberView, ShardView } from "../../../src/rpc/cluster-codec.ts";
import { table } from "./table.ts";
import { type Line, type Paint, paint } from "./text.ts";
import { formatCount } from "./units.ts";

const statePaint: Record<MemberView["state"], Paint> = { alive: "green", suspect: "yellow", dead: "red", left: "dim" };

const hostingPaint: Record<NonNullable<MemberView["hosting"]>, Paint> = {
  ready: "green",
  closed: "dim",
  draining: "yellow",
};

export function memberJson(view: MemberView): Json {
  const { name, roles, address, state, load, hosting } = view;
  return { name, roles: [...roles], address, state, load, ...(hosting !== undefined && { hosting }) };
}

export function memberTable(views: readonly MemberView[]): Line[] {
  const rows = views.map((view) => [
    view.name,
    view.roles.join(" "),
    view.address,
    paint(view.state, statePaint[view.state]),
    `${Math.round(view.load * 100)}%`,
    view.hosting === undefined ? "" : paint(view.hosting, hostingPaint[view.hosting]),
  ]);
  return table(["MEMBER", "ROLES", "ADDRESS", "STATE", "LOAD", "HOSTING"], rows, ["LOAD"]);
}

/** `addresses`: with several buckets; those of one shard are named with it. */
export function shardJson(view: ShardView, addresses: readonly AddressShardsView[]): Json {
  const named = addresses.filter(({ shards }) => shards.includes(view.shard));
  return {
    shard: view.shard,
    primary: view.primary,
    standby: view.standby ?? null,
    epoch: Number(view.epoch),
    lag: view.lag,
    flows: view.flows,
    complete: view.complete,
    state: view.state,
    pinned: view.pinned,
    ...(named.length > 0 && { addresses: named.map(bucketJson) }),
  };
}

function bucketJson({ address, layout: { buckets, generation, before } }: AddressShardsView): Json {
  return { address, buckets, generation, ...(before !== undefined && { before }) };
}

/** Nothing, where every address has one bucket. */
export function bucketTable(views: readonly AddressShardsView[]): Line[] {
  if (views.length === 0) return [];
  const rows = views.map(({ address, layout: { buckets, before }, shards }) => [
    address,
    String(buckets),
    shards.toSorted((a, b) => a - b).join(" "),
    before === undefined ? "" : paint(`flows move, from ${before}`, "yellow"),
  ]);
  return [[""], ...table(["ADDRESS", "BUCKETS", "SHARDS", ""], rows, ["BUCKETS"])];
}

export function shardTable(views: readonly ShardView[]): Line[] {
  const rows = views.map((view) => [
    String(view.shard),
    view.primary === "" ? paint("nobody", "red") : view.primary,
    view.standby ?? "",
    String(view.epoch),
    view.lag > 0 ? paint(formatCount(view.lag), "yellow") : "0",
    formatCount(view.flows),
    paint(view.state, view.state === "serving" ? "green" : view.state === "away" ? "red" : "yellow"),
    view.complete ? "" : paint("incomplete", "yellow"),
    view.pinned ? "pinned" : "",
  ]);
  return table(["SHARD", "PRIMARY", "STANDBY", "EPOCH", "LAG", "FLOWS", "STATE", "", ""], rows, [
    "SHARD",
    "EPOCH",
    "LAG",
    "FLOWS",
  ]);
}
