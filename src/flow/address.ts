/**
 * IP addresses and prefixes in text and bytes.
 *
 * Owns the branded type {@link IpAddress}: a value of it is canonical (RFC 5952 for IPv6), so two addresses are
 * equal exactly when their strings are. Only {@link parseIpAddress} and {@link ipAddressFromBytes} make one.
 */
import { isIPv4, isIPv6 } from "node:net";

declare const ipAddressBrand: unique symbol;
export type IpAddress = string & { readonly [ipAddressBrand]: true };

/** A network prefix; `address` has all host bits zero. */
export interface Prefix {
  readonly address: IpAddress;
  readonly length: number;
}

export type AddressFamily = 4 | 6;

/** Length of the form that every address is stored and sent in: IPv6, with IPv4 mapped (RFC 4291 2.5.5.2). */
export const mappedBytes = 16;

const mappedPrefix = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] as const;
/** The third of an IPv4 address's four words. */
const mappedWord = 0xffff;
const octetTexts = Array.from({ length: 256 }, (_, octet) => String(octet));
const [dot, digitZero, colon] = [0x2e, 0x30, 0x3a];

export function parseIpAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return text as IpAddress;
  if (!isIPv6(text) || text.includes("%")) return undefined;
  return ipAddressFromBytes(ipv6TextToBytes(text));
}

export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const address = parseIpAddress(slash < 0 ? text : text.slice(0, slash));
  if (address === undefined) return undefined;
  const bits = familyOf(address) === 4 ? 32 : 128;
  const lengthText = slash < 0 ? String(bits) : text.slice(slash + 1);
  const length = Number(lengthText);
  if (!/^\d{1,3}$/.test(lengthText) || length > bits) return undefined;
  return { address: networkOf(address, length), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address}/${prefix.length}`;
}

export function familyOf(address: IpAddress): AddressFamily {
  return address.includes(":") ? 6 : 4;
}

export function isIpv4Prefix(prefix: Prefix): boolean {
  return familyOf(prefix.address) === 4;
}

export function prefixContains(prefix: Prefix, address: IpAddress): boolean {
  if (familyOf(prefix.address) !== familyOf(address)) return false;
  return networkOf(address, prefix.length) === prefix.address;
}

/** For sorting: IPv4 before IPv6, each by number. */
export function compareIpAddresses(left: IpAddress, right: IpAddress): number {
  if (familyOf(left) !== familyOf(right)) return familyOf(left) - familyOf(right);
  const [a, b] = [ipAddressToBytes(left), ipAddressToBytes(right)];
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? 0 : (a[at] ?? 0) - (b[at] ?? 0);
}

/** The 16 bytes of an address, IPv4 mapped into IPv6. */
export function ipAddressToBytes(address: IpAddress): Uint8Array {
  if (familyOf(address) === 6) return ipv6TextToBytes(address);
  return Uint8Array.from([...mappedPrefix, ...address.split(".").map(Number)]);
}

/** An address from 4 bytes, or from 16 bytes, where a mapped one becomes IPv4 again. */
export function ipAddressFromBytes(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return bytes.join(".") as IpAddress;
  if (bytes.length !== mappedBytes) throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  if (mappedPrefix.every((byte, index) => bytes[index] === byte)) return bytes.subarray(12).join(".") as IpAddress;
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  return formatGroups(groups) as IpAddress;
}

/** The 16 bytes of {@link ipAddressToBytes} as four big-endian words, for tables of many addresses. */
export function writeIpAddressWords(address: IpAddress, words: Uint32Array, at = 0): void {
  let octets = 0;
  let octet = 0;
  for (let index = 0; index < address.length; index++) {
    const code = address.charCodeAt(index);
    if (code === colon) {
      writeBytesAsWords(ipv6TextToBytes(address), words, at);
      return;
    }
    if (code !== dot) octet = 10 * octet + code - digitZero;
    else {
      octets = (octets << 8) | octet;
      octet = 0;
    }
  }
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = mappedWord;
  words[at + 3] = (octets << 8) | octet;
}

/** The address of {@link writeIpAddressWords}. */
export function ipAddressFromWords(words: Uint32Array, at = 0): IpAddress {
  const ipv4 = ipv4WordOf(words, at);
  if (ipv4 !== undefined) return ipv4Text(ipv4);
  const groups = Array.from({ length: 8 }, (_, i) => ((words[at + (i >> 1)] ?? 0) >>> (i % 2 === 0 ? 16 : 0)) & 0xffff);
  return formatGroups(groups) as IpAddress;
}

/** The four octets of an IPv4 address among those of {@link writeIpAddressWords}; undefined: it is of IPv6. */
export function ipv4WordOf(words: Uint32Array, at = 0): number | undefined {
  const isMapped = words[at] === 0 && words[at + 1] === 0 && words[at + 2] === mappedWord;
  return isMapped ? words[at + 3] : undefined;
}

function writeBytesAsWords(bytes: Uint8Array, words: Uint32Array, at: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let index = 0; index < 4; index++) words[at + index] = view.getUint32(4 * index);
}

function ipv4Text(word: number): IpAddress {
  const head = `${octetTexts[word >>> 24]}.${octetTexts[(word >>> 16) & 0xff]}.`;
  return `${head}${octetTexts[(word >>> 8) & 0xff]}.${octetTexts[word & 0xff]}` as IpAddress;
}

function networkOf(address: IpAddress, length: number): IpAddress {
  const bytes = ipAddressToBytes(address);
  const kept = length + (familyOf(address) === 4 ? 96 : 0);
  const masked = bytes.map((byte, index) => byte & (0xff00 >> Math.min(8, Math.max(0, kept - 8 * index))));
  return ipAddressFromBytes(masked);
}

/** Longest run of zero groups, two or more, becomes "::" (RFC 5952 section 4.2). */
function formatGroups(groups: readonly number[]): string {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start++) {
    let length = 0;
    while (groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.length < 2) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
}

function ipv6TextToBytes(text: string): Uint8Array {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const plain = dotted === null ? text : `${dotted[1]}${dottedToGroups(dotted[2] ?? "")}`;
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(zeros).fill("0"), ...right].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function dottedToGroups(dotted: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = dotted.split(".").map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}
