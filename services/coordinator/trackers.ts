/** The trackers, as the coordinator's core and its calls need them. */
import type { FlowAges } from "../../src/coordinator/coordinator.ts";
import type { TrackerPort } from "../../src/coordinator/ports.ts";
import type { IpAddress } from "../../src/flow/address.ts";
import type { TrackerClient } from "../../src/rpc/tracker-client.ts";

/** For one barrier; the machine asks again. */
const barrierDeadlineMs = 4_000;
const countDeadlineMs = 2_000;
/** Flows whose ages a preview reads; with more, ages are left out. */
const agesMax = 10_000;

export function trackerPort(trackers: TrackerClient): TrackerPort {
  return {
    async barrier(positions, signal) {
      const outcome = await trackers.barrier(positions, { signal, deadlineMs: barrierDeadlineMs });
      if (!outcome.reached)
        throw new Error(`shards ${outcome.behind.join(", ")} are behind, or their trackers are away`);
    },
    async count(address, owner, signal) {
      const { counts, complete } = await trackers.count({ address }, { signal, deadlineMs: countDeadlineMs });
      if (!complete) return undefined;
      return counts.filter((count) => count.owner === owner).reduce((sum, { flows }) => sum + flows, 0);
    },
  };
}

/** Throws when no tracker answers. */
export async function flowAges(
  trackers: TrackerClient,
  address: IpAddress,
  owner: string,
  nowMs: number,
  signal: AbortSignal,
): Promise<FlowAges> {
  const { counts } = await trackers.count({ address }, { signal, deadlineMs: countDeadlineMs });
  const flows = counts.filter((count) => count.owner === owner).reduce((sum, count) => sum + count.flows, 0);
  if (flows === 0 || flows > agesMax) return { flows };
  const ages: number[] = [];
  for await (const page of trackers.list({ address, owner, limit: agesMax }, { signal, deadlineMs: countDeadlineMs }))
    ages.push(...page.map(({ openedAtMs }) => Math.max(0, nowMs - openedAtMs)));
  ages.sort((a, b) => a - b);
  const [median, oldest] = [ages[ages.length >> 1], ages.at(-1)];
  return {
    flows,
    ...(median !== undefined && { medianAgeMs: median }),
    ...(oldest !== undefined && { oldestAgeMs: oldest }),
  };
}
