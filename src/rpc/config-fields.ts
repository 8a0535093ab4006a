/** Fields that the configurations of several services have. */
import { z } from "zod";
import { formatPrefix, type IpAddress, type Prefix, parseIpAddress, parsePrefix } from "../flow/address.ts";
import { endpointForms, parseEndpoint } from "./endpoint.ts";

/** Unique in the cluster; also a part of file, device and subject names. */
export const nameField = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "1 to 63 of a-z, 0-9 and -, not beginning with -");

/** Where a server is reached, or listens. */
export const endpointField = z.string().refine((text) => parseEndpoint(text) !== undefined, { error: endpointForms });

/** Where an admin server listens. */
export const listenField = textField<{ host: string; port: number }>({
  expected: "host:port",
  read(text) {
    const parsed = parseEndpoint(text);
    return parsed?.kind === "tcp" ? { host: parsed.host, port: parsed.port } : undefined;
  },
  write: ({ host, port }) => `${host.includes(":") ? `[${host}]` : host}:${port}`,
});

export const addressField = textField<IpAddress>({
  expected: "an IP address",
  read: parseIpAddress,
  write: (address) => address,
});

export const prefixField = textField<Prefix>({
  expected: "a network prefix",
  read: parsePrefix,
  write: formatPrefix,
});

/** A setting that is text in the file and a value in the program, and can be printed as text again. */
function textField<Value>(form: {
  readonly expected: string;
  readonly read: (text: string) => Value | undefined;
  readonly write: (value: Value) => string;
}) {
  return z.codec(z.string(), z.custom<Value>(), {
    decode(text, context) {
      const found = form.read(text);
      if (found !== undefined) return found;
      context.issues.push({ code: "custom", message: form.expected, input: text });
      return z.NEVER;
    },
    encode: form.write,
  });
}

export const natsField = z.strictObject({ servers: z.array(z.string().min(1)).min(1).max(16) });
