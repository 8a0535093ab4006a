/** What an agent and the tracker in the process beside it tell each other, over the channel that both were born with. */
import { z } from "zod";
import { shardsMax } from "../flow/events.ts";

/** To the agent, every {@link reportMs}. The first message to the tracker is its setup; there is no other. */
export const hostedReport = z.strictObject({
  /** Of which it has copies, or parts of copies. */
  shards: z.array(z.int().min(0).max(shardsMax)).max(shardsMax),
  /** The newest that it goes by; absent: none is known. */
  epoch: z.bigint().optional(),
  /** Of its process, 0 to 1; see load.ts of the cluster. */
  load: z.number().min(0).max(1),
  /** Why it should not be asked yet; empty: it is ready. */
  notReady: z.array(z.string().max(10_000)).max(16),
});

export type HostedReport = z.infer<typeof hostedReport>;

export const reportMs = 500;
