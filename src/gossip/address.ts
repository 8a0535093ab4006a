/** Member addresses in text and bytes. */
import { familyOf, ipAddressFromBytes, ipAddressToBytes, parseIpAddress } from "../flow/address.ts";
import type { MemberAddress } from "./member.ts";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

const portMax = 0xffff;
const pattern = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([0-9.]{7,15})):(\d{1,5})$/;

/** Undefined: not an IP address with a port. Names of hosts are resolved before they come here. */
export function parseMemberAddress(text: string): MemberAddress | undefined {
  const match = pattern.exec(text);
  const host = parseIpAddress(match?.[1] ?? match?.[2] ?? "");
  const port = Number(match?.[3]);
  if (match === null || host === undefined || port < 1 || port > portMax) return undefined;
  if ((familyOf(host) === 6) !== (match[1] !== undefined)) return undefined;
  return formatMemberAddress(host, port);
}

export function formatMemberAddress(host: string, port: number): MemberAddress {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function hostPortOf(address: MemberAddress): HostPort {
  const colon = address.lastIndexOf(":");
  const host = address.startsWith("[") ? address.slice(1, colon - 1) : address.slice(0, colon);
  return { host, port: Number(address.slice(colon + 1)) };
}

/** 4 or 16 bytes. */
export function hostToBytes(host: string): Uint8Array {
  const parsed = parseIpAddress(host);
  if (parsed === undefined) throw new RangeError(`not an IP address: ${host}`);
  const bytes = ipAddressToBytes(parsed);
  return familyOf(parsed) === 4 ? bytes.subarray(12) : bytes;
}

export function hostFromBytes(bytes: Uint8Array): string {
  return ipAddressFromBytes(bytes);
}
