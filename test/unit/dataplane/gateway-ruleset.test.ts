import { describe, expect, test } from "vitest";
import { closedTable, gatewayTable, renderChange, renderTable } from "../../../src/dataplane/gateway-ruleset.ts";
import type { IpAddress } from "../../../src/flow/address.ts";
import type { GatewayState } from "../../../src/node/state.ts";
import { after, before, devices, ip, prefix, retiring } from "./gateway-states.ts";

const none: ReadonlySet<IpAddress> = new Set();

describe("the gateway's table", () => {
  test("is written whole as this, to the byte", () => {
    expect(renderTable(gatewayTable(devices, before, none))).toBe(wholeTable);
  });

  test("lets nothing pass between the devices while the state is unknown", () => {
    const text = renderTable(closedTable(devices, [prefix("203.0.113.0/24")]));
    expect(rulesOf(text, "forward")).toEqual([
      'iifname "eth0" oifname "eth1" counter name dropped_closed drop',
      'iifname "eth1" oifname "eth0" counter name dropped_closed drop',
    ]);
    expect(rulesOf(text, "from_public")).toContain(
      "ip daddr { 203.0.113.0/24 } fib daddr type != local counter name dropped_unmapped drop",
    );
    expect(text).not.toContain("add element");
  });

  test("forwards only translated packets on devices that forwarded nothing before", () => {
    const text = renderTable(gatewayTable({ ...devices, guardedDevices: ["eth0", "eth1"] }, before, none));
    expect(rulesOf(text, "forward")).toEqual([
      'iifname "eth0" oifname "eth1" ip daddr { 10.77.0.0/24 } accept',
      'iifname "eth0" counter name dropped_foreign drop',
      'iifname "eth1" oifname "eth0" ip saddr @to_public accept',
      'iifname "eth1" counter name dropped_foreign drop',
    ]);
  });

  test("leaves IPv6 entries out", () => {
    const mixed: GatewayState = {
      ...before,
      fabric: [...before.fabric, prefix("fd77::/64")],
      publicPrefixes: [...before.publicPrefixes, prefix("2001:db8:f::/64")],
      mappings: [...before.mappings, { address: ip("2001:db8:f::10"), private: ip("fd77::11"), generation: 1n }],
    };
    expect(renderTable(gatewayTable(devices, mixed, none))).toBe(wholeTable);
  });
});

describe("a change of the gateway's table", () => {
  test("at the flip is one element each way, to the byte", () => {
    expect(renderChange(gatewayTable(devices, before, none), gatewayTable(devices, after, none))).toBe(
      [
        "delete element inet baton to_private { 203.0.113.10 }",
        "add element inet baton to_private { 203.0.113.10 : 10.77.0.112 }",
        "",
      ].join("\n"),
    );
  });

  test("begins to count what an outgoing translation still carries, and removes both in the end", () => {
    const counted = gatewayTable(devices, retiring, none);
    expect(renderChange(gatewayTable(devices, after, none), counted)).toBe(
      "add element inet baton retiring { 10.77.0.11 }\n",
    );
    expect(renderChange(counted, gatewayTable(devices, retiring, new Set([ip("10.77.0.11")])))).toBe(
      [
        "delete element inet baton to_public { 10.77.0.11 }",
        "delete element inet baton retiring { 10.77.0.11 }",
        "",
      ].join("\n"),
    );
  });

  test("keeps an accept that is wanted again although it was gone", () => {
    const again = gatewayTable(devices, after, new Set([ip("10.77.0.11")]));
    expect(again.toPublic.get(ip("10.77.0.11"))).toBe("203.0.113.10");
  });

  test("is empty for the same state", () => {
    expect(renderChange(gatewayTable(devices, after, none), gatewayTable(devices, { ...after }, none))).toBe("");
  });

  test("rewrites the chains, and no table of addresses, when prefixes change", () => {
    const wider = { ...before, publicPrefixes: [prefix("203.0.112.0/23")] };
    const text = renderChange(gatewayTable(devices, before, none), gatewayTable(devices, wider, none));
    expect(text).toContain("flush chain inet baton from_public");
    expect(text).not.toMatch(/element|flush map|flush set|add chain/);
  });
});

const wholeTable = `add table inet baton
add map inet baton to_private { type ipv4_addr : ipv4_addr; size 65536; }
add map inet baton to_public { type ipv4_addr : ipv4_addr; size 65536; }
add set inet baton retiring { type ipv4_addr; size 1024; counter; }
add counter inet baton translated_in
add counter inet baton translated_out
add counter inet baton dropped_spoofed
add counter inet baton dropped_unmapped
add counter inet baton dropped_bypass
add counter inet baton dropped_leak
add counter inet baton dropped_closed
add counter inet baton dropped_foreign
add counter inet baton proofs_returned
add chain inet baton prerouting { type filter hook prerouting priority raw; policy accept; }
add chain inet baton from_public
add chain inet baton from_fabric
add chain inet baton forward { type filter hook forward priority filter; policy accept; }
add chain inet baton postrouting { type filter hook postrouting priority srcnat + 100; policy accept; }
add chain inet baton to_public_side
flush chain inet baton prerouting
add rule inet baton prerouting iifname "eth0" goto from_public
add rule inet baton prerouting iifname "eth1" goto from_fabric
flush chain inet baton from_public
add rule inet baton from_public ip saddr { 10.77.0.0/24, 192.0.2.1 } counter name dropped_spoofed drop
add rule inet baton from_public ip daddr set ip daddr map @to_private notrack counter name translated_in accept
add rule inet baton from_public ip daddr { 203.0.113.0/24 } fib daddr type != local counter name dropped_unmapped drop
add rule inet baton from_public ip daddr { 10.77.0.0/24, 192.0.2.1 } fib daddr type != local counter name dropped_bypass drop
flush chain inet baton from_fabric
add rule inet baton from_fabric ip daddr 192.0.2.1 limit rate 2000/second burst 500 packets log group 7703 snaplen 320
add rule inet baton from_fabric ip daddr 192.0.2.1 counter name proofs_returned drop
add rule inet baton from_fabric ip saddr @to_public notrack
flush chain inet baton forward
flush chain inet baton postrouting
add rule inet baton postrouting oifname "eth0" goto to_public_side
flush chain inet baton to_public_side
add rule inet baton to_public_side ip saddr @retiring
add rule inet baton to_public_side ip saddr set ip saddr map @to_public counter name translated_out accept
add rule inet baton to_public_side ip saddr { 10.77.0.0/24, 192.0.2.1 } counter name dropped_leak drop
flush map inet baton to_private
flush map inet baton to_public
flush set inet baton retiring
add element inet baton to_private { 203.0.113.10 : 10.77.0.11, 203.0.113.11 : 10.77.0.12 }
add element inet baton to_public { 10.77.0.112 : 203.0.113.10, 10.77.0.11 : 203.0.113.10, 10.77.0.12 : 203.0.113.11 }
`;

function rulesOf(text: string, chain: string): string[] {
  const start = `add rule inet baton ${chain} `;
  return text
    .split("\n")
    .filter((line) => line.startsWith(start))
    .map((line) => line.slice(start.length));
}
