/**
 * Gives up the layout before, once all flows of an address have moved (SPEC K6): every agent that has a part in it has told
 * them, and every tracker that the epoch names for one of its shards has them stored. Only the leader knows the agents.
 */
import type { Bus } from "../../src/bus/bus.ts";
import { announceClusterEvent } from "../../src/bus/cluster-events.ts";
import type { Leader } from "../../src/coordinator/leader.ts";
import { toldPositions } from "../../src/coordinator/moved-flows.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { ShardPosition } from "../../src/node/state.ts";
import { type Assignment, holdersOf } from "../../src/placement/assignment.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";
import { type Layout, shardsOf } from "../../src/placement/layout.ts";
import { movingLayouts, settleBuckets } from "../../src/placement/operator-buckets.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import type { Logger } from "../../src/runtime/log.ts";
import { isAbort, sleep } from "../../src/runtime/retry.ts";
import type { PeerReport } from "../../src/tracker/peers.ts";

export interface SettlingOptions {
  /** Of this coordinator. */
  readonly name: string;
  readonly epochs: EpochLog;
  readonly bus: Pick<Bus, "announce">;
  readonly leader: () => Pick<Leader, "cluster"> | undefined;
  /** Of every tracker that answers. */
  readonly reports: (signal: AbortSignal) => Promise<readonly PeerReport[]>;
  readonly log: Logger;
}

/** Between two looks, while anything moves. */
const lookMs = 500;
const createMaxMs = 5_000;

/** Until the signal aborts. */
export async function settleLayouts(options: SettlingOptions, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await look(options, signal);
      await sleep(lookMs, signal);
    }
  } catch (error) {
    if (!isAbort(error, signal)) throw error;
  }
}

async function look(options: SettlingOptions, signal: AbortSignal): Promise<void> {
  const { epochs, reports, log } = options;
  const moving = epochs.current === undefined ? [] : movingLayouts(epochs.current);
  const told = moving.filter(([address, layout]) => toldNow(options, address, layout) !== undefined);
  if (told.length === 0) return;
  try {
    const known = await reports(signal);
    for (const [address, layout] of told) {
      // Agents may have gone since the trackers were asked, or since the address before was settled.
      const { current } = epochs;
      const positions = toldNow(options, address, layout);
      if (current === undefined || positions === undefined) continue;
      if (haveApplied(current, shardsOf(address, layout, current.holders.length), positions, known))
        await settle(options, address, layout, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    log.warn({ error }, "whether flows have moved is not known now");
  }
}

function toldNow(
  { epochs, leader }: SettlingOptions,
  address: IpAddress,
  layout: Layout,
): readonly ShardPosition[] | undefined {
  const cluster = leader()?.cluster;
  if (epochs.current === undefined || cluster === undefined) return undefined;
  return toldPositions(cluster, address, layout, epochs.current.holders.length);
}

/** Every tracker that is named for one of the shards: also a standby may be asked. */
export function haveApplied(
  assignment: Assignment,
  shards: readonly number[],
  positions: readonly ShardPosition[],
  reports: readonly PeerReport[],
): boolean {
  const wanted = new Map(positions.map(({ shard, sequence }) => [shard, sequence]));
  return shards.every((shard) =>
    holdersOf(assignment, shard).every(({ name }) => {
      const copy = reports.find((report) => report.name === name)?.replicas.get(shard);
      return copy?.phase === "serving" && copy.complete && copy.applied >= (wanted.get(shard) ?? 0n);
    }),
  );
}

async function settle(
  { name, epochs, bus, log }: SettlingOptions,
  address: IpAddress,
  layout: Layout,
  signal: AbortSignal,
): Promise<void> {
  const next = epochs.current && settleBuckets(epochs.current, address, layout);
  if (next === undefined) return;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(createMaxMs)]);
  if ((await epochs.create(next, limit)) === "taken") return;
  const { buckets, generation } = layout;
  const epoch = Number(epochs.current?.epoch ?? next.epoch);
  log.info({ address, buckets, epoch }, "all flows of the address have moved");
  const fields = { address, buckets, generation, epoch, by: name };
  announceClusterEvent(bus, "address-settled", fields, systemClock.nowMs());
}
