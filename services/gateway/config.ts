/** Configuration of a gateway. */
import { z } from "zod";
import { parsePrefix } from "../../src/flow/address.ts";
import { endpointField, listenField, nameField } from "../../src/rpc/config-fields.ts";
import { logLevels } from "../../src/runtime/log.ts";

/** IFNAMSIZ less its final zero; the characters are those that need no quoting anywhere. */
const device = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/, "a device's name of at most 15 characters");

const prefix = z
  .string()
  .refine((text) => parsePrefix(text) !== undefined, { error: "a network prefix like 203.0.113.0/24" });

export const gatewayConfigSchema = z
  .strictObject({
    /** Name of the gateway, unique in the cluster. */
    name: nameField,
    coordinators: z.array(endpointField).min(1).max(16),
    /** Towards the clients. */
    publicDevice: device,
    /** Towards the instances. */
    fabricDevice: device,
    /** What to drop until the first state is here, beside everything between the two devices. */
    publicPrefixes: z.array(prefix).max(256).default([]),
    /** Holds the last desired state and the sysctls to put back. */
    stateDirectory: z.string().min(1),
    admin: z.strictObject({ listen: listenField }).optional(),
    log: z.strictObject({ level: z.enum(logLevels).default("info") }).prefault({}),
  })
  .refine((config) => config.publicDevice !== config.fabricDevice, {
    error: "another device than publicDevice",
    path: ["fabricDevice"],
  });

export type GatewayConfig = z.infer<typeof gatewayConfigSchema>;
