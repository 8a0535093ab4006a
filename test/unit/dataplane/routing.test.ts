import { describe, expect, test } from "vitest";
import { renderRouting } from "../../../src/dataplane/routing.ts";
import { host, states } from "./agent-states.ts";

describe("the agent's routing", () => {
  test.each(Object.entries(states))("for %s is this", async (name, state) => {
    await expect(`${JSON.stringify(renderRouting(state, host), null, 2)}\n`).toMatchFileSnapshot(
      `./golden/${name}.routing.json`,
    );
  });

  test("sends a tunnel's own outer packets past the tunnel's table (trap 2)", () => {
    const { rules } = renderRouting(states.targetArmedByVxlan, host);
    const outer = rules.find((rule) => rule.incomingDevice === "lo");
    const inner = rules.find((rule) => rule.table === 7_005);
    expect(outer?.table).toBe(254);
    expect(outer?.preference).toBeLessThan(inner?.preference ?? 0);
    const { routes } = renderRouting(states.sourceSwitchedByVxlan, host);
    expect(routes).toContainEqual({ table: 7_005, destination: "10.77.0.0/24", kind: "throw" });
  });

  test("computes the same tunnel addresses at both ends, so that neither needs ARP", () => {
    const owner = renderRouting(states.sourceSwitchedByVxlan, host);
    const holder = renderRouting(states.targetArmedByVxlan, host);
    expect(owner.neighbours[0]?.linkAddress).toBe(holder.devices[0]?.linkAddress);
    expect(holder.neighbours[0]?.linkAddress).toBe(owner.devices[0]?.linkAddress);
  });

  test("asks for nothing where there is no link", () => {
    expect(renderRouting(states.steady, host)).toEqual({
      devices: [],
      neighbours: [],
      routes: [],
      rules: [],
      sysctls: [],
      forwarding: [],
    });
  });
});
