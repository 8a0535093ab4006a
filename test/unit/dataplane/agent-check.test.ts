import { describe, expect, test } from "vitest";
import { checkAgentState } from "../../../src/dataplane/agent-check.ts";
import { agentState, follow, ip, plain, sourceLink, states, targetLink } from "./agent-states.ts";

const abilities = {
  addresses: new Set([ip("10.77.0.11"), ip("10.77.0.12")]),
  channels: ["direct", "vxlan"] as const,
};

describe("what an agent refuses of a state", () => {
  test.each(Object.entries(states))("is nothing of %s", (_name, state) => {
    expect(checkAgentState(state, abilities)).toBeUndefined();
  });

  test("is an address that no device carries", () => {
    const state = agentState([{ ...plain, private: ip("10.77.0.99") }], []);
    expect(checkAgentState(state, abilities)).toMatchObject({ code: "UNKNOWN_PRIVATE" });
  });

  test("is a channel that the kernel can't do", () => {
    const fault = checkAgentState(states.targetArmedByVxlan, { ...abilities, channels: ["direct"] });
    expect(fault?.code).toBe("CHANNEL_UNAVAILABLE");
    expect(fault?.message).toContain("vxlan");
  });

  test("is a direct link whose other end has no link-layer address", () => {
    const state = agentState([], [{ ...targetLink, peerLinkAddress: "" }]);
    expect(checkAgentState(state, abilities)).toMatchObject({ code: "CHANNEL_UNAVAILABLE" });
  });

  test.each([
    ["a link that is there twice", agentState([], [targetLink, targetLink])],
    ["a follow without its link", agentState([{ ...plain, private: ip("10.77.0.12"), follows: [follow] }], [])],
    [
      "a follow by the owner's end of a link",
      agentState([{ ...plain, private: ip("10.77.0.11"), follows: [follow] }], [sourceLink]),
    ],
    [
      "an egress by a link that it lacks",
      agentState([{ ...plain, private: ip("10.77.0.11"), egress: { kind: "channel", link: 9 } }], [sourceLink]),
    ],
    [
      "an egress into a channel whose owner answers by itself",
      agentState(
        [{ ...plain, private: ip("10.77.0.11"), egress: { kind: "channel", link: 5 } }],
        [{ ...sourceLink, returnPath: "direct" }],
      ),
    ],
    [
      "two public addresses at one private one",
      agentState(
        [
          { ...plain, private: ip("10.77.0.11") },
          { ...plain, address: ip("203.0.113.11"), private: ip("10.77.0.11") },
        ],
        [],
      ),
    ],
    ["addresses without a fabric", { ...states.steady, fabric: [] }],
    ["a probe source within the fabric", { ...states.steady, probeSource: ip("10.77.0.200") }],
  ])("is %s", (_what, state) => {
    expect(checkAgentState(state, abilities)).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
