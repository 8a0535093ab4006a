/** Link-layer addresses of neighbours: looked up, resolved by the kernel's own ARP or ND, or set for good. */

import { setTimeout as delay } from "node:timers/promises";
import { familyOf, type IpAddress } from "../flow/address.ts";
import { attribute, concatBytes, decodeAttributes, u8Attribute, viewOf } from "./attributes.ts";
import { requireLink } from "./link.ts";
import { messageFlags, type NetlinkSocket } from "./netlink.ts";
import { batonProtocol, familyNumber, formatLinkAddress, parseLinkAddress, rawAddress } from "./rtnetlink.ts";

export interface NeighbourKey {
  readonly device: string;
  readonly address: IpAddress;
}

export interface Neighbour extends NeighbourKey {
  /** "aa:bb:cc:dd:ee:ff"; "" while it is not known. */
  readonly linkAddress: string;
}

/** "confirmed": reachable now, or set for good. "doubtful": was right once. "failed": asked for, no answer. */
export type NeighbourState = "confirmed" | "doubtful" | "probing" | "failed";

export interface FoundNeighbour extends Neighbour {
  readonly state: NeighbourState;
}

export interface ResolveOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

const message = { create: 28, remove: 29, get: 30 } as const;
const field = { address: 1, linkAddress: 2, protocol: 12 } as const;
const state = {
  none: 0,
  incomplete: 1,
  reachable: 2,
  stale: 4,
  delay: 8,
  probe: 0x10,
  failed: 0x20,
  noArp: 0x40,
} as const;
const permanent = 0x80;
const useFlag = 1;
const neighbourHeaderBytes = 12;
const pollIntervalMs = 10;

export function findNeighbour(socket: NetlinkSocket, key: NeighbourKey): FoundNeighbour | undefined {
  const payload = concatBytes([header(socket, key, 0, 0), attribute(field.address, rawAddress(key.address))]);
  const outcome = socket.tryRequest(message.get, 0, payload, `find neighbour ${key.address}`);
  if (outcome.ok) return outcome.messages.map(({ payload }) => decodeNeighbour(payload, key))[0];
  if (outcome.error.errno === "ENOENT") return undefined;
  throw outcome.error;
}

/** Sets it for good, so that nothing is asked of the network. */
export function replaceNeighbour(socket: NetlinkSocket, neighbour: Neighbour): void {
  update(socket, neighbour, permanent, 0, parseLinkAddress(neighbour.linkAddress));
}

/** False when there was none. */
export function deleteNeighbour(socket: NetlinkSocket, key: NeighbourKey): boolean {
  const payload = concatBytes([header(socket, key, 0, 0), attribute(field.address, rawAddress(key.address))]);
  const outcome = socket.tryRequest(message.remove, 0, payload, `delete neighbour ${key.address}`);
  if (outcome.ok) return true;
  if (outcome.error.errno === "ENOENT") return false;
  throw outcome.error;
}

/** Asks the network for a neighbour, anew if what is known is doubtful. `undefined`: no answer in time. */
export async function resolveNeighbour(
  socket: NetlinkSocket,
  key: NeighbourKey,
  options: ResolveOptions,
): Promise<Neighbour | undefined> {
  const endMs = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal.throwIfAborted();
    const found = findNeighbour(socket, key);
    if (found?.state === "confirmed") return { ...key, linkAddress: found.linkAddress };
    if (found === undefined || found.state === "failed") update(socket, key, state.none, useFlag);
    if (found?.state === "doubtful") update(socket, key, state.probe, 0, parseLinkAddress(found.linkAddress));
    if (performance.now() >= endMs) return undefined;
    await delay(pollIntervalMs, undefined, { signal: options.signal });
  }
}

function update(
  socket: NetlinkSocket,
  key: NeighbourKey,
  wantedState: number,
  flags: number,
  linkAddress?: Uint8Array,
): void {
  const payload = concatBytes([
    header(socket, key, wantedState, flags),
    attribute(field.address, rawAddress(key.address)),
    ...(linkAddress === undefined ? [] : [attribute(field.linkAddress, linkAddress)]),
    u8Attribute(field.protocol, batonProtocol),
  ]);
  socket.request(message.create, messageFlags.create | messageFlags.replace, payload, `set neighbour ${key.address}`);
}

/** struct ndmsg */
function header(socket: NetlinkSocket, key: NeighbourKey, wantedState: number, flags: number): Uint8Array {
  const bytes = new Uint8Array(neighbourHeaderBytes);
  const view = viewOf(bytes);
  view.setUint8(0, familyNumber[familyOf(key.address)]);
  view.setInt32(4, requireLink(socket, key.device).index, true);
  view.setUint16(8, wantedState, true);
  view.setUint8(10, flags);
  return bytes;
}

function decodeNeighbour(payload: Uint8Array, key: NeighbourKey): FoundNeighbour | undefined {
  if (payload.length < neighbourHeaderBytes) return undefined;
  const attributes = decodeAttributes(payload.subarray(neighbourHeaderBytes));
  const linkAddress = formatLinkAddress(attributes?.bytes(field.linkAddress));
  return { ...key, linkAddress, state: stateOf(viewOf(payload).getUint16(8, true), linkAddress) };
}

function stateOf(bits: number, linkAddress: string): NeighbourState {
  if ((bits & (state.reachable | state.noArp | permanent)) !== 0) return "confirmed";
  if ((bits & (state.stale | state.delay)) !== 0 && linkAddress !== "") return "doubtful";
  if ((bits & (state.incomplete | state.probe)) !== 0) return "probing";
  return "failed";
}
