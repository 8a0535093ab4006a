/**
 * Which channel joins two instances, and whether existing connections' packets fit through it.
 *
 * `direct` is the first choice: it adds no header, so where source and target are neighbours on one link every packet
 * that fits the source fits the way. An encapsulation is taken only where the devices have room for its header:
 * connections keep the segment size that they agreed on before (page 2, trap 4).
 */
import {
  type AddressFamily,
  familyOf,
  type IpAddress,
  type Prefix,
  parsePrefix,
  prefixContains,
} from "../flow/address.ts";
import type { ChannelKind, LinkId } from "../node/state.ts";
import { linkIdMax } from "../node/state.ts";
import type { Device, NodeHello } from "../node/status.ts";
import type { BatonError } from "./error.ts";
import type { MtuVerdict } from "./remap.ts";

export interface End {
  readonly hello: NodeHello;
  readonly private: IpAddress;
}

export interface ChosenChannel {
  readonly kind: ChannelKind;
  readonly mtu: number;
  readonly packetSize: number;
  readonly ownerLinkAddress: string;
  readonly targetLinkAddress: string;
}

export type ChannelChoice =
  | { readonly ok: true; readonly channel: ChosenChannel; readonly mtu: MtuVerdict }
  /** Without `mtu` there is no way to judge. */
  | { readonly ok: false; readonly refusal: BatonError; readonly mtu?: MtuVerdict };

/** Outer IP, UDP, VXLAN and inner Ethernet headers (RFC 7348), bytes. */
const vxlanOverheadBytes: Readonly<Record<AddressFamily, number>> = { 4: 50, 6: 70 };

export function chooseChannel(
  wanted: ChannelKind | "auto",
  owner: End,
  target: End,
  gateways: readonly NodeHello[],
  fabric: readonly Prefix[],
): ChannelChoice {
  const ownerDevice = deviceOf(owner);
  const targetDevice = deviceOf(target);
  if (ownerDevice === undefined) return unavailable(noDevice(owner));
  if (targetDevice === undefined) return unavailable(noDevice(target));
  const packetSize = requiredPacketSize(ownerDevice, gateways, fabric);
  const room = Math.min(ownerDevice.mtu, targetDevice.mtu);
  const result = (kind: ChannelKind, mtu: number): ChannelChoice => {
    const verdict = { needed: packetSize, carried: Math.max(0, mtu), fits: mtu >= packetSize };
    if (!verdict.fits) return { ...tooSmall(kind, mtu, packetSize, owner, target), mtu: verdict };
    const ends = { ownerLinkAddress: ownerDevice.linkAddress, targetLinkAddress: targetDevice.linkAddress };
    return { ok: true, channel: { kind, mtu, packetSize, ...ends }, mtu: verdict };
  };
  const obstacle = directObstacle(owner, ownerDevice, target, targetDevice);
  if (wanted === "direct") return obstacle === undefined ? result("direct", room) : unavailable(obstacle);
  if (wanted === "auto" && obstacle === undefined) return result("direct", room);
  if (wanted !== "auto" && wanted !== "vxlan") return unsupported(wanted);
  const lacking = [owner, target].find(({ hello }) => !hello.channels.includes("vxlan"));
  if (lacking !== undefined) {
    const instead = obstacle === undefined ? "" : `, and direct is out: ${obstacle}`;
    return unavailable(`the kernel of ${lacking.hello.name} has no vxlan (modprobe vxlan)${instead}`);
  }
  return result("vxlan", room - vxlanOverheadBytes[familyOf(owner.private)]);
}

/**
 * Size of the packets that must fit, bytes: the largest that the owner and clients can exchange through every gateway,
 * so that every gateway can prove the channel with packets of that size.
 */
export function requiredPacketSize(owner: Device, gateways: readonly NodeHello[], fabric: readonly Prefix[]): number {
  const onFabric = (device: Device) =>
    device.addresses.some(({ address }) => fabric.some((prefix) => prefixContains(prefix, address)));
  const path = gateways.map((gateway) =>
    Math.min(gateway.publicMtu, ...gateway.devices.filter(onFabric).map((device) => device.mtu)),
  );
  return Math.min(owner.mtu, ...path);
}

/** A free link id; `recent` ones, oldest first, are taken only when nothing else is left. */
export function freeLinks(count: number, used: ReadonlySet<LinkId>, recent: readonly LinkId[]): readonly LinkId[] {
  const aged = new Set(recent);
  const fresh: LinkId[] = [];
  for (let link = 1; link <= linkIdMax && fresh.length < count; link++) {
    if (!used.has(link) && !aged.has(link)) fresh.push(link);
  }
  const again = recent.filter((link, index) => !used.has(link) && recent.indexOf(link) === index);
  return [...fresh, ...again].slice(0, count);
}

function deviceOf(end: End): Device | undefined {
  return end.hello.devices.find((device) => device.addresses.some(({ address }) => address === end.private));
}

function directObstacle(owner: End, ownerDevice: Device, target: End, targetDevice: Device): string | undefined {
  if (!sees(ownerDevice, owner.private, target.private) || !sees(targetDevice, target.private, owner.private))
    return `${owner.private} and ${target.private} are not neighbours on one link`;
  const nameless = ownerDevice.linkAddress === "" ? owner : targetDevice.linkAddress === "" ? target : undefined;
  return nameless && `the device of ${nameless.private} at ${nameless.hello.name} has no link-layer address`;
}

function sees(device: Device, own: IpAddress, other: IpAddress): boolean {
  const address = device.addresses.find((candidate) => candidate.address === own);
  if (address === undefined) return false;
  return prefixContains(networkOf(own, address.prefixLength), other);
}

function networkOf(address: IpAddress, length: number): Prefix {
  const prefix = parsePrefix(`${address}/${length}`);
  if (prefix === undefined) throw new RangeError(`${address}/${length} is no prefix`);
  return prefix;
}

function noDevice(end: End): string {
  return `${end.hello.name} reports no device with the address ${end.private}`;
}

function unavailable(message: string): ChannelChoice {
  return { ok: false, refusal: { code: "CHANNEL_UNAVAILABLE", message } };
}

function unsupported(kind: ChannelKind): ChannelChoice {
  const message = `channel ${kind} can't be used yet: ask for direct, vxlan or auto`;
  return { ok: false, refusal: { code: "UNSUPPORTED", message } };
}

function tooSmall(kind: ChannelKind, mtu: number, packetSize: number, owner: End, target: End): ChannelChoice {
  const way = `${kind} between ${owner.hello.name} (${owner.private}) and ${target.hello.name} (${target.private})`;
  const message = `existing connections send packets of up to ${packetSize} bytes, ${way} carries ${mtu}: raise the MTU of the fabric to ${packetSize + vxlanOverheadBytes[familyOf(owner.private)]}, or make the two neighbours on one link`;
  return { ok: false, refusal: { code: "MTU_TOO_SMALL", message } };
}
