import { describe, expect, test } from "vitest";
import { noObjects, renderAgentRuleset } from "../../../src/dataplane/agent-ruleset.ts";
import type { AgentHost } from "../../../src/dataplane/rule-scope.ts";
import type { AgentAddress, Link, UnknownPolicy } from "../../../src/node/state.ts";
import { agentState, follow, host, ip, plain, sourceLink, states, targetLink } from "./agent-states.ts";

function rulesOf(text: string, chain: string): string[] {
  const prefix = `add rule inet baton ${chain} `;
  return text
    .split("\n")
    .filter((line) => line.startsWith(prefix))
    .map((line) => line.slice(prefix.length));
}

function holder(change: Partial<AgentAddress>) {
  return agentState([{ ...plain, private: ip("10.77.0.12"), follows: [follow], ...change }], [targetLink]);
}

describe("the agent's ruleset", () => {
  test.each(Object.entries(states))("for %s is this, to the byte", async (name, state) => {
    const { text } = renderAgentRuleset(state, host, noObjects);
    await expect(text).toMatchFileSnapshot(`./golden/${name}.nft`);
  });

  test("is the same text for the same state", () => {
    const first = renderAgentRuleset(states.targetArmed, host, noObjects);
    const second = renderAgentRuleset(states.targetArmed, host, first.objects);
    expect(second.text).toBe(first.text);
  });

  test("never flushes or deletes a set that is still wanted (D6)", () => {
    const { objects } = renderAgentRuleset(states.targetArmed, host, noObjects);
    const { text } = renderAgentRuleset(states.targetDraining, host, objects);
    expect(text).not.toMatch(/(flush|delete) set/);
  });

  test("removes chains, sets and counters that are no longer wanted, users before the used", () => {
    const { objects } = renderAgentRuleset(states.targetArmed, host, noObjects);
    const { text } = renderAgentRuleset(states.steady, host, objects);
    expect(text).toContain("delete set inet baton follow_5\n");
    expect(text).toContain("delete counter inet baton followed_packets_5\n");
    const lines = text.split("\n");
    const lastFlush = lines.findLastIndex((line) => line.startsWith("flush chain"));
    const firstDelete = lines.findIndex((line) => line.startsWith("delete"));
    expect(firstDelete).toBeGreaterThan(lastFlush);
  });

  test("marks return traffic before it touches a set, so that a full set costs no packet (trap 7)", () => {
    const rules = rulesOf(renderAgentRuleset(states.targetDraining, host, noObjects).text, "return_link_5");
    const mark = rules.findIndex((rule) => rule.startsWith("meta mark set"));
    const firstUpdate = rules.findIndex((rule) => rule.includes("update @"));
    expect(mark).toBeGreaterThanOrEqual(0);
    expect(firstUpdate).toBeGreaterThan(mark);
  });

  test("counts what the owner has confirmed, and nothing that a stranger could cause (D13)", () => {
    const { text } = renderAgentRuleset(states.targetDraining, host, noObjects);
    const counted = text.split("\n").filter((line) => /counter name (followed|returned)_packets/.test(line));
    const into = counted.filter((line) => line.includes("followed_packets"));
    expect(into.length).toBeGreaterThan(0);
    for (const line of into) expect(line).toMatch(/@(follow|learnt|half)_5 counter/);
    const returned = rulesOf(text, "return_link_5");
    const reset = returned.findIndex((rule) => rule.startsWith("tcp flags & rst"));
    const early = returned.slice(0, reset).filter((rule) => rule.includes("returned_packets_5"));
    for (const rule of early) expect(rule).toMatch(/^meta l4proto udp |@follow_5 /);
  });

  test("calls a flow superseded only when its client had asked for its ports again, and its reset has ended it", () => {
    const rules = rulesOf(renderAgentRuleset(states.sourceSwitched, host, noObjects).text, "prerouting_tracked");
    const counting = rules.filter((rule) => rule.includes("superseded_packets_5"));
    expect(counting).toHaveLength(1);
    expect(counting[0]).toMatch(
      /^tcp flags & rst == rst .*@reopening_5 ct expiration .* counter .* delete @reopening_5/,
    );
  });

  test("learns from the owner's packets only (D3)", () => {
    const { text } = renderAgentRuleset(states.targetDraining, host, noObjects);
    const learning = text.split("\n").filter((line) => line.includes("update @learnt"));
    expect(learning).toHaveLength(1);
    expect(learning[0]).toContain(" return_link_5 ");
  });

  test.each<[UnknownPolicy, boolean, RegExp]>([
    ["drop", false, /goto follow_link_5$/],
    ["drop", true, /drop$/],
    ["reset", false, /goto follow_link_5$/],
    ["reset", true, /reject with tcp reset$/],
    ["follow", true, /goto follow_link_5$/],
  ])("with policy %s and settled %s an unknown packet meets %s", (unknown, settled, last) => {
    const state = holder({ follows: [{ ...follow, unknown, settled }] });
    const rules = rulesOf(renderAgentRuleset(state, host, noObjects).text, "unknown_10_77_0_12");
    expect(rules.at(-1)).toMatch(last);
  });

  test("takes what came through a channel out of every decision, so that none sends it into a channel again (D4)", () => {
    // Holder and owner at once: it follows one instance, and is followed by another.
    const behind: Link = {
      ...sourceLink,
      id: 6,
      localPrivate: ip("10.77.0.12"),
      peer: "vm-c",
      peerPrivate: ip("10.77.0.13"),
    };
    const both = agentState([{ ...plain, private: ip("10.77.0.12"), follows: [follow] }], [targetLink, behind]);
    for (const state of [both, { ...both, links: both.links.map((link): Link => ({ ...link, kind: "vxlan" })) }]) {
      const { text } = renderAgentRuleset(state, host, noObjects);
      const entry = rulesOf(text, "prerouting_raw");
      const arrivals = entry.flatMap((rule, index) => (/goto (arrival|return)_link_/.test(rule) ? [index] : []));
      expect(arrivals).toHaveLength(both.links.length);
      expect(entry.findIndex((rule) => rule.includes("goto decide_"))).toBeGreaterThan(Math.max(...arrivals));
      const [arrived, ...more] = rulesOf(text, "arrival_link_6");
      expect(arrived).toMatch(/^meta mark set /);
      expect(more.at(-1)).toMatch(/ accept$/);
      for (const rule of [...more, ...rulesOf(text, "return_link_5")]) expect(rule).not.toMatch(/goto|jump/);
      // Whoever carries a mark has been decided on.
      expect(rulesOf(text, "unknown_10_77_0_12")[0]).toBe("meta mark & 0x0fff0000 != 0 accept");
    }
  });

  test("with two predecessors an unknown packet is dropped and looked up", () => {
    const second = { ...follow, owner: "vm-c", ownerPrivate: ip("10.77.0.13"), link: 6 };
    const links = [targetLink, { ...targetLink, id: 6, peer: "vm-c", peerPrivate: ip("10.77.0.13") }];
    const state = agentState([{ ...plain, private: ip("10.77.0.12"), follows: [follow, second] }], links);
    const rules = rulesOf(renderAgentRuleset(state, host, noObjects).text, "unknown_10_77_0_12");
    expect(rules.at(-2)).toMatch(/log group 7701/);
    expect(rules.at(-1)).toMatch(/drop$/);
  });

  test("holds back the target's own connections until the flip, and only then lets them go", () => {
    const syn = "ip saddr 10.77.0.12 ip daddr != 10.77.0.0/24 tcp flags & (fin | syn | rst | ack) == syn drop";
    expect(rulesOf(renderAgentRuleset(states.targetArmed, host, noObjects).text, "output_route")).toContain(syn);
    expect(rulesOf(renderAgentRuleset(states.targetDraining, host, noObjects).text, "output_route")).not.toContain(syn);
  });

  test("keeps a handshake that the holder took, also when word of the owner's comes late", () => {
    const { text } = renderAgentRuleset(states.targetDraining, host, noObjects);
    for (const chain of ["decide_10_77_0_12", "syn_10_77_0_12"]) {
      const rules = rulesOf(text, chain);
      const taken = rules.findIndex((rule) => rule.endsWith("@own_syn_5 accept"));
      expect(taken).toBeGreaterThanOrEqual(0);
      expect(rules.findIndex((rule) => rule.includes("@half_5 "))).toBeGreaterThan(taken);
    }
  });

  test("drops what a source opens by itself that answers by itself, and lets out what it had opened before", () => {
    const rules = rulesOf(renderAgentRuleset(states.sourceAnswering, host, noObjects).text, "egress_10_77_0_11");
    const syn = "tcp flags & (fin | syn | rst | ack) == syn ct state new";
    expect(rules).toContain(`${syn} ct mark & 0x0fff0000 != 0x04070000 counter name refused_packets_5 drop`);
    const [armed] = rulesOf(renderAgentRuleset(states.sourceArmedToAnswer, host, noObjects).text, "egress_10_77_0_11");
    expect(armed).toBe(`${syn} ct mark set ct mark & 0xf000ffff | 0x04070000`);
  });

  test("sends only answers to handshakes and to probes into the channel, where the source answers by itself (trap 6)", () => {
    for (const state of [states.sourceAnswering, states.sourceAnsweringByVxlan]) {
      const { text } = renderAgentRuleset(state, host, noObjects);
      const marking = text.split("\n").filter((line) => line.includes("| 0x0c050000"));
      expect(marking).toHaveLength(2);
      expect(marking[0]).toContain("icmp type echo-reply icmp id 5 meta mark set");
      expect(marking[1]).toContain("egress_10_77_0_11 tcp flags & (syn | ack) == (syn | ack) meta mark set");
    }
  });

  test("counts at a source that answers by itself what shows that a connection lives (D13)", () => {
    const rules = rulesOf(renderAgentRuleset(states.sourceAnswering, host, noObjects).text, "egress_10_77_0_11");
    const reset = rules.indexOf("tcp flags & rst == rst accept");
    const counting = rules.flatMap((rule, index) => (rule.includes("returned_packets_5") ? [index] : []));
    expect(counting).toEqual([reset - 1, reset + 1]);
    expect(rules[reset - 1]).toMatch(/^tcp flags & \(syn \| ack\)/);
  });

  test("is the same at the target, whichever way its source answers by", () => {
    const answering = agentState(states.targetDraining.addresses, [{ ...targetLink, returnPath: "direct" }]);
    const render = (state: typeof answering) => renderAgentRuleset(state, host, noObjects);
    expect(render(answering)).toEqual(render(states.targetDraining));
  });

  describe("beside a tracker", () => {
    const own = ip("10.77.0.11");
    const hostedPorts: AgentHost["hostedPorts"] = [
      { protocol: "tcp", address: own, port: 7410 },
      { protocol: "tcp", address: own, port: 7420 },
      { protocol: "udp", address: own, port: 7420 },
    ];
    const hosting: AgentHost = { ...host, hostedPorts };

    test.each(["steady", "sourceSwitched", "targetDraining"] as const)("for %s is this, to the byte", async (name) => {
      const { text } = renderAgentRuleset(states[name], hosting, noObjects);
      await expect(text).toMatchFileSnapshot(`./golden/${name}Hosting.nft`);
    });

    test.each(Object.entries(states))(
      "drops for %s what strangers send to its ports where it is delivered, and is otherwise as it would be (H15)",
      (_name, state) => {
        const [without, beside] = [host, hosting].map((it) =>
          renderAgentRuleset(state, it, noObjects).text.split("\n"),
        );
        const more = beside?.filter((line) => !without?.includes(line)) ?? [];
        const drops = more.filter((line) => line.startsWith("add rule"));
        expect(
          more.filter((line) => !drops.includes(line) && !/^(add|flush) chain inet baton input\b/.test(line)),
        ).toEqual([]);
        expect(drops).toHaveLength(hostedPorts.length);
        for (const rule of drops)
          expect(rule).toMatch(
            /^add rule inet baton input iifname != "lo" ip saddr != 10\.77\.0\.0\/24 ip daddr 10\.77\.0\.11 (tcp|udp) dport 74[12]0 counter drop$/,
          );
        // A proof of a channel may have any port that a link's number can be.
        const input = rulesOf(beside?.join("\n") ?? "", "input");
        expect(input.findLastIndex((rule) => rule.includes("log group"))).toBeLessThan(input.length - drops.length);
      },
    );

    test("takes a listener at any address for one at each, and knows no strangers where it knows no fabric (H15)", () => {
      const everywhere = { ...host, hostedPorts: [{ protocol: "tcp", address: undefined, port: 7410 }] } as const;
      const rules = rulesOf(renderAgentRuleset(states.steady, everywhere, noObjects).text, "input");
      expect(rules).toEqual(['iifname != "lo" ip saddr != 10.77.0.0/24 tcp dport 7410 counter drop']);
      const unknown = { ...states.steady, fabric: [], addresses: [] };
      expect(renderAgentRuleset(unknown, everywhere, noObjects).text).not.toContain("7410");
    });
  });

  test("refuses a private address that no device carries", () => {
    const state = agentState([], [{ ...targetLink, localPrivate: ip("10.77.0.99") }]);
    expect(() => renderAgentRuleset(state, host, noObjects)).toThrow(/no device of this host carries 10.77.0.99/);
  });
});
