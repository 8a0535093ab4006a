/**
 * Routes in tables of baton's own.
 *
 * All calls name a table, and change only routes that carry {@link batonProtocol}.
 */
import { type AddressFamily, familyOf, type IpAddress, type Prefix, parsePrefix } from "../flow/address.ts";
import { attribute, concatBytes, decodeAttributes, nestedAttribute, u32Attribute, viewOf } from "./attributes.ts";
import { listLinks, requireLink } from "./link.ts";
import { messageFlags, type NetlinkSocket } from "./netlink.ts";
import { addressFromRaw, batonProtocol, familyNumber, familyOfNumber, rawAddress } from "./rtnetlink.ts";

/** "throw" leaves the table and goes on with the next rule. */
export type RouteKind = "unicast" | "blackhole" | "unreachable" | "throw";

export interface Route {
  readonly table: number;
  /** Prefix text, or "default", which is of the family of `via`, else of `family`, else IPv4. */
  readonly destination: string;
  readonly family?: AddressFamily;
  readonly kind: RouteKind;
  readonly device?: string;
  /** Next hop; believed to be a neighbour on `device` whether or not an address of that device says so. */
  readonly via?: IpAddress;
  /** Bytes. */
  readonly mtu?: number;
  /** The MTU holds whatever path MTU discovery finds. */
  readonly mtuLocked?: boolean;
}

export interface ListedRoute extends Route {
  readonly protocol: number;
}

const message = { create: 24, remove: 25, get: 26 } as const;
const field = { destination: 1, output: 4, via: 5, metrics: 8, table: 15 } as const;
const metric = { lock: 1, mtu: 2 } as const;
const kindNumber: Readonly<Record<RouteKind, number>> = { unicast: 1, blackhole: 6, unreachable: 7, throw: 9 };
const scope = { universe: 0, link: 253, nowhere: 255 } as const;
const onLinkFlag = 4;
const routeHeaderBytes = 12;

/** Adds a route, or takes the place of the one to the same destination in the same table. */
export function replaceRoute(socket: NetlinkSocket, route: Route): void {
  const flags = messageFlags.create | messageFlags.replace;
  socket.request(message.create, flags, encodeRoute(socket, route), `set ${describe(route)}`);
}

/** False when there was no such route of baton's; `kind` and next hop are not looked at. */
export function deleteRoute(
  socket: NetlinkSocket,
  route: Pick<Route, "table" | "destination" | "family" | "via">,
): boolean {
  const target = targetOf(route);
  const payload = concatBytes([
    routeHeader({ target, kind: 0, scope: scope.nowhere, flags: 0 }),
    u32Attribute(field.table, route.table),
    ...destinationAttribute(target.prefix),
  ]);
  const outcome = socket.tryRequest(message.remove, 0, payload, `delete ${describe(route)}`);
  if (outcome.ok) return true;
  if (outcome.error.errno === "ESRCH" || outcome.error.errno === "ENOENT") return false;
  throw outcome.error;
}

/** All routes of one table in the order of the kernel, whoever made them; an absent table has none. */
export function listRoutes(socket: NetlinkSocket, table: number, family: AddressFamily = 4): readonly ListedRoute[] {
  const header = new Uint8Array(routeHeaderBytes);
  header[0] = familyNumber[family];
  const names = new Map(listLinks(socket).map((link) => [link.index, link.name]));
  const payload = concatBytes([header, u32Attribute(field.table, table)]);
  const outcome = socket.tryDump(message.get, payload, `list routes of table ${table}`);
  if (outcome.ok) return outcome.messages.flatMap(({ payload }) => decodeRoute(payload, table, names) ?? []);
  if (outcome.error.errno === "ENOENT") return [];
  throw outcome.error;
}

/**
 * Makes a table hold exactly the wanted routes, of those that are baton's. New ones come before old ones go, and one that
 * is there as wanted is not touched.
 */
export function reconcileRoutes(
  socket: NetlinkSocket,
  table: number,
  wanted: readonly Route[],
  family: AddressFamily = 4,
): void {
  const found = listRoutes(socket, table, family).filter((route) => route.protocol === batonProtocol);
  const foundKeys = new Set(found.map(routeKey));
  for (const route of wanted) if (!foundKeys.has(routeKey(route))) replaceRoute(socket, route);
  const destinations = new Set(wanted.map(destinationKey));
  for (const route of found) if (!destinations.has(destinationKey(route))) deleteRoute(socket, route);
}

interface Target {
  readonly family: AddressFamily;
  readonly prefix: Prefix | undefined;
}

function targetOf(route: Pick<Route, "destination" | "family" | "via">): Target {
  if (route.destination === "default")
    return { family: route.via !== undefined ? familyOf(route.via) : (route.family ?? 4), prefix: undefined };
  const prefix = parsePrefix(route.destination);
  if (prefix === undefined) throw new RangeError(`a route's destination is a prefix, not "${route.destination}"`);
  const isDefault = prefix.length === 0;
  return { family: familyOf(prefix.address), prefix: isDefault ? undefined : prefix };
}

function encodeRoute(socket: NetlinkSocket, route: Route): Uint8Array {
  const target = targetOf(route);
  const linkScope = route.kind === "unicast" && route.via === undefined;
  const attributes = [u32Attribute(field.table, route.table), ...destinationAttribute(target.prefix)];
  if (route.via !== undefined) attributes.push(attribute(field.via, rawAddress(route.via)));
  if (route.device !== undefined) attributes.push(u32Attribute(field.output, requireLink(socket, route.device).index));
  if (route.mtu !== undefined) {
    const lock = route.mtuLocked === true ? [u32Attribute(metric.lock, 1 << metric.mtu)] : [];
    attributes.push(nestedAttribute(field.metrics, ...lock, u32Attribute(metric.mtu, route.mtu)));
  }
  const header = routeHeader({
    target,
    kind: kindNumber[route.kind],
    scope: linkScope ? scope.link : scope.universe,
    flags: route.via !== undefined && route.device !== undefined ? onLinkFlag : 0,
  });
  return concatBytes([header, ...attributes]);
}

function destinationAttribute(prefix: Prefix | undefined): readonly Uint8Array[] {
  return prefix === undefined ? [] : [attribute(field.destination, rawAddress(prefix.address))];
}

/** struct rtmsg; its own table field has 8 bits, so the attribute counts. */
function routeHeader(header: { target: Target; kind: number; scope: number; flags: number }): Uint8Array {
  const { target, kind, flags } = header;
  const bytes = new Uint8Array(routeHeaderBytes);
  bytes.set([familyNumber[target.family], target.prefix?.length ?? 0, 0, 0, 0, batonProtocol, header.scope, kind]);
  viewOf(bytes).setUint32(8, flags, true);
  return bytes;
}

function decodeRoute(payload: Uint8Array, table: number, names: ReadonlyMap<number, string>): ListedRoute | undefined {
  if (payload.length < routeHeaderBytes) return undefined;
  const attributes = decodeAttributes(payload.subarray(routeHeaderBytes));
  const family = familyOfNumber(payload[0]);
  const kind = (Object.keys(kindNumber) as RouteKind[]).find((name) => kindNumber[name] === payload[7]);
  if (attributes === undefined || family === undefined || kind === undefined) return undefined;
  if (attributes.u32(field.table) !== table) return undefined;
  const address = addressFromRaw(attributes.bytes(field.destination));
  const device = names.get(attributes.u32(field.output) ?? 0);
  const via = addressFromRaw(attributes.bytes(field.via));
  const metrics = attributes.nested(field.metrics);
  const mtu = metrics?.u32(metric.mtu);
  const locked = ((metrics?.u32(metric.lock) ?? 0) & (1 << metric.mtu)) !== 0;
  return {
    table,
    destination: address === undefined ? "default" : `${address}/${payload[1]}`,
    family,
    kind,
    ...(device !== undefined && kind === "unicast" && { device }),
    ...(via !== undefined && { via }),
    ...(mtu !== undefined && { mtu }),
    ...(locked && { mtuLocked: true }),
    protocol: payload[5] ?? 0,
  };
}

function destinationKey(route: Route): string {
  const { family, prefix } = targetOf(route);
  return `${family} ${prefix === undefined ? "default" : `${prefix.address}/${prefix.length}`}`;
}

function routeKey(route: Route): string {
  const next = [route.kind, route.device ?? "", route.via ?? "", route.mtu ?? "", route.mtuLocked === true];
  return `${destinationKey(route)} ${next.join(" ")}`;
}

function describe(route: Pick<Route, "table" | "destination">): string {
  return `route to ${route.destination} in table ${route.table}`;
}
