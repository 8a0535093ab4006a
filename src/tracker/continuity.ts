/** Whether what a store holds is this stream's past, or must be built anew. */
import { createHash } from "node:crypto";
import type { StreamRange } from "../bus/bus.ts";
import type { Position } from "./record.ts";

const fingerprintBytes = 16;

export type StoreVerdict = { readonly kind: "continue" } | { readonly kind: "rebuild"; readonly reason: string };

export function fingerprintOf(data: Uint8Array): Uint8Array {
  return createHash("sha256").update(data).digest().subarray(0, fingerprintBytes);
}

/** `message`: what the stream holds at the store's position, if anything. */
export function judgeStore(
  position: Position | undefined,
  range: StreamRange,
  message: Uint8Array | undefined,
): StoreVerdict {
  const applied = position?.sequence ?? 0n;
  if (applied > range.last) return rebuild(`the store has applied ${applied}, and the stream ends at ${range.last}`);
  if (applied + 1n < range.first)
    return rebuild(`the store has applied ${applied}, and the stream begins at ${range.first}: messages have expired`);
  if (position === undefined || applied === 0n || applied < range.first) return { kind: "continue" };
  if (message === undefined) return rebuild(`the stream has no message ${applied}, which the store has applied`);
  if (!Buffer.from(fingerprintOf(message)).equals(position.fingerprint))
    return rebuild(`message ${applied} of the stream is another than the one that the store has applied`);
  return { kind: "continue" };
}

function rebuild(reason: string): StoreVerdict {
  return { kind: "rebuild", reason };
}
