/**
 * Routing rules: which packets look into which table.
 *
 * Rules made here carry {@link batonProtocol}; only those are ever changed or removed.
 */
import { type AddressFamily, familyOf, formatPrefix, type Prefix } from "../flow/address.ts";
import { attribute, concatBytes, decodeAttributes, textAttribute, u8Attribute, u32Attribute } from "./attributes.ts";
import { assertLinkName } from "./link.ts";
import { messageFlags, type NetlinkSocket } from "./netlink.ts";
import { addressFromRaw, batonProtocol, familyNumber, familyOfNumber, rawAddress } from "./rtnetlink.ts";

export interface Rule {
  /** IPv4 without it, unless `from` or `to` says otherwise. */
  readonly family?: AddressFamily;
  /** Lower ones are asked first. */
  readonly preference: number;
  readonly mark?: number;
  /** Bits of the packet's mark that are compared; all without it. */
  readonly mask?: number;
  readonly incomingDevice?: string;
  readonly from?: Prefix;
  readonly to?: Prefix;
  readonly table: number;
}

export interface ListedRule extends Rule {
  readonly family: AddressFamily;
  readonly protocol: number;
}

const message = { create: 32, remove: 33, get: 34 } as const;
const field = {
  to: 1,
  from: 2,
  incomingDevice: 3,
  preference: 6,
  mark: 10,
  table: 15,
  mask: 16,
  protocol: 21,
} as const;
const ruleHeaderBytes = 12;
const lookUpTable = 1;
const wholeMark = 0xffffffff;

/** False when the same rule was there. */
export function addRule(socket: NetlinkSocket, rule: Rule): boolean {
  const flags = messageFlags.create | messageFlags.exclusive;
  const outcome = socket.tryRequest(message.create, flags, encodeRule(rule), `add ${describe(rule)}`);
  if (outcome.ok) return true;
  if (outcome.error.errno === "EEXIST") return false;
  throw outcome.error;
}

/** False when there was no such rule of baton's. */
export function deleteRule(socket: NetlinkSocket, rule: Rule): boolean {
  const outcome = socket.tryRequest(message.remove, 0, encodeRule(rule), `delete ${describe(rule)}`);
  if (outcome.ok) return true;
  if (outcome.error.errno === "ENOENT") return false;
  throw outcome.error;
}

/** All rules that look up a table, whoever made them. */
export function listRules(socket: NetlinkSocket, family: AddressFamily = 4): readonly ListedRule[] {
  const header = new Uint8Array(ruleHeaderBytes);
  header[0] = familyNumber[family];
  return socket.dump(message.get, header, "list rules").flatMap(({ payload }) => decodeRule(payload) ?? []);
}

/** Makes baton's rules of a family exactly the wanted ones; new ones come before old ones go. */
export function reconcileRules(socket: NetlinkSocket, wanted: readonly Rule[], family: AddressFamily = 4): void {
  const found = listRules(socket, family).filter((rule) => rule.protocol === batonProtocol);
  const foundKeys = new Set(found.map(ruleKey));
  const wantedKeys = new Set(wanted.map(ruleKey));
  for (const rule of wanted) if (!foundKeys.has(ruleKey(rule))) addRule(socket, rule);
  for (const rule of found) if (!wantedKeys.has(ruleKey(rule))) deleteRule(socket, rule);
}

function encodeRule(rule: Rule): Uint8Array {
  const header = new Uint8Array(ruleHeaderBytes);
  header.set([familyNumber[ruleFamily(rule)], rule.to?.length ?? 0, rule.from?.length ?? 0]);
  header[7] = lookUpTable;
  const attributes = [
    u32Attribute(field.preference, rule.preference),
    u32Attribute(field.table, rule.table),
    u8Attribute(field.protocol, batonProtocol),
  ];
  if (rule.to !== undefined) attributes.push(attribute(field.to, rawAddress(rule.to.address)));
  if (rule.from !== undefined) attributes.push(attribute(field.from, rawAddress(rule.from.address)));
  if (rule.incomingDevice !== undefined) {
    assertLinkName(rule.incomingDevice);
    attributes.push(textAttribute(field.incomingDevice, rule.incomingDevice));
  }
  if (rule.mark !== undefined)
    attributes.push(u32Attribute(field.mark, rule.mark), u32Attribute(field.mask, rule.mask ?? wholeMark));
  return concatBytes([header, ...attributes]);
}

function decodeRule(payload: Uint8Array): ListedRule | undefined {
  if (payload.length < ruleHeaderBytes) return undefined;
  const attributes = decodeAttributes(payload.subarray(ruleHeaderBytes));
  const family = familyOfNumber(payload[0]);
  const table = attributes?.u32(field.table);
  if (attributes === undefined || family === undefined || table === undefined || payload[7] !== lookUpTable)
    return undefined;
  const to = prefixOf(attributes.bytes(field.to), payload[1]);
  const from = prefixOf(attributes.bytes(field.from), payload[2]);
  const mark = attributes.u32(field.mark);
  const mask = attributes.u32(field.mask);
  const incomingDevice = attributes.text(field.incomingDevice);
  return {
    family,
    preference: attributes.u32(field.preference) ?? 0,
    ...(mark !== undefined && { mark }),
    ...(mask !== undefined && { mask }),
    ...(incomingDevice !== undefined && { incomingDevice }),
    ...(from !== undefined && { from }),
    ...(to !== undefined && { to }),
    table,
    protocol: attributes.u8(field.protocol) ?? 0,
  };
}

function prefixOf(bytes: Uint8Array | undefined, length: number | undefined): Prefix | undefined {
  const address = addressFromRaw(bytes);
  return address === undefined || length === undefined ? undefined : { address, length };
}

function ruleFamily(rule: Rule): AddressFamily {
  const prefix = rule.from ?? rule.to;
  return prefix === undefined ? (rule.family ?? 4) : familyOf(prefix.address);
}

function ruleKey(rule: Rule): string {
  const mark = rule.mark === undefined ? "" : `${rule.mark >>> 0}/${(rule.mask ?? wholeMark) >>> 0}`;
  const prefixes = [rule.from, rule.to].map((prefix) => (prefix === undefined ? "" : formatPrefix(prefix)));
  return [ruleFamily(rule), rule.preference, mark, rule.incomingDevice ?? "", ...prefixes, rule.table].join(" ");
}

function describe(rule: Rule): string {
  return `rule ${rule.preference} for table ${rule.table}`;
}
