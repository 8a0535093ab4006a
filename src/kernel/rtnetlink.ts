/** What links, routes, rules and neighbours share in their messages (man 7 rtnetlink). */
import { type AddressFamily, familyOf, type IpAddress, ipAddressFromBytes, ipAddressToBytes } from "../flow/address.ts";
import { NetlinkSocket, netlinkFamily } from "./netlink.ts";

/** Says "made by baton" on routes, rules and neighbours. No routing daemon uses this number (rt_protos of iproute2). */
export const batonProtocol = 0xb7;

export const familyNumber = { 4: 2, 6: 10 } as const;

export function openRouteSocket(): NetlinkSocket {
  return new NetlinkSocket(netlinkFamily.route);
}

export function familyOfNumber(number: number | undefined): AddressFamily | undefined {
  return number === familyNumber[4] ? 4 : number === familyNumber[6] ? 6 : undefined;
}

/** 4 or 16 bytes. */
export function rawAddress(address: IpAddress): Uint8Array {
  const bytes = ipAddressToBytes(address);
  return familyOf(address) === 4 ? bytes.subarray(12) : bytes;
}

export function addressFromRaw(bytes: Uint8Array | undefined): IpAddress | undefined {
  return bytes?.length === 4 || bytes?.length === 16 ? ipAddressFromBytes(bytes) : undefined;
}

/** "aa:bb:cc:dd:ee:ff", or "" where there is none. */
export function formatLinkAddress(bytes: Uint8Array | undefined): string {
  return Array.from(bytes ?? [], (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

export function parseLinkAddress(text: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text))
    throw new RangeError(`a link-layer address looks like 02:00:00:00:00:01, not ${JSON.stringify(text)}`);
  return Uint8Array.from(text.split(":"), (hex) => Number.parseInt(hex, 16));
}
