/** Desired states of a gateway at the steps of one remap. */
import type { GatewayDevices } from "../../../src/dataplane/gateway-ruleset.ts";
import { type IpAddress, type Prefix, parseIpAddress, parsePrefix } from "../../../src/flow/address.ts";
import type { GatewayState } from "../../../src/node/state.ts";

export const devices: GatewayDevices = { publicDevice: "eth0", fabricDevice: "eth1", guardedDevices: [] };
export const before: GatewayState = {
  fabric: [prefix("10.77.0.0/24")],
  publicPrefixes: [prefix("203.0.113.0/24")],
  probeSource: ip("192.0.2.1"),
  mappings: [
    { address: ip("203.0.113.10"), private: ip("10.77.0.11"), generation: 1n },
    { address: ip("203.0.113.11"), private: ip("10.77.0.12"), generation: 1n },
  ],
  accepts: [{ address: ip("203.0.113.10"), private: ip("10.77.0.112"), retiring: false }],
  proofs: [],
};
export const after: GatewayState = {
  ...before,
  mappings: [
    { address: ip("203.0.113.10"), private: ip("10.77.0.112"), generation: 2n },
    { address: ip("203.0.113.11"), private: ip("10.77.0.12"), generation: 1n },
  ],
  accepts: [{ address: ip("203.0.113.10"), private: ip("10.77.0.11"), retiring: false }],
};
export const retiring: GatewayState = {
  ...after,
  accepts: [{ address: ip("203.0.113.10"), private: ip("10.77.0.11"), retiring: true }],
};

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(`${text} is no address`);
  return address;
}

export function prefix(text: string): Prefix {
  const parsed = parsePrefix(text);
  if (parsed === undefined) throw new Error(`${text} is no prefix`);
  return parsed;
}
