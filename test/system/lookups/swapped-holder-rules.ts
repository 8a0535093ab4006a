/**
 * The holder's rules without two of their safeguards: the kernel learns no flow from the owner's packets, and a packet
 * that nobody knows is dropped from the start. What is followed then is what the tracker has said.
 */
import * as right from "../../../src/dataplane/holder-rules.ts";
import type { Chain, RuleScope } from "../../../src/dataplane/rule-scope.ts";
import type { AgentAddress, Link } from "../../../src/node/state.ts";

export const { toOwner, returnSources, probesUnmarked, ownPorts } = right;

export function fromOwner(scope: RuleScope, link: Link): string[] {
  return right.fromOwner(scope, link).filter((rule) => !/update @(?:learnt|half)_/.test(rule));
}

export function decisionChains(scope: RuleScope, address: AgentAddress): Chain[] {
  const follows = address.follows.map((follow) => ({ ...follow, settled: true, unknown: "drop" as const }));
  return right.decisionChains(scope, { ...address, follows });
}
