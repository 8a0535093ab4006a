/** A tracker's request for an instance's flows of one shard, as JSON: `{"shard":3,"reason":"…"}`. */

export interface ResyncRequest {
  readonly shard: number;
  /** For logs. */
  readonly reason: string;
}

const reasonCharactersMax = 500;
const requestBytesMax = 4_096;

export function encodeResyncRequest({ shard, reason }: ResyncRequest): Uint8Array {
  return Buffer.from(JSON.stringify({ shard, reason: reason.slice(0, reasonCharactersMax) }));
}

export type DecodedResyncRequest =
  | { readonly ok: true; readonly value: ResyncRequest }
  | { readonly ok: false; readonly message: string };

export function decodeResyncRequest(data: Uint8Array, shards: number): DecodedResyncRequest {
  if (data.length > requestBytesMax) return { ok: false, message: `${data.length} bytes; at most ${requestBytesMax}` };
  let found: unknown;
  try {
    found = JSON.parse(Buffer.from(data).toString("utf8"));
  } catch {
    return { ok: false, message: "not JSON" };
  }
  const { shard, reason } = (found ?? {}) as { shard?: unknown; reason?: unknown };
  if (typeof shard !== "number" || !Number.isInteger(shard) || shard < 0 || shard >= shards)
    return { ok: false, message: `shard: expected a whole number from 0 to ${shards - 1}` };
  if (typeof reason !== "string" || reason.length > reasonCharactersMax)
    return { ok: false, message: `reason: expected at most ${reasonCharactersMax} characters` };
  return { ok: true, value: { shard, reason } };
}
