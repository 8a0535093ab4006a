/** This coordinator's part in placing shards: from members to the next epoch, and the news of it. */
import type { Bus } from "../../src/bus/bus.ts";
import { announceClusterEvent } from "../../src/bus/cluster-events.ts";
import type { Membership } from "../../src/cluster/membership.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";
import { type Move, moveText } from "../../src/placement/move.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort } from "../../src/runtime/retry.ts";
import { TrackerCandidates } from "../../src/tracker/candidates.ts";
import type { Peers } from "../../src/tracker/peers.ts";
import { Placer } from "../../src/tracker/placer.ts";

export interface PlacingOptions {
  /** Of this coordinator. */
  readonly name: string;
  readonly shards: number;
  readonly epochs: EpochLog;
  readonly membership: Membership;
  readonly peers: Peers;
  readonly bus: Pick<Bus, "announce">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random: () => number;
  readonly onMove: (move: Move) => void;
  /** How long a cluster without an epoch is left to its dedicated trackers to begin; milliseconds. */
  readonly beginMs?: number;
}

const defaultBeginMs = 30_000;

/** Until the signal aborts. Throws what placement can't go on after. */
export async function placeShards(options: PlacingOptions, signal: AbortSignal): Promise<void> {
  const { name, bus, clock, onMove, beginMs = defaultBeginMs, ...parts } = options;
  const candidates = new TrackerCandidates(parts);
  const placer = new Placer({
    ...parts,
    candidates,
    clock,
    onMoves: (epoch, moves) => {
      for (const move of moves) {
        onMove(move);
        announceClusterEvent(bus, "shard-placed", fieldsOf(move, epoch, name), clock.nowMs());
      }
    },
  });
  try {
    await hasBegun(options.epochs, beginMs, signal);
    await Promise.all([candidates.run(signal), placer.run(signal)]);
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}

/**
 * A cluster begins with the trackers of its configuration (H10), not with those that gossip happens to know by then. Where
 * none of them begins, there are agents that may host at the most, and these wait to be named.
 */
async function hasBegun(epochs: EpochLog, beginMs: number, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.timeout(beginMs);
  try {
    for await (const _ of epochs.changes(AbortSignal.any([signal, limit]))) return;
  } catch (error) {
    signal.throwIfAborted();
    if (!isAbort(error, limit)) throw error;
  }
}

function fieldsOf(move: Move, epoch: bigint, by: string): Readonly<Record<string, string | number>> {
  const { shard, role, from, to, reason } = move;
  const ends = { ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
  return { shard, epoch: Number(epoch), by, role, ...ends, reason: reason.kind, text: moveText(move) };
}
