/**
 * Section `gossip` of a tracker's or coordinator's configuration, and of an agent's that may host a tracker.
 *
 * Left out as a whole, the service is a member of a cluster of its own: on loopback, at any free port, with no seeds.
 */
import { isIP } from "node:net";
import { z } from "zod";
import { parseMemberAddress } from "../gossip/address.ts";
import { encryptionModes, labelBytesMax } from "../gossip/edge/envelope.ts";
import { isKey, keyBytes, keysMax } from "../gossip/edge/keyring.ts";
import { listenField } from "../rpc/config-fields.ts";
import { endpointForms, parseEndpoint } from "../rpc/endpoint.ts";
import { loadSources } from "./load.ts";

/** Any of them will do; with more, a start only asks more of those that are away. */
export const seedsMax = 64;
/** With roles, addresses and what is measured they must fit into 512 bytes. */
const placementLabelsMax = 8;
/** What the host says of itself; see characteristics.ts. */
export const measuredLabels = ["cpus", "memoryMiB"] as const;

const seedField = z.string().refine((text) => parseEndpoint(text)?.kind === "tcp" && !text.endsWith(":0"), {
  error: `host:port, not ${endpointForms.split(" or ")[1]?.split(" with")[0]}`,
});

const advertiseField = z.string().refine((text) => parseMemberAddress(text) !== undefined, {
  error: "an IP address with a port: 10.0.0.1:7420 or [fd00::1]:7420",
});

const encryptionField = z
  .strictObject({
    /**
     * off; accept: reads both, sends plain; send: reads both, sends encrypted; require: encrypted only. A cluster goes
     * from one to the next by restarting its members one after another.
     */
    mode: z.enum(encryptionModes).default("off"),
    /** The first encrypts, all decrypt. A key is exchanged by adding it, making it the first, and removing the old one. */
    keys: z
      .array(z.string().refine(isKey, { error: `base64 of ${keyBytes} bytes: make one with  openssl rand -base64 32` }))
      .max(keysMax)
      .default([]),
  })
  .refine(({ mode, keys }) => mode === "off" || keys.length > 0, {
    error: "at least one key, as the mode is not off: make one with  openssl rand -base64 32",
    path: ["keys"],
  });

export const gossipSection = z
  .strictObject({
    /** UDP and TCP. Port 0: any free one. */
    listen: listenField
      .refine(({ host }) => isIP(host) !== 0, { error: "an IP address of this host, and a port" })
      .prefault("127.0.0.1:0"),
    /** Where other members reach it, if not at `listen`: another address after translation. */
    advertise: advertiseField.optional(),
    /** Members through which it joins, any of them; names are looked up again and again. Its own is left out. */
    seeds: z.array(seedField).max(seedsMax).default([]),
    /** Keeps clusters apart that share a network by mistake. No secret. */
    label: z
      .string()
      .refine((text) => /^[\x21-\x7e]*$/.test(text), { error: "printable ASCII without blanks" })
      .max(labelBytesMax)
      .default("baton"),
    encryption: encryptionField.prefault({}),
    /** What its load is the highest of: load.ts. Without `host` where several members share a host's processors. */
    load: z
      .array(z.enum(loadSources))
      .min(1)
      .max(loadSources.length)
      .default([...loadSources]),
    /** What placement goes by, as zone: told to all members. */
    labels: z
      .record(
        z.string().refine((name) => /^[a-z][a-zA-Z0-9-]{0,31}$/.test(name), {
          error: "1 to 32 of a-z, A-Z, 0-9 and -, beginning with a-z",
        }),
        z.string().refine((text) => /^[\x20-\x7e]{1,32}$/.test(text), { error: "1 to 32 printable ASCII characters" }),
      )
      .refine((labels) => Object.keys(labels).length <= placementLabelsMax, {
        error: `at most ${placementLabelsMax} labels`,
      })
      .refine((labels) => measuredLabels.every((name) => !(name in labels)), {
        error: `labels other than ${measuredLabels.join(" and ")}, which are measured`,
      })
      .default({}),
  })
  .refine(({ listen, advertise }) => advertise !== undefined || !isWildcard(listen.host), {
    error: "an address that others reach, as listen is every address of this host",
    path: ["advertise"],
  });

export const gossipField = gossipSection.prefault({});

export type GossipSection = z.infer<typeof gossipSection>;

function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || /^[0:]+$/.test(host);
}
