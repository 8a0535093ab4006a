/** A tracker's process: its configuration, and its own place among the members. */
import { ClusterMembership, type Offer } from "../../src/cluster/membership.ts";
import { assignShards } from "../../src/placement/assignment.ts";
import type { HostingReadiness } from "../../src/placement/candidate.ts";
import { loadConfig, printConfig } from "../../src/runtime/config.ts";
import { onDrainSignal } from "../../src/runtime/lifetime.ts";
import { createLog, type Logger } from "../../src/runtime/log.ts";
import { type TrackerConfig, trackerConfigSchema } from "./config.ts";
import { serveTracker } from "./service.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly printConfig: boolean;
  readonly signal: AbortSignal;
}

/** What a cluster begins with: computed from the configuration by whichever tracker comes first. */
const firstEpoch = 1n;

/** The process's exit code. */
export async function run(options: RunOptions): Promise<number> {
  const loaded = loadConfig(trackerConfigSchema, options.configFile, process.env);
  if (!loaded.ok) {
    process.stderr.write(`${loaded.errors.join("\n")}\n`);
    return 2;
  }
  if (options.printConfig) {
    process.stdout.write(printConfig(trackerConfigSchema, loaded.value));
    return 0;
  }
  const log = createLog({ service: "tracker", name: loaded.value.name, level: loaded.value.log.level });
  await serve(loaded.value, log, options.signal);
  return 0;
}

async function serve(config: TrackerConfig, log: Logger, signal: AbortSignal): Promise<void> {
  const { trackers, gossip: section, hosting, ...own } = config;
  const endpoint = trackers.find(({ name }) => name === own.name)?.endpoint ?? "";
  const offer: Offer = { roles: ["tracker"], services: { grpc: endpoint }, hosting };
  let readiness: HostingReadiness = hosting;
  let membership: ClusterMembership | undefined;
  // From the start: a signal that nobody heeds ends the process.
  onDrainSignal(log, () => {
    readiness = "draining";
    membership?.offer({ ...offer, hosting: readiness });
  });
  const openMembership = async (): Promise<ClusterMembership> => {
    membership = await ClusterMembership.open({ ...offer, hosting: readiness, name: own.name, section, log });
    return membership;
  };
  const first = assignShards(firstEpoch, own.shards, trackers);
  await serveTracker({ setup: { ...own, endpoint }, first, openMembership, log }, signal);
}
