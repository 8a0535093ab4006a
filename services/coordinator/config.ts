/** Configuration of a coordinator. */
import { z } from "zod";
import { gossipField } from "../../src/cluster/config.ts";
import { shardsMax } from "../../src/flow/events.ts";
import {
  addressField,
  endpointField,
  listenField,
  nameField,
  natsField,
  prefixField,
} from "../../src/rpc/config-fields.ts";
import { logLevels } from "../../src/runtime/log.ts";

const boundMsMax = 600_000;
const trackersMsMax = 86_400_000;
const sourceLostMsMax = 86_400_000;
const gibibyte = 1_073_741_824;

export const coordinatorConfigSchema = z.strictObject({
  /** Name of the coordinator, unique in the cluster. */
  name: nameField,
  listen: z.array(endpointField).min(1).max(16),
  /** Where nodes and others reach it when it leads; without it, the first of `listen`. */
  advertise: endpointField.optional(),
  trackers: z.array(endpointField).min(1).max(64),
  nats: natsField,
  /** Prefixes of the fabric: traffic whose other end lies there is never touched. */
  fabric: z.array(prefixField).min(1).max(64),
  /** Gateways translate packets to these, or drop them. */
  publicPrefixes: z.array(prefixField).min(1).max(64),
  /** Source of channel proofs; used by nobody. */
  probeSource: addressField.prefault("192.0.2.1"),
  /** Mapped once, when their instance is first seen. */
  addresses: z
    .array(z.strictObject({ address: addressField, instance: nameField, private: addressField.optional() }))
    .max(10_000)
    .default([]),
  /** Shards of the cluster's flow table; the same everywhere, for its whole life. */
  shards: z.int().min(1).max(shardsMax).default(32),
  bounds: z
    .strictObject({
      /** How long the nodes have before the flip; then a remap aborts by itself. */
      preparingMs: z.int().min(100).max(boundMsMax).default(10_000),
      armingMs: z.int().min(100).max(boundMsMax).default(10_000),
      /** How long the trackers then have to apply the source's flows; without it, as long as it takes. */
      trackersMs: z.int().min(100).max(trackersMsMax).optional(),
      /** How long neither agent nor kernel of a draining remap's source may have answered before it counts as lost. */
      sourceLostMs: z.int().min(1_000).max(sourceLostMsMax).default(300_000),
    })
    .prefault({}),
  /** A leader that did not renew its lease for this long is replaced. */
  leaseMs: z.int().min(500).max(60_000).default(3_000),
  store: z
    .strictObject({
      /** Copies of bucket and streams in a cluster of NATS servers. */
      replicas: z.union([z.literal(1), z.literal(3), z.literal(5)]).default(1),
      /** Of the streams of remaps and of the audit, each. */
      streamBytesMax: z.int().min(1_048_576).default(gibibyte),
    })
    .prefault({}),
  /** Its place among the members: src/cluster/config.ts. */
  gossip: gossipField,
  admin: z.strictObject({ listen: listenField }).optional(),
  log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
});

export type CoordinatorConfig = z.infer<typeof coordinatorConfigSchema>;
