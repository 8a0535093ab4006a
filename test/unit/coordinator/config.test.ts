import { describe, expect, it } from "vitest";
import { coordinatorConfigSchema } from "../../../services/coordinator/config.ts";
import { parseConfig } from "../../../src/runtime/config.ts";

const least = `name: coordinator1
listen: [127.0.0.1:7400, "unix:/run/baton.sock"]
trackers: [10.77.0.31:7410]
nats: { servers: [10.77.0.21:4222] }
fabric: [10.77.0.0/24]
publicPrefixes: [203.0.113.0/24]
`;
const parse = (text: string, env = {}) => parseConfig(coordinatorConfigSchema, { file: "c.yaml", text, env });

describe("a coordinator's configuration", () => {
  it("needs little, and has defaults for the rest", () => {
    expect(parse(least)).toMatchObject({
      ok: true,
      value: {
        probeSource: "192.0.2.1",
        bounds: { preparingMs: 10_000, armingMs: 10_000 },
        addresses: [],
        shards: 32,
        leaseMs: 3_000,
      },
    });
  });

  it("is overridden by the environment", () => {
    expect(parse(least, { BATON_BOUNDS_PREPARING_MS: "2500" })).toMatchObject({
      value: { bounds: { preparingMs: 2_500 } },
    });
  });

  it.each([
    ["a prefix that is none", least.replace("10.77.0.0/24", "10.77.0.0/99"), "a network prefix"],
    ["an unknown setting", `${least}colour: blue\n`, "colour"],
    ["a bound that nobody can keep", `${least}bounds: { armingMs: 1 }\n`, "at least 100"],
    ["an address that is none", `${least}addresses: [{ address: here, instance: vm-a }]\n`, "an IP address"],
  ])("is refused for %s, with file and line", (_what, text, expectation) => {
    const parsed = parse(text);
    if (parsed.ok) throw new Error("it was taken");
    expect(parsed.errors.join()).toContain(expectation);
    expect(parsed.errors[0]).toMatch(/^c\.yaml:\d+:\d+: /);
  });
});
