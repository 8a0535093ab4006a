/**
 * Setting `hosting` of an agent: whether a tracker may run beside it, and how.
 *
 * `true`, `false` and `closed` are short for a section with nothing in it but that; everything has a default.
 */
import { isIPv4 } from "node:net";
import { z } from "zod";
import { type GossipSection, gossipSection, seedsMax } from "../../../src/cluster/config.ts";
import type { HostedPort } from "../../../src/dataplane/hosted-rules.ts";
import { familyOf, type IpAddress, parseIpAddress } from "../../../src/flow/address.ts";
import type { HostingReadiness } from "../../../src/placement/candidate.ts";
import { endpointField, listenField } from "../../../src/rpc/config-fields.ts";
import { parseEndpoint } from "../../../src/rpc/endpoint.ts";
import type { LogLevel } from "../../../src/runtime/log.ts";
import { rebuildField, streamField, type TrackerSetup } from "../../../src/tracker/setup.ts";

export const defaultTrackerPort = 7410;
export const defaultGossipPort = 7420;

const hostingSection = z.strictObject({
  enabled: z.boolean().default(true),
  /** closed: it keeps the shards that it has, and is given no more. */
  readiness: z.enum(["ready", "closed"]).default("ready"),
  /** Where the tracker answers. Left out: port 7410 of the first private address. */
  listen: z.array(endpointField).min(1).max(16).exactOptional(),
  /** Where others reach it. Left out: the first of `listen`. */
  advertise: endpointField.exactOptional(),
  /** Holds the tracker's database. Left out: `tracker` in the state directory. */
  dataDirectory: z.string().min(1).exactOptional(),
  stream: streamField,
  rebuild: rebuildField,
  /**
   * Its place among the members. Left out: port 7420 of the first private address, and as seeds port 7420 of the hosts of
   * coordinators and trackers.
   */
  gossip: gossipSection.exactOptional(),
  /** Of the tracker; the agent has its own. */
  admin: z.strictObject({ listen: listenField }).exactOptional(),
});

export type HostingSection = z.infer<typeof hostingSection>;

const shortForms: readonly (readonly [unknown, object])[] = [
  [true, {}],
  [false, { enabled: false }],
  ["closed", { readiness: "closed" }],
];

export const hostingField = z
  .codec(z.unknown(), hostingSection, {
    decode: (setting) => (shortForms.find(([short]) => short === setting)?.[1] ?? setting) as HostingInput,
    encode: (section) => section,
  })
  .prefault(false);

type HostingInput = z.input<typeof hostingSection>;

export interface HostingHost {
  readonly name: string;
  readonly hosting: HostingSection;
  readonly privateAddresses: readonly string[];
  readonly stateDirectory: string;
  readonly coordinators: readonly string[];
  readonly trackers: readonly string[];
  readonly nats: { readonly servers: readonly string[] };
  readonly shards: number;
  readonly log: { readonly level: LogLevel };
}

export interface HostingPlan {
  readonly setup: TrackerSetup;
  readonly gossip: GossipSection;
  /** While nothing else is wished for. */
  readonly readiness: Exclude<HostingReadiness, "draining">;
}

/** The whole of it, defaults included. */
export function planHosting(host: HostingHost): HostingPlan {
  const { name, hosting, stateDirectory, nats, shards, log } = host;
  const listen = hosting.listen ?? [`${ownHost(host)}:${defaultTrackerPort}`];
  return {
    setup: {
      name,
      endpoint: hosting.advertise ?? listen[0] ?? "",
      listen,
      nats,
      dataDirectory: hosting.dataDirectory ?? `${stateDirectory}/tracker`,
      shards,
      stream: hosting.stream,
      rebuild: hosting.rebuild,
      admin: hosting.admin,
      log,
    },
    gossip: hosting.gossip ?? gossipSection.parse(gossipDefaults(host)),
    readiness: hosting.readiness,
  };
}

/** What is open for other members; where the tracker listens by a name, which address that is its own resolver says. */
export function hostedPorts({ setup, gossip }: HostingPlan): HostedPort[] {
  const tracker = setup.listen.flatMap((text): HostedPort[] => {
    const endpoint = parseEndpoint(text);
    return endpoint?.kind === "tcp" ? portAt("tcp", endpoint.host, endpoint.port) : [];
  });
  const { host, port } = gossip.listen;
  return [...tracker, ...portAt("tcp", host, port), ...portAt("udp", host, port)];
}

function portAt(protocol: HostedPort["protocol"], host: string, port: number): HostedPort[] {
  // Any free one: which it is shows only when it is taken.
  if (port === 0) return [];
  const address = parseIpAddress(host);
  if (address === undefined || isAnyAddress(address)) return [{ protocol, address: undefined, port }];
  return familyOf(address) === 4 ? [{ protocol, address, port }] : [];
}

function isAnyAddress(address: IpAddress): boolean {
  return address === "0.0.0.0" || address === "::";
}

function gossipDefaults(host: HostingHost): z.input<typeof gossipSection> {
  return { listen: `${ownHost(host)}:${defaultGossipPort}`, seeds: seedsOf(host) };
}

/** Coordinators gossip, and so do trackers; both by default at the same port. */
export function seedsOf({ coordinators, trackers }: Pick<HostingHost, "coordinators" | "trackers">): string[] {
  const hosts = [...coordinators, ...trackers].flatMap((text) => {
    const endpoint = parseEndpoint(text);
    return endpoint?.kind === "tcp" ? [bracketed(endpoint.host)] : [];
  });
  return [...new Set(hosts)].slice(0, seedsMax).map((host) => `${host}:${defaultGossipPort}`);
}

function ownHost({ privateAddresses }: HostingHost): string {
  return bracketed(privateAddresses.find((address) => isIPv4(address)) ?? privateAddresses[0] ?? "");
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}
