/** Configuration of a tracker. */
import { z } from "zod";
import { gossipField } from "../../src/cluster/config.ts";
import { shardsMax } from "../../src/flow/events.ts";
import { endpointField, listenField, nameField, natsField } from "../../src/rpc/config-fields.ts";
import { logLevels } from "../../src/runtime/log.ts";

const trackersMax = 64;
const dayMs = 86_400_000;
const gibibyte = 1_073_741_824;

export const trackerConfigSchema = z
  .strictObject({
    /** Name of the tracker, unique in the cluster; one of `trackers`. */
    name: nameField,
    listen: z.array(endpointField).min(1).max(16),
    /** Every tracker of the cluster, with the endpoint at which others reach it; the same list everywhere. */
    trackers: z
      .array(z.strictObject({ name: nameField, endpoint: endpointField }))
      .min(1)
      .max(trackersMax),
    nats: natsField,
    /** Holds the database. */
    dataDirectory: z.string().min(1),
    /** Shards of the cluster's flow table; the same everywhere, for its whole life. */
    shards: z.int().min(1).max(shardsMax).default(32),
    stream: z
      .strictObject({
        /** Events older than this are dropped; a tracker that was away for longer asks the instances anew. */
        maxAgeMs: z.int().min(60_000).default(dayMs),
        maxBytes: z.int().min(1_048_576).default(gibibyte),
        /** Copies of the stream in a cluster of NATS servers. */
        replicas: z.union([z.literal(1), z.literal(3), z.literal(5)]).default(1),
      })
      .prefault({}),
    rebuild: z
      .strictObject({
        /** How long instances may take to answer before a shard that was lost counts as whole again. */
        settleMs: z.int().min(0).max(dayMs).default(10_000),
      })
      .prefault({}),
    /** Its place among the members: src/cluster/config.ts. */
    gossip: gossipField,
    admin: z.strictObject({ listen: listenField }).optional(),
    log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
  })
  .refine(({ name, trackers }) => trackers.some((tracker) => tracker.name === name), {
    error: "expected this tracker's name among the trackers",
    path: ["trackers"],
  })
  .refine(({ trackers }) => new Set(trackers.map(({ name }) => name)).size === trackers.length, {
    error: "expected every name once",
    path: ["trackers"],
  });

export type TrackerConfig = z.infer<typeof trackerConfigSchema>;
