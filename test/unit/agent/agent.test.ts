/** What an agent says of itself that was started again beside a kernel in which an earlier run of it has worked. */
import pino from "pino";
import { describe, expect, it } from "vitest";
import { Agent, type AgentParts } from "../../../services/agent/agent.ts";
import { FencedNode } from "../../../src/coordinator/fenced-node.ts";
import { TermHistory } from "../../../src/coordinator/term-history.ts";
import { type Fence, judgeFence } from "../../../src/node/fence.ts";
import type { DesiredState } from "../../../src/rpc/node-codec.ts";
import { FakeNode } from "../../support/fake-node.ts";
import { agentState } from "../dataplane/agent-states.ts";

const state = agentState([], []);
const inKernel: Fence = { term: 3n, leader: "c1", generation: 57n, digest: "ab".repeat(32) };
const onDisk: Fence = { ...inKernel, generation: 50n, digest: "cd".repeat(32) };

/** Resumes nothing, for the disk is behind. */
function startedBeside(kernel: Fence): Agent {
  const log = pino({ level: "silent" });
  const agent = new Agent({ kernel: { fence: kernel }, log } as unknown as AgentParts);
  agent.resume({ kind: "agent", state, fence: onDisk });
  return agent;
}

describe("an agent whose kernel is ahead of its disk", () => {
  it.each([
    ["that is new", 4n, "c2"],
    ["that has ordered what the kernel has", 3n, "c1"],
  ])("is given its state by a leader %s (F2)", (_which, term, name) => {
    const agent = startedBeside(inKernel);
    const sent: DesiredState[] = [];
    const history = new TermHistory(new Map([[3n, { leader: "c1", lease: "00" }]]), 0n);
    const node = new FencedNode("vm-a", "agent", { term, name, lease: "00", history });
    node.want({ kind: "agent", state });
    const { standing } = agent;
    const hello = { ...new FakeNode("vm-a", "agent", 11).hello(), ...(standing && { held: standing }) };
    const session = { send: (desired: DesiredState) => void sent.push(desired), end: () => undefined };
    expect(node.connect(hello, session, 0)).toBeUndefined();
    expect(sent.map(({ fence }) => judgeFence(inKernel, fence).kind)).toEqual(["apply"]);
    expect(node.facts().applied).toBeUndefined();
  });

  it("says that it has applied nothing", () => {
    expect(startedBeside(inKernel).fence).toBeUndefined();
  });
});
