/** What the coordinator knows of nodes: the facts on which projections and checklists rest. */
import type { AgentState, GatewayState } from "../node/state.ts";
import type { NodeFault, NodeHello, NodeStatus } from "../node/status.ts";

export interface NodeFacts<State> {
  readonly name: string;
  readonly connected: boolean;
  /** Its newest hello; absent: none since this coordinator leads. */
  readonly hello?: NodeHello;
  /** The state that its kernel has by order of this term; absent: not acknowledged yet. */
  readonly applied?: State;
  readonly status: NodeStatus;
  /** What it could not do of the newest state that it was given. */
  readonly faults: readonly NodeFault[];
}

export type AgentFacts = NodeFacts<AgentState>;
export type GatewayFacts = NodeFacts<GatewayState>;

/** All nodes that were ever seen and not given up. */
export interface World {
  readonly agents: ReadonlyMap<string, AgentFacts>;
  readonly gateways: ReadonlyMap<string, GatewayFacts>;
}
