/**
 * The fence of what stands in the kernel, kept in the kernel: the comment of a table of its own, and, for the comment has
 * no room for it, the name of the lease as the name of a chain that nothing leads to.
 *
 * Written in the same transaction as the rules, so that rules and fence can't disagree, whenever the process dies.
 * A table's comment can't be changed, so each write replaces the table; nothing in it is on a packet's way.
 */
import type { Fence } from "../node/fence.ts";

export const fenceTableName = "inet baton_fence";

/** Longest comment that nft takes, bytes. */
const commentMax = 128;
const leaderName = /^[A-Za-z0-9._-]{1,63}$/;
const leaseId = /^[0-9a-f]{24}$/;
const listedLease = /\bchain lease_([0-9a-f]{24}) /;
const listedComment = /\bcomment "(\d+) ([A-Za-z0-9._-]+) (\d+) ([A-Za-z0-9_-]{43})"/;

/** Why a fence can't be written; undefined: it can. */
export function checkFence(fence: Fence): string | undefined {
  if (!leaderName.test(fence.leader)) return `leader ${JSON.stringify(fence.leader)} is not a name`;
  if (!/^[0-9a-f]{64}$/.test(fence.digest)) return "the digest is not 64 hexadecimal digits";
  if (fence.lease !== undefined && !leaseId.test(fence.lease)) return "the lease is not 24 hexadecimal digits";
  const { length } = commentOf(fence);
  return length <= commentMax ? undefined : `the fence takes ${length} characters; the kernel keeps ${commentMax}`;
}

/** Commands for the end of a transaction. Throws where {@link checkFence} would complain. */
export function renderFence(fence: Fence): string {
  const fault = checkFence(fence);
  if (fault !== undefined) throw new RangeError(fault);
  const chain = fence.lease === undefined ? "" : `add chain ${fenceTableName} lease_${fence.lease}\n`;
  return `${removeFence}add table ${fenceTableName} { comment "${commentOf(fence)}"; }\n${chain}`;
}

/** Removes the fence, also where there is none. */
export const removeFence = `add table ${fenceTableName}\ndelete table ${fenceTableName}\n`;

/** Reads `list table inet baton_fence`; undefined: there is no fence in it that this version wrote. */
export function parseFenceListing(listing: string): Fence | undefined {
  const match = listedComment.exec(listing);
  if (match === null) return undefined;
  const [, term = "", leader = "", generation = "", digest = ""] = match;
  const hex = Array.from(atob(digest.replaceAll("-", "+").replaceAll("_", "/")), hexOf).join("");
  const lease = listedLease.exec(listing)?.[1];
  return { term: BigInt(term), leader, ...(lease && { lease }), generation: BigInt(generation), digest: hex };
}

/** The digest in base64url, for hexadecimal leaves too little room. */
function commentOf(fence: Fence): string {
  const bytes = fence.digest.match(/../g) ?? [];
  const base64 = btoa(String.fromCharCode(...bytes.map((pair) => Number.parseInt(pair, 16))));
  const digest = base64.replaceAll("+", "-").replaceAll("/", "_").replace("=", "");
  return `${fence.term} ${fence.leader} ${fence.generation} ${digest}`;
}

function hexOf(character: string): string {
  return character.charCodeAt(0).toString(16).padStart(2, "0");
}
