/**
 * What a tracker beside the agent, and the agent as a member of the gossip, listen at is the fabric's alone: gateways
 * translate a public address to the very private address whose ports these are, and an uplink of the host's own leads to
 * it as well.
 *
 * The rules stand where a packet is about to be delivered here. A followed packet that is for the same port of its owner's
 * never comes by, and neither does what the host's own translation sends elsewhere.
 */
import { type IpAddress, isIpv4Prefix } from "../flow/address.ts";
import type { RuleScope } from "./rule-scope.ts";

/** Public addresses are IPv4 and are mapped to nothing else; so are these. */
export interface HostedPort {
  readonly protocol: "tcp" | "udp";
  /** Undefined: every address of the host. */
  readonly address: IpAddress | undefined;
  readonly port: number;
}

/** Where no fabric is known yet, nobody can be told from a stranger. */
export function guardHosted({ state, host, fabric }: RuleScope): string[] {
  if (!state.fabric.some(isIpv4Prefix)) return [];
  return host.hostedPorts.map(({ protocol, address, port }) => {
    const destination = address === undefined ? "" : ` ip daddr ${address}`;
    // What the host sends to itself may have any source.
    return `iifname != "lo" ip saddr != ${fabric}${destination} ${protocol} dport ${port} counter drop`;
  });
}
