/**
 * `baton.cluster.<event>`: what changes among shards, as JSON; kept by the stream of members' changes, if it gets there.
 *
 *     { "event": "shard-serving", "at": "2026-01-01T00:00:00.000Z", "shard": 7, "tracker": "tracker2", "epoch": 3 }
 */
import type { Bus } from "./bus.ts";

/** `event`: lower-case words with hyphens between. */
export function announceClusterEvent(
  bus: Pick<Bus, "announce">,
  event: string,
  fields: Readonly<Record<string, string | number | boolean>>,
  atMs: number,
): void {
  const text = JSON.stringify({ event, at: new Date(atMs).toISOString(), ...fields });
  bus.announce(`baton.cluster.${event}`, Buffer.from(text));
}
