/** Reads the fence that stands in the kernel; fence-table.ts of the data plane says how it is written. */
import { fenceTableName, parseFenceListing } from "../dataplane/fence-table.ts";
import { tableName } from "../dataplane/names.ts";
import { type Fence, isSameFence } from "../node/fence.ts";
import type { Nftables } from "./nftables.ts";

/** Undefined: baton's tables are not in this kernel, or a version that can't be read wrote them. */
export function readFence(nftables: Nftables): Fence | undefined {
  if (!hasTable(nftables, fenceTableName)) return undefined;
  const listing = nftables.run(`list table ${fenceTableName}`);
  if (!listing.ok) throw new Error(`can't read the fence from the kernel: ${listing.message}`);
  return parseFenceListing(listing.output);
}

/**
 * The rules are there, under the fence with which they were written. False: somebody has flushed the ruleset, as a reload
 * of a host's own rules does (invariant D15). A fraction of a millisecond.
 */
export function standsUnder(nftables: Nftables, fence: Fence | undefined): boolean {
  return hasTable(nftables, tableName) && isSameFence(readFence(nftables), fence);
}

/** @param table family and name: "inet baton" */
export function hasTable(nftables: Nftables, table: string): boolean {
  const tables = nftables.run("list tables");
  if (!tables.ok) throw new Error(`can't list the kernel's tables: ${tables.message}`);
  return tables.output.split("\n").includes(`table ${table}`);
}
