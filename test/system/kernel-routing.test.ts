import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { NetworkDevice, NetworkLink } from "../../src/kernel/link.ts";
import type { ListedRoute } from "../../src/kernel/route.ts";
import { batonProtocol } from "../../src/kernel/rtnetlink.ts";
import type { ListedRule } from "../../src/kernel/rule.ts";
import { Namespace } from "./kernel/namespace.ts";

interface Refusal {
  message: string;
  errno?: string;
}

interface Observed {
  links: Record<
    "first" | "again" | "shrunk" | "down" | "raised" | "moved" | "resized" | "six" | "sixAgain",
    NetworkLink
  > & {
    seen: unknown;
    movedSeen: unknown;
    foreign: Refusal;
    devices: NetworkDevice[];
    deleted: boolean[];
    gone: boolean;
  };
  routes: {
    empty: ListedRoute[];
    seen: unknown;
    seen6: unknown;
    listed: ListedRoute[];
    listed6: ListedRoute[];
    reconciled: ListedRoute[];
    deleted: boolean[];
    deletedForeign: boolean;
    noDevice: Refusal;
    noPrefix: Refusal;
  };
  rules: {
    added: boolean[];
    seen: unknown;
    listed: ListedRule[];
    reconciled: ListedRule[];
    deleted: boolean[];
    deletedForeign: boolean;
    left: unknown;
  };
}

const protocol = String(batonProtocol);
let namespace: Namespace;
let peer: Namespace;
let observed: Observed;

beforeAll(async () => {
  namespace = new Namespace("rt-a");
  peer = new Namespace("rt-b");
  namespace.connect("eth0", "10.77.0.11/24", peer, "eth0", "10.77.0.12/24");
  namespace.ip("addr add fd77::11/64 dev eth0 nodad");
  observed = await namespace.script("routing.script.ts");
});
afterAll(() => {
  namespace?.[Symbol.dispose]();
  peer?.[Symbol.dispose]();
});

describe("vxlan tunnels", () => {
  it("are made up, to one remote, without learning", () => {
    const data = { id: 7, local: "10.77.0.11", remote: "10.77.0.12", port: 47890, learning: false, udp_csum: true };
    expect(observed.links.seen).toMatchObject([
      { mtu: 1400, address: "02:62:61:00:07:01", flags: expect.arrayContaining(["UP"]), linkinfo: { info_data: data } },
    ]);
  });

  it("stay the same device when they are wanted again, with another MTU, or were switched off", () => {
    const { first, again, shrunk, down, raised } = observed.links;
    expect(again).toEqual(first);
    expect(shrunk).toEqual({ ...first, mtu: 1300 });
    expect(down.up).toBe(false);
    expect(raised).toEqual(shrunk);
  });

  it("are made anew when their ends differ", () => {
    const { first, moved, movedSeen } = observed.links;
    expect(moved.index).not.toBe(first.index);
    expect(movedSeen).toMatchObject([{ linkinfo: { info_data: { remote: "10.77.0.13", udp_csum: false } } }]);
  });

  it("work over IPv6", () => {
    expect(observed.links.sixAgain).toEqual(observed.links.six);
  });

  it("never take the place of a device of another kind", () => {
    expect(observed.links.foreign).toMatchObject({ errno: "EEXIST", message: expect.stringContaining("veth") });
  });

  it("can be deleted twice", () => {
    expect(observed.links.deleted).toEqual([true, false, true]);
    expect(observed.links.gone).toBe(true);
  });
});

describe("devices", () => {
  it("are listed with their addresses of both families", () => {
    const eth0 = observed.links.devices.find(({ name }) => name === "eth0");
    expect(eth0).toMatchObject({ mtu: 1500, kind: "veth", up: true });
    expect(eth0?.addresses).toContainEqual({ address: "10.77.0.11", prefixLength: 24 });
    expect(eth0?.addresses).toContainEqual({ address: "fd77::11", prefixLength: 64 });
  });

  it("take another MTU", () => {
    expect(observed.links.resized.mtu).toBe(1234);
  });
});

describe("routes", () => {
  it("are set twice without a difference, with the mark of baton", () => {
    expect(observed.routes.empty).toEqual([]);
    expect(observed.routes.seen).toMatchObject([
      { dst: "default", gateway: "192.0.2.200", dev: "eth0", protocol, flags: ["onlink"], metrics: [{ mtu: 1400 }] },
      { dst: "10.55.0.0/16", protocol: "static" },
      { dst: "10.77.0.0/24", type: "throw", protocol },
      { dst: "10.88.0.5", dev: "eth0", scope: "link", protocol },
      { dst: "10.99.0.0/16", type: "blackhole", protocol },
    ]);
    expect(observed.routes.seen6).toMatchObject([{ dst: "fd99::/64", dev: "eth0", protocol }]);
  });

  it("are listed as they were set", () => {
    const { listed, listed6 } = observed.routes;
    const table = 7007;
    expect(listed).toContainEqual({
      table,
      destination: "default",
      family: 4,
      kind: "unicast",
      device: "eth0",
      via: "192.0.2.200",
      mtu: 1400,
      mtuLocked: true,
      protocol: batonProtocol,
    });
    expect(listed).toContainEqual({
      table,
      destination: "10.77.0.0/24",
      family: 4,
      kind: "throw",
      protocol: batonProtocol,
    });
    expect(listed6).toEqual([
      { table, destination: "fd99::/64", family: 6, kind: "unicast", device: "eth0", protocol: batonProtocol },
    ]);
  });

  it("become the wanted whole, and the host's own in the same table stay", () => {
    expect(observed.routes.reconciled.map(({ destination, via }) => [destination, via])).toEqual([
      ["10.55.0.0/16", undefined],
      ["10.88.0.5/32", "10.77.0.99"],
    ]);
  });

  it("can be deleted twice, and only baton's", () => {
    expect(observed.routes.deleted).toEqual([true, false]);
    expect(observed.routes.deletedForeign).toBe(false);
  });

  it("are refused with the cause", () => {
    expect(observed.routes.noDevice).toMatchObject({ errno: "ENODEV", message: expect.stringContaining("nope") });
    expect(observed.routes.noPrefix.message).toContain("10.1.0.0/99");
  });
});

describe("rules", () => {
  it("are added once however often, with mark, mask, device and ends", () => {
    expect(observed.rules.added).toEqual([true, false, true, true]);
    expect(observed.rules.seen).toMatchObject([
      { priority: 0 },
      { priority: 7000, fwmark: "0x10000", fwmask: "0xfff0000", iif: "lo", table: "main", protocol },
      { priority: 7001, src: "10.77.0.11", dst: "198.51.100.0", dstlen: 24, table: "7007", protocol },
      { priority: 7002, fwmark: "0x80000000", fwmask: "0xf0000000", table: "7008", protocol },
      { priority: 7050 },
      { priority: 32766 },
      { priority: 32767 },
    ]);
  });

  it("are listed as they were added", () => {
    const marked = { preference: 7000, mark: 0x10000, mask: 0xfff0000, incomingDevice: "lo", table: 254 };
    expect(observed.rules.listed).toContainEqual({ family: 4, ...marked, protocol: batonProtocol });
  });

  it("become the wanted whole", () => {
    const ours = observed.rules.reconciled.filter((rule) => rule.protocol === batonProtocol);
    expect(ours.map(({ preference, table }) => [preference, table])).toEqual([
      [7000, 7009],
      [7002, 7008],
    ]);
  });

  it("can be deleted twice, and only baton's", () => {
    expect(observed.rules.deleted).toEqual([true, false, true]);
    expect(observed.rules.deletedForeign).toBe(false);
    expect(observed.rules.left).toMatchObject([
      { priority: 0 },
      { priority: 7050 },
      { priority: 32766 },
      { priority: 32767 },
    ]);
  });
});
