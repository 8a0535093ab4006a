/** Flows for tests: short to write, and random ones for properties. */
import fc from "fast-check";
import { type IpAddress, parseIpAddress } from "../../src/flow/address.ts";
import type { FlowRow } from "../../src/flow/events.ts";
import type { Flow, FlowKey, FlowState, LiveFlowState } from "../../src/flow/flow.ts";

export function ip(text: string): IpAddress {
  const address = parseIpAddress(text);
  if (address === undefined) throw new Error(`not an address: ${text}`);
  return address;
}

export const publicAddress = ip("203.0.113.10");

export function keyOf(peerPort: number, address: IpAddress = publicAddress): FlowKey {
  return { address, protocol: "tcp", peer: ip("198.51.100.2"), peerPort, port: 443 };
}

export function rowOf(peerPort: number, state: FlowState = "open", more: Partial<FlowRow> = {}): FlowRow {
  return { key: keyOf(peerPort), state, openedAtMs: 1_700_000_000_000, generation: 1n, ...more };
}

export function flowOf(peerPort: number, owner: string, state: LiveFlowState = "open", more: Partial<Flow> = {}): Flow {
  return { ...rowOf(peerPort, state), owner, ...more };
}

const ipv4 = fc.ipV4().map(ip);
const ipv6 = fc.ipV6().map(ip);

export const anyAddress = fc.oneof(ipv4, ipv6);
const port = fc.integer({ min: 0, max: 65_535 });

export const anyKey: fc.Arbitrary<FlowKey> = fc.record({
  address: anyAddress,
  protocol: fc.constantFrom("tcp" as const, "udp" as const),
  peer: anyAddress,
  peerPort: port,
  port,
});

export const anyRow: fc.Arbitrary<FlowRow> = fc.record({
  key: anyKey,
  state: fc.constantFrom("half-open" as const, "open" as const, "closing" as const, "closed" as const),
  openedAtMs: fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_000 + 0xffff_ffff }),
  generation: fc.bigInt({ min: 0n, max: 0xffff_ffffn }),
});
