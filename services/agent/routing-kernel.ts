/** The executor of src/dataplane/routing.ts: wanted routing in, the kernel's routing so. */

import { type Routing, rulePreference, vxlanPort } from "../../src/dataplane/routing.ts";
import { ipAddressFromBytes } from "../../src/flow/address.ts";
import { ensureHostAddress } from "../../src/kernel/device-address.ts";
import { KernelError } from "../../src/kernel/kernel-error.ts";
import { deleteLink, listLinks } from "../../src/kernel/link.ts";
import { replaceNeighbour } from "../../src/kernel/neighbour.ts";
import type { NetlinkSocket } from "../../src/kernel/netlink.ts";
import { reconcileRoutes, replaceRoute } from "../../src/kernel/route.ts";
import { batonProtocol } from "../../src/kernel/rtnetlink.ts";
import { addRule, listRules, reconcileRules } from "../../src/kernel/rule.ts";
import { ensureVxlan } from "../../src/kernel/vxlan.ts";

export const channelDevicePattern = /^baton\d{1,4}$/;

/** Everything that is wanted is there; nothing is taken away. */
export function addRouting(socket: NetlinkSocket, routing: Routing): void {
  for (const device of routing.devices) {
    ensureVxlan(socket, device);
    ensureHostAddress(socket, device.name, device.address);
  }
  for (const neighbour of routing.neighbours) replaceNeighbour(socket, neighbour);
  for (const route of routing.routes) replaceRoute(socket, route);
  for (const rule of routing.rules) addRule(socket, rule);
}

/**
 * Whatever of baton's is not wanted is gone. A table's routes go before the rule that leads to it, so that a crash leaves
 * no routes that nothing points to.
 */
export function removeRouting(socket: NetlinkSocket, wanted: Pick<Routing, "devices" | "routes" | "rules">): void {
  const tables = new Set(
    listRules(socket)
      .filter((rule) => rule.protocol === batonProtocol && rule.preference !== rulePreference.outer)
      .map((rule) => rule.table),
  );
  for (const table of tables)
    reconcileRoutes(
      socket,
      table,
      wanted.routes.filter((route) => route.table === table),
    );
  reconcileRules(socket, wanted.rules);
  const names = new Set(wanted.devices.map((device) => device.name));
  for (const link of listLinks(socket))
    if (link.kind === "vxlan" && channelDevicePattern.test(link.name) && !names.has(link.name))
      deleteLink(socket, link.name);
}

/** Whether this kernel has VXLAN: asked by making a device that goes nowhere. */
export function canVxlan(socket: NetlinkSocket): boolean {
  const trial = { name: "baton0", vni: 0, local: loopback, remote: loopback, port: vxlanPort };
  try {
    ensureVxlan(socket, trial);
  } catch (error) {
    if (error instanceof KernelError && error.errno === "EOPNOTSUPP") return false;
    throw error;
  } finally {
    deleteLink(socket, trial.name);
  }
  return true;
}

const loopback = ipAddressFromBytes(Uint8Array.of(127, 0, 0, 1));
