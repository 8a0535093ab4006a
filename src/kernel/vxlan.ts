/**
 * Point-to-point VXLAN tunnels (RFC 7348): made as wanted, found again after a restart.
 *
 * Nothing is learnt from packets: the one remote is configured, so a stranger can't draw the tunnel to himself.
 */
import { familyOf, type IpAddress } from "../flow/address.ts";
import {
  type Attributes,
  attribute,
  be16Attribute,
  concatBytes,
  nestedAttribute,
  textAttribute,
  u8Attribute,
  u32Attribute,
} from "./attributes.ts";
import { KernelError } from "./kernel-error.ts";
import { deleteLink, inspectLink, linkField, linkHeader, linkMessage, type NetworkLink, requireLink } from "./link.ts";
import { messageFlags, type NetlinkSocket } from "./netlink.ts";
import { addressFromRaw, parseLinkAddress, rawAddress } from "./rtnetlink.ts";

export interface Vxlan {
  readonly name: string;
  /** 24 bits. */
  readonly vni: number;
  readonly local: IpAddress;
  readonly remote: IpAddress;
  /** UDP destination port. */
  readonly port: number;
  /** Of the packets inside; without it the kernel derives it from the device below. */
  readonly mtu?: number;
  /** "aa:bb:cc:dd:ee:ff"; without it a random one. */
  readonly linkAddress?: string;
  /** Of the outer UDP header; true without it. */
  readonly checksum?: boolean;
}

const kind = "vxlan";
const field = {
  vni: 1,
  remote4: 2,
  local4: 4,
  learning: 7,
  port: 15,
  remote6: 16,
  local6: 17,
  checksum: 18,
  zeroChecksum6Send: 19,
  zeroChecksum6Receive: 20,
} as const;
const maxVni = 0xffffff;

/**
 * Makes the tunnel be there, up, as wanted. One that is there already keeps working: MTU and link-layer address are
 * changed in place, and only one with other ends, VNI, port or checksums is made anew.
 * @throws KernelError EEXIST where a device of another kind has the name
 */
export function ensureVxlan(socket: NetlinkSocket, wanted: Vxlan): NetworkLink {
  if (wanted.vni < 0 || wanted.vni > maxVni) throw new RangeError(`a VNI is 0 to ${maxVni}, not ${wanted.vni}`);
  const found = inspectLink(socket, wanted.name);
  if (found !== undefined && found.link.kind !== kind)
    throw new KernelError(
      `create ${kind} ${wanted.name}`,
      "EEXIST",
      `a device of kind "${found.link.kind}" has the name`,
    );
  const same = found?.data !== undefined && isSameTunnel(found.data, wanted);
  if (found !== undefined && !same) deleteLink(socket, wanted.name);
  if (same) adjust(socket, found.link, wanted);
  else create(socket, wanted);
  return requireLink(socket, wanted.name);
}

function create(socket: NetlinkSocket, wanted: Vxlan): void {
  const payload = concatBytes([
    linkHeader(0, true),
    textAttribute(linkField.name, wanted.name),
    ...changeable(wanted),
    nestedAttribute(linkField.info, textAttribute(linkField.infoKind, kind), tunnelData(wanted)),
  ]);
  const flags = messageFlags.create | messageFlags.exclusive;
  socket.request(linkMessage.create, flags, payload, `create ${kind} ${wanted.name}`);
}

function adjust(socket: NetlinkSocket, found: NetworkLink, wanted: Vxlan): void {
  const mtuFits = wanted.mtu === undefined || wanted.mtu === found.mtu;
  const addressFits = wanted.linkAddress === undefined || wanted.linkAddress.toLowerCase() === found.linkAddress;
  if (mtuFits && addressFits && found.up) return;
  const payload = concatBytes([linkHeader(found.index, true), ...changeable(wanted)]);
  socket.request(linkMessage.set, 0, payload, `change ${kind} ${wanted.name}`);
}

function changeable(wanted: Vxlan): readonly Uint8Array[] {
  const attributes: Uint8Array[] = [];
  if (wanted.mtu !== undefined) attributes.push(u32Attribute(linkField.mtu, wanted.mtu));
  if (wanted.linkAddress !== undefined)
    attributes.push(attribute(linkField.address, parseLinkAddress(wanted.linkAddress)));
  return attributes;
}

function tunnelData(wanted: Vxlan): Uint8Array {
  const ends = endFields(wanted);
  const checksum = wanted.checksum ?? true;
  return nestedAttribute(
    linkField.infoData,
    u32Attribute(field.vni, wanted.vni),
    attribute(ends.local, rawAddress(wanted.local)),
    attribute(ends.remote, rawAddress(wanted.remote)),
    be16Attribute(field.port, wanted.port),
    u8Attribute(field.learning, 0),
    u8Attribute(field.checksum, checksum ? 1 : 0),
    u8Attribute(field.zeroChecksum6Send, checksum ? 0 : 1),
    u8Attribute(field.zeroChecksum6Receive, checksum ? 0 : 1),
  );
}

function isSameTunnel(data: Attributes, wanted: Vxlan): boolean {
  const ends = endFields(wanted);
  return (
    data.u32(field.vni) === wanted.vni &&
    addressFromRaw(data.bytes(ends.local)) === wanted.local &&
    addressFromRaw(data.bytes(ends.remote)) === wanted.remote &&
    data.be16(field.port) === wanted.port &&
    data.u8(field.learning) === 0 &&
    data.u8(field.checksum) === ((wanted.checksum ?? true) ? 1 : 0)
  );
}

function endFields(wanted: Vxlan): { readonly local: number; readonly remote: number } {
  return familyOf(wanted.remote) === 4
    ? { local: field.local4, remote: field.remote4 }
    : { local: field.local6, remote: field.remote6 };
}
