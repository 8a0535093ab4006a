/** Makes and removes devices, routes and rules, each twice; prints what `ip` sees in between. */
import { execFileSync } from "node:child_process";
import { type IpAddress, parseIpAddress, parsePrefix } from "../../../src/flow/address.ts";
import { KernelError } from "../../../src/kernel/kernel-error.ts";
import { deleteLink, findLink, listDevices, setLinkMtu, setLinkUp } from "../../../src/kernel/link.ts";
import { deleteRoute, listRoutes, type Route, reconcileRoutes, replaceRoute } from "../../../src/kernel/route.ts";
import { openRouteSocket } from "../../../src/kernel/rtnetlink.ts";
import { addRule, deleteRule, listRules, type Rule, reconcileRules } from "../../../src/kernel/rule.ts";
import { ensureVxlan, type Vxlan } from "../../../src/kernel/vxlan.ts";

function ip(args: string): unknown {
  return JSON.parse(execFileSync("ip", ["-j", "-d", ...args.split(" ")], { encoding: "utf8" }) || "[]");
}

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

function refusal(call: () => unknown): { message: string; errno?: string } | undefined {
  try {
    call();
    return undefined;
  } catch (error) {
    return error instanceof KernelError ? { message: error.message, errno: error.errno } : { message: String(error) };
  }
}

using socket = openRouteSocket();

const vxlan: Vxlan = {
  name: "baton7",
  vni: 7,
  local: address("10.77.0.11"),
  remote: address("10.77.0.12"),
  port: 47890,
  mtu: 1400,
  linkAddress: "02:62:61:00:07:01",
};

function links() {
  const first = ensureVxlan(socket, vxlan);
  const again = ensureVxlan(socket, vxlan);
  const seen = ip("link show baton7");
  const shrunk = ensureVxlan(socket, { ...vxlan, mtu: 1300 });
  setLinkUp(socket, "baton7", false);
  const down = findLink(socket, "baton7");
  const raised = ensureVxlan(socket, { ...vxlan, mtu: 1300 });
  const moved = ensureVxlan(socket, { ...vxlan, remote: address("10.77.0.13"), checksum: false });
  const movedSeen = ip("link show baton7");
  setLinkMtu(socket, "baton7", 1234);
  const resized = findLink(socket, "baton7");
  const six = ensureVxlan(socket, {
    ...vxlan,
    name: "baton8",
    vni: 8,
    local: address("fd77::11"),
    remote: address("fd77::12"),
  });
  const sixAgain = ensureVxlan(socket, {
    ...vxlan,
    name: "baton8",
    vni: 8,
    local: address("fd77::11"),
    remote: address("fd77::12"),
  });
  const foreign = refusal(() => ensureVxlan(socket, { ...vxlan, name: "eth0" }));
  const devices = listDevices(socket);
  const deleted = [deleteLink(socket, "baton7"), deleteLink(socket, "baton7"), deleteLink(socket, "baton8")];
  const gone = findLink(socket, "baton7") === undefined;
  return {
    first,
    again,
    seen,
    shrunk,
    down,
    raised,
    moved,
    movedSeen,
    resized,
    six,
    sixAgain,
    foreign,
    devices,
    deleted,
    gone,
  };
}

function routes() {
  const table = 7007;
  const wanted: Route[] = [
    { table, destination: "10.77.0.0/24", kind: "throw" },
    {
      table,
      destination: "default",
      kind: "unicast",
      device: "eth0",
      via: address("192.0.2.200"),
      mtu: 1400,
      mtuLocked: true,
    },
    { table, destination: "10.88.0.5/32", kind: "unicast", device: "eth0" },
    { table, destination: "10.99.0.0/16", kind: "blackhole" },
    { table, destination: "fd99::/64", kind: "unicast", device: "eth0" },
  ];
  const empty = listRoutes(socket, table);
  for (const route of [...wanted, ...wanted]) replaceRoute(socket, route);
  execFileSync("ip", "route add 10.55.0.0/16 dev eth0 table 7007 proto static".split(" "));
  const seen = ip("route show table 7007");
  const seen6 = ip("-6 route show table 7007");
  const listed = listRoutes(socket, table);
  const listed6 = listRoutes(socket, table, 6);
  const next: Route = {
    table,
    destination: "10.88.0.5/32",
    kind: "unicast",
    device: "eth0",
    via: address("10.77.0.99"),
  };
  reconcileRoutes(socket, table, [next]);
  reconcileRoutes(socket, table, [next]);
  const reconciled = listRoutes(socket, table);
  const deleted = [deleteRoute(socket, next), deleteRoute(socket, next)];
  const deletedForeign = deleteRoute(socket, { table, destination: "10.55.0.0/16" });
  const noDevice = refusal(() =>
    replaceRoute(socket, { table, destination: "10.1.0.0/16", kind: "unicast", device: "nope" }),
  );
  const noPrefix = refusal(() => replaceRoute(socket, { table, destination: "10.1.0.0/99", kind: "throw" }));
  return { empty, seen, seen6, listed, listed6, reconciled, deleted, deletedForeign, noDevice, noPrefix };
}

function rules() {
  const from = parsePrefix("10.77.0.11/32");
  const to = parsePrefix("198.51.100.0/24");
  if (from === undefined || to === undefined) throw new Error("prefix");
  const marked: Rule = { preference: 7000, mark: 0x10000, mask: 0xfff0000, incomingDevice: "lo", table: 254 };
  const ends: Rule = { preference: 7001, from, to, table: 7007 };
  const high: Rule = { preference: 7002, mark: 0x80000000, mask: 0xf0000000, table: 7008 };
  const added = [addRule(socket, marked), addRule(socket, marked), addRule(socket, ends), addRule(socket, high)];
  execFileSync("ip", "rule add pref 7050 fwmark 1 table 99".split(" "));
  const seen = ip("rule show");
  const listed = listRules(socket);
  const next: Rule = { ...marked, table: 7009 };
  reconcileRules(socket, [next, high]);
  reconcileRules(socket, [next, high]);
  const reconciled = listRules(socket);
  const deleted = [deleteRule(socket, next), deleteRule(socket, next), deleteRule(socket, high)];
  const deletedForeign = deleteRule(socket, { preference: 7050, mark: 1, table: 99 });
  return { added, seen, listed, reconciled, deleted, deletedForeign, left: ip("rule show") };
}

console.log(JSON.stringify({ links: links(), routes: routes(), rules: rules() }));
