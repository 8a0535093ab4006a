/** Fields that the configurations of several services have. */
import { z } from "zod";
import { type IpAddress, parseIpAddress } from "../flow/address.ts";
import { endpointForms, parseEndpoint } from "./endpoint.ts";

/** Unique in the cluster; also a part of file, device and subject names. */
export const nameField = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "1 to 63 of a-z, 0-9 and -, not beginning with -");

/** Where a server is reached, or listens. */
export const endpointField = z.string().refine((text) => parseEndpoint(text) !== undefined, { error: endpointForms });

/** Where an admin server listens. */
export const listenField = z.string().transform((text, context): { host: string; port: number } => {
  const parsed = parseEndpoint(text);
  if (parsed?.kind === "tcp") return { host: parsed.host, port: parsed.port };
  context.addIssue({ code: "custom", message: "host:port", input: text });
  return z.NEVER;
});

export const addressField = z.string().transform((text, context): IpAddress => {
  const parsed = parseIpAddress(text);
  if (parsed !== undefined) return parsed;
  context.addIssue({ code: "custom", message: "an IP address", input: text });
  return z.NEVER;
});

export const natsField = z.strictObject({ servers: z.array(z.string().min(1)).min(1).max(16) });
