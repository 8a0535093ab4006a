/** Configuration of a tracker. */
import { z } from "zod";
import { gossipField } from "../../src/cluster/config.ts";
import { shardsMax } from "../../src/flow/events.ts";
import { endpointField, listenField, nameField, natsField } from "../../src/rpc/config-fields.ts";
import { logLevels } from "../../src/runtime/log.ts";
import { rebuildField, streamField } from "../../src/tracker/setup.ts";

const trackersMax = 64;

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
    stream: streamField,
    rebuild: rebuildField,
    /** closed: it keeps the shards that it has, and is given no more. */
    hosting: z.enum(["ready", "closed"]).default("ready"),
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
