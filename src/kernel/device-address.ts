/** Addresses of devices (rtnetlink). */
import type { IpAddress } from "../flow/address.ts";
import { attribute, concatBytes, u32Attribute } from "./attributes.ts";
import { requireLink } from "./link.ts";
import { messageFlags, type NetlinkSocket } from "./netlink.ts";
import { rawAddress } from "./rtnetlink.ts";

const addressCreate = 20;
const field = { address: 1, local: 2, flags: 8 } as const;
const linkScope = 253;
/** IFA_F_NOPREFIXROUTE: no route comes with it. */
const noPrefixRoute = 0x200;
const ipv4Family = 2;

/** Gives a device an IPv4 address of its own, without a route; nothing changes where it has it. */
export function ensureHostAddress(socket: NetlinkSocket, device: string, address: IpAddress): void {
  const { index } = requireLink(socket, device);
  const header = new Uint8Array(8);
  header.set([ipv4Family, 32, 0, linkScope]);
  new DataView(header.buffer).setUint32(4, index, true);
  const bytes = rawAddress(address);
  const payload = concatBytes([
    header,
    attribute(field.local, bytes),
    attribute(field.address, bytes),
    u32Attribute(field.flags, noPrefixRoute),
  ]);
  const flags = messageFlags.create | messageFlags.replace;
  socket.request(addressCreate, flags, payload, `give ${device} the address ${address}`);
}
