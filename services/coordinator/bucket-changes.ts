/** An operator's changes of the number of an address's buckets: the next epoch, or why there is none. */
import type { Bus } from "../../src/bus/bus.ts";
import { announceClusterEvent } from "../../src/bus/cluster-events.ts";
import type { Leader } from "../../src/coordinator/leader.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { Assignment } from "../../src/placement/assignment.ts";
import type { EpochLog } from "../../src/placement/epoch-log.ts";
import type { Layout } from "../../src/placement/layout.ts";
import { setBuckets } from "../../src/placement/operator-buckets.ts";
import type { BucketsSet } from "../../src/rpc/coordinator-server.ts";
import type { DetailedError } from "../../src/rpc/errors.ts";
import type { Reply } from "../../src/rpc/handler.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { createNext, type Next } from "./next-epoch.ts";

export interface BucketChangesOptions {
  readonly epochs: EpochLog;
  readonly bus: Pick<Bus, "announce">;
  /** The leadership of this coordinator; only a leader knows the addresses. */
  readonly leader: () => { readonly cluster: Pick<Leader["cluster"], "inventory"> } | undefined;
  readonly notLeader: () => DetailedError;
  readonly audit: (action: string, entry: Readonly<Record<string, string>>) => void;
}

export class BucketChanges {
  readonly #options: BucketChangesOptions;

  constructor(options: BucketChangesOptions) {
    this.#options = options;
  }

  async order(address: IpAddress, buckets: number, by: string, signal: AbortSignal): Promise<Reply<BucketsSet>> {
    const { epochs, leader, notLeader } = this.#options;
    const leading = leader();
    if (leading === undefined) return { ok: false, error: notLeader() };
    if (!leading.cluster.inventory.addresses.has(address)) {
      const message = `${address} is not mapped: baton addresses list shows all`;
      return { ok: false, error: { code: "UNKNOWN_ADDRESS", message } };
    }
    const stored = await createNext(epochs, async (current) => next(current, address, buckets), signal);
    if (!stored.ok) return stored;
    const { epoch, value: layout } = stored.value;
    this.#tell(address, layout, by, epoch);
    return { ok: true, value: { epoch, layout } };
  }

  #tell(address: IpAddress, { buckets, generation }: Layout, by: string, epoch: bigint): void {
    const { bus, audit } = this.#options;
    const fields = { address, buckets, generation, epoch: Number(epoch), by };
    announceClusterEvent(bus, "address-buckets", fields, systemClock.nowMs());
    audit("address-buckets", {
      address,
      buckets: String(buckets),
      generation: String(generation),
      epoch: String(epoch),
      by,
    });
  }
}

const codes = { bounds: "INVALID_ARGUMENT", nothing: "NOTHING_TO_MOVE", limit: "LIMIT_EXCEEDED" } as const;

function next(current: Assignment, address: IpAddress, buckets: number): Next<Layout> {
  const relaid = setBuckets(current, address, buckets);
  if (relaid.ok) return { next: relaid.next, value: relaid.layout };
  return { code: codes[relaid.why], message: relaid.reason };
}
