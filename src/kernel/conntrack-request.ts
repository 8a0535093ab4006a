/** Requests to ctnetlink, and filters of its listings: values to bytes. Pure. */
import { familyOf, type IpAddress, ipAddressToBytes } from "../flow/address.ts";
import type { Protocol } from "../flow/flow.ts";
import type { ConntrackRecord, Tuple } from "../flow/observe.ts";
import { attribute, be16Attribute, be32Attribute, concatBytes, nestedAttribute, u8Attribute } from "./attributes.ts";
import { conntrackAttribute, ipAttribute, portAttribute, type RowFilter, tupleAttribute } from "./conntrack-codec.ts";
import { protocolNumber, rowField, tupleField } from "./conntrack-row.ts";

/** Names one entry of the kernel's table, by the tuple of its first packet. */
export type ConntrackKey = Pick<ConntrackRecord, "protocol" | "original">;

export interface ConntrackFilter {
  readonly protocol?: Protocol;
  /** At either end as this host or as the wire sees it: of the original tuple, or where replies go to. */
  readonly localAddress?: IpAddress;
}

/** Bits of linux/socket.h */
const familyNumber = { 4: 2, 6: 10 } as const;

export function listRequest(filter: ConntrackFilter): Uint8Array {
  return filter.localAddress === undefined
    ? netfilterHeader(0)
    : netfilterHeader(familyNumber[familyOf(filter.localAddress)]);
}

export function setMarkRequest(key: ConntrackKey, mark: number, mask: number): Uint8Array {
  // The kernel flips the bits of the mark that are outside of the mask.
  const bits = (mark & mask) >>> 0;
  return concatBytes([
    keyBytes(key),
    be32Attribute(conntrackAttribute.mark, bits),
    be32Attribute(conntrackAttribute.markMask, mask),
  ]);
}

export function deleteRequest(key: ConntrackKey): Uint8Array {
  return keyBytes(key);
}

export function rowFilter(filter: ConntrackFilter): RowFilter {
  const protocol = filter.protocol === undefined ? undefined : protocolNumber[filter.protocol];
  const address = filter.localAddress === undefined ? undefined : ipAddressToBytes(filter.localAddress);
  return (rows, start) => {
    if (protocol !== undefined && rows[start + rowField.protocol] !== protocol) return false;
    if (address === undefined) return true;
    const { original, reply } = rowField;
    return (
      holds(rows, start + original + tupleField.destination, address) ||
      holds(rows, start + original + tupleField.source, address) ||
      holds(rows, start + reply + tupleField.destination, address)
    );
  };
}

function holds(rows: Uint8Array, start: number, address: Uint8Array): boolean {
  // Addresses of one network differ at their end.
  for (let i = address.length - 1; i >= 0; i--) if (rows[start + i] !== address[i]) return false;
  return true;
}

function keyBytes({ protocol, original }: ConntrackKey): Uint8Array {
  const header = netfilterHeader(familyNumber[familyOf(original.source)]);
  return concatBytes([header, tupleBytes(protocol, original)]);
}

function tupleBytes(protocol: Protocol, tuple: Tuple): Uint8Array {
  const isIpv4 = familyOf(tuple.source) === 4;
  const source = isIpv4 ? ipAttribute.ipv4Source : ipAttribute.ipv6Source;
  const destination = isIpv4 ? ipAttribute.ipv4Destination : ipAttribute.ipv6Destination;
  const address = (value: IpAddress) => ipAddressToBytes(value).subarray(isIpv4 ? 12 : 0);
  return nestedAttribute(
    conntrackAttribute.original,
    nestedAttribute(
      tupleAttribute.ip,
      attribute(source, address(tuple.source)),
      attribute(destination, address(tuple.destination)),
    ),
    nestedAttribute(
      tupleAttribute.protocol,
      u8Attribute(portAttribute.protocol, protocolNumber[protocol]),
      be16Attribute(portAttribute.source, tuple.sourcePort),
      be16Attribute(portAttribute.destination, tuple.destinationPort),
    ),
  );
}

/** struct nfgenmsg: family, version 0, resource 0. */
function netfilterHeader(family: number): Uint8Array {
  return Uint8Array.of(family, 0, 0, 0);
}
