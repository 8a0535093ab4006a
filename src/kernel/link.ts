/** Network devices and their addresses: what is there, up and down, MTU, removal. */
import type { IpAddress } from "../flow/address.ts";
import { type Attributes, concatBytes, decodeAttributes, textAttribute, u32Attribute, viewOf } from "./attributes.ts";
import { KernelError } from "./kernel-error.ts";
import type { NetlinkSocket } from "./netlink.ts";
import { addressFromRaw, formatLinkAddress } from "./rtnetlink.ts";

export interface NetworkLink {
  readonly index: number;
  readonly name: string;
  /** "aa:bb:cc:dd:ee:ff", or "" where the device has none. */
  readonly linkAddress: string;
  readonly mtu: number;
  /** "vxlan", "veth" …; "" for hardware. */
  readonly kind: string;
  /** Switched on; whether it has a carrier is another matter. */
  readonly up: boolean;
}

export interface LinkAddress {
  readonly device: number;
  readonly address: IpAddress;
  readonly prefixLength: number;
}

export interface NetworkDevice extends NetworkLink {
  readonly addresses: readonly { readonly address: IpAddress; readonly prefixLength: number }[];
}

export const linkMessage = { create: 16, remove: 17, get: 18, set: 19 } as const;
export const linkField = { address: 1, name: 3, mtu: 4, info: 18, infoKind: 1, infoData: 2 } as const;
const addressesGet = 22;
const addressField = { address: 1, local: 2 } as const;
const linkHeaderBytes = 16;
const addressHeaderBytes = 8;
const upFlag = 1;
const maxNameBytes = 15;

export function listLinks(socket: NetlinkSocket): readonly NetworkLink[] {
  const messages = socket.dump(linkMessage.get, linkHeader(0), "list links");
  return messages.flatMap(({ payload }) => decodeLink(payload)?.link ?? []);
}

export function findLink(socket: NetlinkSocket, name: string): NetworkLink | undefined {
  return inspectLink(socket, name)?.link;
}

/** @throws KernelError ENODEV */
export function requireLink(socket: NetlinkSocket, name: string): NetworkLink {
  const link = findLink(socket, name);
  if (link === undefined) throw new KernelError(`find device ${name}`, "ENODEV");
  return link;
}

export function listAddresses(socket: NetlinkSocket): readonly LinkAddress[] {
  const messages = socket.dump(addressesGet, new Uint8Array(addressHeaderBytes), "list addresses");
  return messages.flatMap(({ payload }) => decodeAddress(payload) ?? []);
}

/** All devices with their addresses. */
export function listDevices(socket: NetlinkSocket): readonly NetworkDevice[] {
  const addresses = listAddresses(socket);
  return listLinks(socket).map((link) => ({
    ...link,
    addresses: addresses
      .filter(({ device }) => device === link.index)
      .map(({ address, prefixLength }) => ({ address, prefixLength })),
  }));
}

export function setLinkUp(socket: NetlinkSocket, name: string, up: boolean): void {
  const { index } = requireLink(socket, name);
  socket.request(linkMessage.set, 0, linkHeader(index, up), `set device ${name} ${up ? "up" : "down"}`);
}

export function setLinkMtu(socket: NetlinkSocket, name: string, mtu: number): void {
  const { index } = requireLink(socket, name);
  const payload = concatBytes([linkHeader(index), u32Attribute(linkField.mtu, mtu)]);
  socket.request(linkMessage.set, 0, payload, `set the MTU of device ${name} to ${mtu}`);
}

/** False when there was no such device. */
export function deleteLink(socket: NetlinkSocket, name: string): boolean {
  const link = findLink(socket, name);
  if (link === undefined) return false;
  const outcome = socket.tryRequest(linkMessage.remove, 0, linkHeader(link.index), `delete device ${name}`);
  if (outcome.ok) return true;
  if (outcome.error.errno === "ENODEV") return false;
  throw outcome.error;
}

export interface InspectedLink {
  readonly link: NetworkLink;
  /** What only its kind of device has. */
  readonly data: Attributes | undefined;
}

export function inspectLink(socket: NetlinkSocket, name: string): InspectedLink | undefined {
  assertLinkName(name);
  const payload = concatBytes([linkHeader(0), textAttribute(linkField.name, name)]);
  const outcome = socket.tryRequest(linkMessage.get, 0, payload, `find device ${name}`);
  if (outcome.ok) return outcome.messages.map(({ payload }) => decodeLink(payload))[0];
  if (outcome.error.errno === "ENODEV") return undefined;
  throw outcome.error;
}

export function assertLinkName(name: string): void {
  if (name === "" || name.length > maxNameBytes || !/^[!-.0-~]+$/.test(name) || name === "." || name === "..")
    throw new RangeError(
      `a device name has 1 to ${maxNameBytes} printable characters without "/": ${JSON.stringify(name)}`,
    );
}

/** struct ifinfomsg */
export function linkHeader(index: number, up?: boolean): Uint8Array {
  const bytes = new Uint8Array(linkHeaderBytes);
  const view = viewOf(bytes);
  view.setInt32(4, index, true);
  view.setUint32(8, up === true ? upFlag : 0, true);
  view.setUint32(12, up === undefined ? 0 : upFlag, true);
  return bytes;
}

function decodeLink(payload: Uint8Array): InspectedLink | undefined {
  if (payload.length < linkHeaderBytes) return undefined;
  const attributes = decodeAttributes(payload.subarray(linkHeaderBytes));
  const name = attributes?.text(linkField.name);
  if (attributes === undefined || name === undefined) return undefined;
  const info = attributes.nested(linkField.info);
  const view = viewOf(payload);
  const link = {
    index: view.getInt32(4, true),
    name,
    linkAddress: formatLinkAddress(attributes.bytes(linkField.address)),
    mtu: attributes.u32(linkField.mtu) ?? 0,
    kind: info?.text(linkField.infoKind) ?? "",
    up: (view.getUint32(8, true) & upFlag) !== 0,
  };
  return { link, data: info?.nested(linkField.infoData) };
}

/** struct ifaddrmsg. With a peer, "local" is this end's address; without, IPv6 has "address" only. */
function decodeAddress(payload: Uint8Array): LinkAddress | undefined {
  if (payload.length < addressHeaderBytes) return undefined;
  const attributes = decodeAttributes(payload.subarray(addressHeaderBytes));
  const address = addressFromRaw(attributes?.bytes(addressField.local) ?? attributes?.bytes(addressField.address));
  if (address === undefined) return undefined;
  const view = viewOf(payload);
  return { device: view.getUint32(4, true), address, prefixLength: view.getUint8(1) };
}
