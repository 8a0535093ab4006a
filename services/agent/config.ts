/** Configuration of an agent. */
import { z } from "zod";
import { defaultMarkMask, markLayout } from "../../src/dataplane/mark.ts";
import { type IpAddress, parseIpAddress } from "../../src/flow/address.ts";
import { endpointForms, parseEndpoint } from "../../src/rpc/endpoint.ts";
import { logLevels } from "../../src/runtime/log.ts";

const endpoint = z.string().refine((text) => parseEndpoint(text) !== undefined, { error: `expected ${endpointForms}` });
const privateAddress = z
  .string()
  .refine((text) => parseIpAddress(text) !== undefined, { error: "expected an IP address" })
  .transform((text) => parseIpAddress(text) as IpAddress);

export const agentConfigSchema = z.strictObject({
  /** Name of the instance, unique in the cluster. */
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "expected 1 to 63 of a-z, 0-9 and -, not beginning with -"),
  coordinators: z.array(endpoint).min(1).max(16),
  trackers: z.array(endpoint).min(1).max(64),
  nats: z.strictObject({ servers: z.array(z.string().min(1)).min(1).max(16) }),
  /** Addresses of this host at which public ones may be mapped, in order of preference. */
  privateAddresses: z.array(privateAddress).min(1).max(64),
  /** Holds the last desired state and the sysctls to put back. */
  stateDirectory: z.string().min(1),
  admin: z.strictObject({ listen: endpoint }).optional(),
  /** Shards of the cluster's flow table; the same everywhere, for its whole life. */
  shards: z.int().min(1).max(4096).default(32),
  /** Bits of the packet mark that are baton's: twelve in a row. */
  markMask: z
    .int()
    .refine((mask) => markLayout(mask) !== undefined, { error: "expected a mask of 12 contiguous bits" })
    .default(defaultMarkMask),
  conntrack: z
    .strictObject({
      /** `all` where rules of the host's own rely on the tracking of connections within the fabric. */
      scope: z.enum(["external", "all"]).default("external"),
    })
    .prefault({}),
  log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
});

export type AgentConfig = z.infer<typeof agentConfigSchema>;
