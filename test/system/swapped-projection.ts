/**
 * The projection with the order of trap 1: S returns by the channel before the gateways accept E_T→P.
 * SPEC O1 and O3 are broken here on purpose; swap-order.ts puts it in the place of the right one.
 */
import type { AgentState, GatewayState } from "../../src/node/state.ts";
import type { Chain } from "../../src/remap/chain.ts";
import * as right from "../../src/remap/projection.ts";

export function projectAgent(name: string, chains: readonly Chain[], config: right.ProjectionConfig): AgentState {
  const state = right.projectAgent(name, chains, config);
  const addresses = state.addresses.map((address) => {
    if (address.egress.kind !== "armed") return address;
    return { ...address, egress: { kind: "channel", link: address.egress.link } as const };
  });
  return { ...state, addresses };
}

export function projectGateway(chains: readonly Chain[], config: right.ProjectionConfig): GatewayState {
  const state = right.projectGateway(chains, config);
  const early = chains.flatMap(({ pending }) =>
    pending?.record.phase.kind === "arming" ? [pending.record.targetPrivate] : [],
  );
  return { ...state, accepts: state.accepts.filter((accept) => !early.includes(accept.private)) };
}
