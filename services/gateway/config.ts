/** Configuration of a gateway. */
import { z } from "zod";
import { parsePrefix } from "../../src/flow/address.ts";
import { endpointForms, parseEndpoint } from "../../src/rpc/endpoint.ts";
import { logLevels } from "../../src/runtime/log.ts";

const endpoint = z.string().refine((text) => parseEndpoint(text) !== undefined, { error: `expected ${endpointForms}` });
const listen = z.string().refine((text) => parseEndpoint(text)?.kind === "tcp", { error: "expected host:port" });
/** IFNAMSIZ less its final zero; the characters are those that need no quoting anywhere. */
const device = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/);
const prefix = z
  .string()
  .refine((text) => parsePrefix(text) !== undefined, { error: "expected a network prefix like 203.0.113.0/24" });

export const gatewayConfigSchema = z
  .strictObject({
    /** Name of the gateway, unique in the cluster. */
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
    coordinators: z.array(endpoint).min(1).max(16),
    /** Towards the clients. */
    publicDevice: device,
    /** Towards the instances. */
    fabricDevice: device,
    /** What to drop until the first state is here, beside everything between the two devices. */
    publicPrefixes: z.array(prefix).max(256).default([]),
    /** Holds the last desired state and the sysctls to put back. */
    stateDirectory: z.string().min(1),
    admin: z.strictObject({ listen }).optional(),
    log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
  })
  .refine((config) => config.publicDevice !== config.fabricDevice, {
    error: "expected another device than publicDevice",
    path: ["fabricDevice"],
  });

export type GatewayConfig = z.infer<typeof gatewayConfigSchema>;
