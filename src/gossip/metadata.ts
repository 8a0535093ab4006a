/** What a member offers, in the bytes that gossip carries: roles and where its services listen. */
import { type HostingReadiness, hostingReadiness, unknownReadiness } from "../placement/candidate.ts";
import { metadataBytesMax } from "./member.ts";

export const memberRoles = ["coordinator", "tracker", "agent"] as const;
export type MemberRole = (typeof memberRoles)[number];

export interface MemberMetadata {
  readonly roles: readonly MemberRole[];
  /** Service to `host:port`, as `grpc` or `admin`. */
  readonly services: Readonly<Record<string, string>>;
  /** What placement goes by: zone, CPUs, memory; short texts. */
  readonly labels: Readonly<Record<string, string>>;
  /** Of a tracker; of others it means nothing. Absent, and of who does not know of it: ready. */
  readonly hosting?: HostingReadiness;
}

const version = 1;
const pairsMax = 16;
/** Characters of a key or value; an endpoint may be a path. */
const textMax = 128;

export type EncodedMetadata =
  | { readonly ok: true; readonly bytes: Uint8Array }
  | { readonly ok: false; readonly message: string };

export function encodeMetadata({ roles, services, labels, hosting = "ready" }: MemberMetadata): EncodedMetadata {
  const pairs = [...Object.entries(services), ...Object.entries(labels)];
  const long = pairs.find((pair) => pair.some((part) => part.length > textMax));
  if (long !== undefined) return { ok: false, message: `${long[0]} has more than ${textMax} characters: shorten it` };
  const parts = [version, roles.map((role) => memberRoles.indexOf(role)), services, labels];
  const text = JSON.stringify(hosting === "ready" ? parts : [...parts, hostingReadiness.indexOf(hosting)]);
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= metadataBytesMax) return { ok: true, bytes };
  const message = `metadata of ${bytes.length} bytes, and ${metadataBytesMax} are allowed: shorten labels or addresses`;
  return { ok: false, message };
}

/** Total: what can't be read, or is of a newer form, is a member without roles. */
export function decodeMetadata(bytes: Uint8Array): MemberMetadata {
  const value = parse(bytes);
  if (!Array.isArray(value) || value[0] !== version) return { roles: [], services: {}, labels: {} };
  const numbers: readonly unknown[] = Array.isArray(value[1]) ? value[1] : [];
  const roles = memberRoles.filter((_, index) => numbers.includes(index));
  return { roles, services: texts(value[2]), labels: texts(value[3]), ...hostingOf(value[4]) };
}

function hostingOf(number: unknown): Pick<MemberMetadata, "hosting"> {
  if (number === undefined) return {};
  return { hosting: hostingReadiness.find((_, index) => index === number) ?? unknownReadiness };
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

function texts(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== "object" || value === null) return {};
  const isShort = (text: unknown): text is string => typeof text === "string" && text.length <= textMax;
  const pairs = Object.entries(value).filter(([key, text]) => isShort(key) && isShort(text));
  return Object.fromEntries(pairs.slice(0, pairsMax)) as Record<string, string>;
}
