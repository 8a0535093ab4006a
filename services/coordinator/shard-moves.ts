/** An operator's moves of shards: the next epoch, or why there is none. */
import type { Bus } from "../../src/bus/bus.ts";
import { announceClusterEvent } from "../../src/bus/cluster-events.ts";
import type { Membership } from "../../src/cluster/membership.ts";
import type { Assignment, Tracker } from "../../src/placement/assignment.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";
import { type Moved, moveShard, trackersOf, unpinShard } from "../../src/placement/operator-move.ts";
import type { ShardMove } from "../../src/rpc/coordinator-server.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import type { Reply } from "../../src/rpc/handler.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { livingTrackers } from "../../src/tracker/candidates.ts";
import { isCaughtUp } from "../../src/tracker/life.ts";
import type { PeerReport } from "../../src/tracker/peers.ts";
import { createNext, type Next } from "./next-epoch.ts";

export interface ShardMovesOptions {
  readonly epochs: EpochLog;
  readonly bus: Pick<Bus, "announce">;
  readonly membership: Pick<Membership, "members">;
  /** Of every tracker that answers. */
  readonly reports: (signal: AbortSignal) => Promise<readonly PeerReport[]>;
  readonly audit: (action: string, entry: Readonly<Record<string, string>>) => void;
}

export class ShardMoves {
  readonly #options: ShardMovesOptions;

  constructor(options: ShardMovesOptions) {
    this.#options = options;
  }

  async order(move: ShardMove, by: string, signal: AbortSignal): Promise<Reply<bigint>> {
    const compute = (current: Assignment): Promise<Next<undefined>> => this.#next(current, move, signal);
    const stored = await createNext(this.#options.epochs, compute, signal);
    if (!stored.ok) return stored;
    this.#tell(move, by, stored.value.epoch);
    return { ok: true, value: stored.value.epoch };
  }

  async #next(current: Assignment, move: ShardMove, signal: AbortSignal): Promise<Next<undefined>> {
    if (move.shard >= current.holders.length)
      return invalid(`shard: expected a number below ${current.holders.length}, found ${move.shard}`);
    if (move.kind === "unpin") return outcome(unpinShard(current, move.shard));
    const reports = await this.#options.reports(signal);
    const target = this.#target(move.to, reports);
    if (target === "draining") return draining(move.to);
    if (target === undefined) return unknownMember(current, move.to, reports);
    const moved = outcome(moveShard(current, move.shard, target));
    if (!("next" in moved)) return moved;
    const isAnyWhole = reports.some(({ replicas }) => {
      const copy = replicas.get(move.shard);
      return (copy?.phase === "serving" || copy?.phase === "leaving") && isCaughtUp({ ...copy, taken: false });
    });
    if (isAnyWhole) return moved;
    return {
      code: "SHARD_BEHIND",
      message: `no copy of shard ${move.shard} is complete and caught up, so there is nothing to move yet: see baton cluster shards`,
    };
  }

  /** One that answers, or an agent whose tracker will once it is named. */
  #target(to: string, reports: readonly PeerReport[]): Tracker | "draining" | undefined {
    const member = livingTrackers(this.#options.membership.members()).find(({ name }) => name === to);
    if (member?.hosting === "draining") return "draining";
    const report = reports.find(({ name }) => name === to);
    const found = report ?? (member?.roles.includes("agent") ? member : undefined);
    return found && { name: found.name, endpoint: found.endpoint };
  }

  #tell(move: ShardMove, by: string, epoch: bigint): void {
    const { bus, audit } = this.#options;
    const to = move.kind === "move" ? { to: move.to } : {};
    announceClusterEvent(
      bus,
      `shard-${move.kind}`,
      { shard: move.shard, epoch: Number(epoch), by, ...to },
      systemClock.nowMs(),
    );
    audit(`shard-${move.kind}`, { shard: String(move.shard), epoch: String(epoch), by, ...to });
  }
}

function outcome(moved: Moved): Next<undefined> {
  return moved.ok ? { next: moved.next, value: undefined } : { code: "NOTHING_TO_MOVE", message: moved.reason };
}

function draining(to: string): DetailedError {
  return { code: "UNKNOWN_MEMBER", message: `${to} gives its shards away, for its host is to go: name another member` };
}

function unknownMember(current: Assignment, to: string, reports: readonly PeerReport[]): DetailedError {
  const answering = reports.map(({ name }) => name).sort();
  const known = trackersOf(current).has(to) ? `${to} does not answer` : `there is no member ${to}`;
  return { code: "UNKNOWN_MEMBER", message: `${known}; those that answer: ${answering.join(", ") || "none"}` };
}

function invalid(message: string): DetailedError {
  return { code: "INVALID_ARGUMENT", message };
}
