/** What a tracker is told when it starts, wherever it runs: in a process of its own, or in one beside an agent. */
import { z } from "zod";
import type { LogLevel } from "../runtime/log.ts";

const dayMs = 86_400_000;
const gibibyte = 1_073_741_824;

/** Section `stream` of a configuration. */
export const streamField = z
  .strictObject({
    /** Events older than this are dropped; a tracker that was away for longer asks the instances anew. */
    maxAgeMs: z.int().min(60_000).default(dayMs),
    maxBytes: z.int().min(1_048_576).default(gibibyte),
    /** Copies of the stream in a cluster of NATS servers. */
    replicas: z.union([z.literal(1), z.literal(3), z.literal(5)]).default(1),
  })
  .prefault({});

/** Section `rebuild` of a configuration. */
export const rebuildField = z
  .strictObject({
    /**
     * How long instances may take to answer before a shard that was lost counts as whole again. By default longer than the
     * 10 s within which each one says something of itself, also one that heard no request.
     */
    settleMs: z.int().min(0).max(dayMs).default(15_000),
  })
  .prefault({});

export interface TrackerSetup {
  readonly name: string;
  /** Where others reach it: host:port or unix:PATH. */
  readonly endpoint: string;
  readonly listen: readonly string[];
  readonly nats: { readonly servers: readonly string[] };
  /** Holds the database. */
  readonly dataDirectory: string;
  /** Of the cluster, for its whole life. */
  readonly shards: number;
  readonly stream: z.infer<typeof streamField>;
  readonly rebuild: z.infer<typeof rebuildField>;
  readonly admin?: { readonly listen: { readonly host: string; readonly port: number } } | undefined;
  readonly log: { readonly level: LogLevel };
}
