/** Configuration of an agent. */
import { z } from "zod";
import { defaultBufferedMax } from "../../src/bus/flow-publisher.ts";
import { defaultMarkMask, markLayout } from "../../src/dataplane/mark.ts";
import { defaultFlushLimits } from "../../src/flow/flush-window.ts";
import { conntrackReceiveBufferBytes } from "../../src/kernel/conntrack.ts";
import { addressField, endpointField, listenField, nameField, natsField } from "../../src/rpc/config-fields.ts";
import { logLevels } from "../../src/runtime/log.ts";
import { hostingField, seedsOf } from "./hosting/config.ts";

const settings = z.strictObject({
  /** Name of the instance, unique in the cluster. */
  name: nameField,
  coordinators: z.array(endpointField).min(1).max(16),
  trackers: z.array(endpointField).min(1).max(64),
  nats: natsField,
  /** Addresses of this host at which public ones may be mapped, in order of preference. */
  privateAddresses: z.array(addressField).min(1).max(64),
  /** Holds the last desired state and the sysctls to put back. */
  stateDirectory: z.string().min(1),
  admin: z.strictObject({ listen: listenField }).optional(),
  /** Shards of the cluster's flow table; the same everywhere, for its whole life. */
  shards: z.int().min(1).max(4096).default(32),
  /** Bits of the packet mark that are baton's: twelve in a row. */
  markMask: z
    .int()
    .refine((mask) => markLayout(mask) !== undefined, { error: "a mask of 12 contiguous bits, like 0x0fff0000" })
    .default(defaultMarkMask),
  /** How the events of flows are sent. */
  events: z
    .strictObject({
      /** Of the time for which changes gather; 0: sent at once, and no short connection is only counted. */
      windowMinMs: z.int().min(0).max(60_000).default(defaultFlushLimits.windowMinMs),
      windowMaxMs: z.int().min(0).max(60_000).default(defaultFlushLimits.windowMaxMs),
      /** Of the whole cluster, the same everywhere: while there are more, everyone's changes gather for longer. */
      messagesPerSecond: z.int().min(1).max(1_000_000).default(defaultFlushLimits.messagesPerSecond),
      /** Changes that may wait while NATS is away; with more they are dropped, and made up for by a snapshot. */
      waitingMax: z.int().min(1).max(10_000_000).default(defaultBufferedMax),
    })
    .prefault({})
    .refine(({ windowMinMs, windowMaxMs }) => windowMinMs <= windowMaxMs, {
      error: "expected at least windowMinMs",
      path: ["windowMaxMs"],
    }),
  conntrack: z
    .strictObject({
      /** `all` where rules of the host's own rely on the tracking of connections within the fabric. */
      scope: z.enum(["external", "all"]).default("external"),
      /** What the kernel keeps of events while the agent does not read them; with more all connections are listed anew. */
      eventBufferBytes: z.int().min(65_536).max(1_073_741_824).default(conntrackReceiveBufferBytes),
    })
    .prefault({}),
  /** Takes this host offline, at the end of a remap that asks for it; without it such remaps are refused. */
  offlineHook: z
    .strictObject({
      /** Program and arguments; run without a shell. BATON_REMAP and BATON_INSTANCE are in its environment. */
      command: z.array(z.string().min(1).max(4_096)).min(1).max(64),
      timeoutMs: z.int().min(100).max(3_600_000).default(60_000),
    })
    .optional(),
  /** Whether a tracker may run beside this agent: true, false, closed, or a section. */
  hosting: hostingField,
  log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
});

export const agentConfigSchema = settings.refine(
  (config) => !config.hosting.enabled || config.hosting.gossip !== undefined || seedsOf(config).length > 0,
  {
    error: "a section gossip with seeds, as no coordinator or tracker is named by host:port",
    path: ["hosting"],
  },
);

export type AgentConfig = z.infer<typeof agentConfigSchema>;
