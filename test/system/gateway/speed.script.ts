/** How long a gateway needs for a state that moves one of many addresses. Prints the milliseconds of each flip. */

import { KernelTable } from "../../../services/gateway/kernel-table.ts";
import { gatewayTable } from "../../../src/dataplane/gateway-ruleset.ts";
import { type IpAddress, type Prefix, parseIpAddress, parsePrefix } from "../../../src/flow/address.ts";
import { Nftables } from "../../../src/kernel/nftables.ts";
import type { GatewayState } from "../../../src/node/state.ts";

const mappings = Number(process.argv[2]);
const flips = 31;
const devices = { publicDevice: "eth0", fabricDevice: "eth1", guardedDevices: [] };

const base: GatewayState = {
  fabric: [prefix("10.0.0.0/8")],
  publicPrefixes: [prefix("203.0.0.0/16")],
  probeSource: ip("192.0.2.1"),
  mappings: Array.from({ length: mappings }, (_, index) => ({
    address: ip(`203.0.${index >> 8}.${index & 255}`),
    private: ip(`10.1.${index >> 8}.${index & 255}`),
    generation: 1n,
  })),
  accepts: [],
  proofs: [],
};

using nftables = new Nftables();
const table = new KernelTable(nftables);
const wholeMs = timed(base, 1n);
const flipMs: number[] = [];
for (let flip = 1; flip <= flips; flip++) {
  const moved = {
    address: ip("203.0.0.0"),
    private: ip(flip % 2 === 1 ? "10.2.0.0" : "10.1.0.0"),
    generation: BigInt(flip),
  };
  flipMs.push(timed({ ...base, mappings: [moved, ...base.mappings.slice(1)] }, BigInt(flip + 1)));
}
console.log(JSON.stringify({ wholeMs, flipMs }));

/** The kernel's part: a table that is there already, changed. */
function timed(state: GatewayState, generation: bigint): number {
  const wanted = gatewayTable(devices, state, new Set());
  const begin = performance.now();
  const outcome = table.write(wanted, { term: 1n, leader: "c1", generation, digest: "ab".repeat(32) });
  if (!outcome.ok) throw new Error(outcome.message);
  return performance.now() - begin;
}

function ip(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}
