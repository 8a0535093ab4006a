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

export interface ShardMovesOptions {
  readonly epochs: EpochLog;
  readonly bus: Pick<Bus, "announce">;
  readonly membership: Pick<Membership, "members">;
  /** Of every tracker that answers. */
  readonly reports: (signal: AbortSignal) => Promise<readonly PeerReport[]>;
  readonly audit: (action: string, entry: Readonly<Record<string, string>>) => void;
}

/** Epochs that others create meanwhile; then the operator had better look again. */
const attemptsMax = 8;
const createDeadlineMs = 5_000;

export class ShardMoves {
  readonly #options: ShardMovesOptions;

  constructor(options: ShardMovesOptions) {
    this.#options = options;
  }

  async order(move: ShardMove, by: string, signal: AbortSignal): Promise<Reply<bigint>> {
    const { epochs } = this.#options;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const { current } = epochs;
      if (current === undefined)
        return refuse("STORE_UNAVAILABLE", "no epoch is known yet: is there a tracker that runs?");
      const moved = await this.#next(current, move, signal);
      if (!("next" in moved)) return { ok: false, error: moved };
      const created = await this.#create(moved.next, signal);
      if (created === "away")
        return refuse("STORE_UNAVAILABLE", "NATS did not take the next epoch: see whether it runs, and try again");
      if (created === "taken") continue;
      const epoch = epochs.current?.epoch ?? moved.next.epoch;
      this.#tell(move, by, epoch);
      return { ok: true, value: epoch };
    }
    return refuse("STORE_UNAVAILABLE", `others created ${attemptsMax} epochs meanwhile: try again`);
  }

  async #next(
    current: Assignment,
    move: ShardMove,
    signal: AbortSignal,
  ): Promise<{ readonly next: Assignment } | DetailedError> {
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

  async #create(next: Assignment, signal: AbortSignal): Promise<"created" | "taken" | "away"> {
    const stop = AbortSignal.any([signal, AbortSignal.timeout(createDeadlineMs)]);
    try {
      return await this.#options.epochs.create(next, stop);
    } catch (error) {
      if (!stop.aborted) throw error;
      return "away";
    }
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

function outcome(moved: Moved): { readonly next: Assignment } | DetailedError {
  return moved.ok ? { next: moved.next } : { code: "NOTHING_TO_MOVE", message: moved.reason };
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

function refuse(code: DetailedError["code"], message: string): Reply<never> {
  return { ok: false, error: { code, message } };
}
