/** Addresses, instances and gateways: as tables, and as JSON. */
import type { Json } from "../../../src/remap/report.ts";
import { timeText } from "../../../src/remap/report.ts";
import type { AddressView, GatewayView, InstanceView } from "../../../src/rpc/inventory-codec.ts";
import { formatDuration } from "../duration.ts";
import { table } from "./table.ts";
import { type Line, paint, type Span } from "./text.ts";

export function addressJson(view: AddressView): Json {
  return {
    address: view.address,
    instance: view.instance,
    private: view.private,
    generation: Number(view.generation),
    ...(view.remap !== undefined && { remap: view.remap }),
  };
}

export function addressTable(views: readonly AddressView[]): Line[] {
  if (views.length === 0) return [["No public address yet. Map one: baton addresses add ADDRESS --instance NAME"]];
  const rows = views.map((view) => [
    view.address,
    view.instance,
    view.private,
    String(view.generation),
    view.remap === undefined ? "" : paint(view.remap, "cyan"),
  ]);
  return table(["ADDRESS", "INSTANCE", "PRIVATE", "GENERATION", "REMAP"], rows, ["GENERATION"]);
}

export function instanceJson(view: InstanceView): Json {
  return {
    name: view.name,
    private: [...view.privateAddresses],
    addresses: [...view.addresses],
    connected: view.connected,
    ...(view.lastSeenMs !== undefined && { lastSeen: timeText(view.lastSeenMs) }),
    version: view.version,
    ...(view.heldBack !== undefined && { heldBack: view.heldBack }),
  };
}

export function instanceTable(views: readonly InstanceView[], nowMs: number): Line[] {
  if (views.length === 0) return [["No instance yet: none of their agents has connected."]];
  const rows = views.map((view) => [
    view.name,
    connection(view, nowMs),
    view.privateAddresses.join(" "),
    view.addresses.join(" "),
    view.version,
  ]);
  return [...table(["INSTANCE", "AGENT", "PRIVATE", "ADDRESSES", "VERSION"], rows), ...heldBackLines(views)];
}

export function gatewayJson(view: GatewayView): Json {
  return {
    name: view.name,
    connected: view.connected,
    ...(view.lastSeenMs !== undefined && { lastSeen: timeText(view.lastSeenMs) }),
    version: view.version,
    current: view.current,
    ...(view.heldBack !== undefined && { heldBack: view.heldBack }),
  };
}

export function gatewayTable(views: readonly GatewayView[], nowMs: number): Line[] {
  if (views.length === 0) return [["No gateway yet: none has connected."]];
  const rows = views.map((view) => [
    view.name,
    connection(view, nowMs),
    view.current ? paint("current", "green") : paint("behind", "yellow"),
    view.version,
  ]);
  return [...table(["GATEWAY", "STATE", "TABLE", "VERSION"], rows), ...heldBackLines(views)];
}

/** All nodes that are held back are so for one cause mostly, and what to do is the same. */
function heldBackLines(views: readonly { readonly name: string; readonly heldBack?: string }[]): Line[] {
  const lines = views.flatMap(({ name, heldBack }): Line[] =>
    heldBack === undefined ? [] : [[paint(`${name} is held back, and gets no orders: ${heldBack}`, "red")]],
  );
  return lines.length === 0 ? [] : [[""], ...lines];
}

function connection(
  view: { readonly connected: boolean; readonly lastSeenMs?: number; readonly heldBack?: string },
  nowMs: number,
): Span {
  if (view.heldBack !== undefined) return paint("held back", "red");
  if (view.connected) return paint("connected", "green");
  if (view.lastSeenMs === undefined) return paint("never seen", "red");
  return paint(`gone for ${formatDuration(Math.max(0, nowMs - view.lastSeenMs))}`, "red");
}
