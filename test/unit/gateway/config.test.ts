import { expect, test } from "vitest";
import { gatewayConfigSchema } from "../../../services/gateway/config.ts";
import { parseConfig } from "../../../src/runtime/config.ts";

const lines = [
  "name: gw1",
  'coordinators: ["10.77.0.41:7400"]',
  "publicDevice: eth0",
  "fabricDevice: eth1",
  "stateDirectory: /var/lib/baton",
];

function load(...more: readonly string[]) {
  return parseConfig(gatewayConfigSchema, { file: "gw.yaml", text: [...lines, ...more].join("\n"), env: {} });
}

test("a gateway's configuration needs five settings", () => {
  expect(load()).toEqual({
    ok: true,
    value: {
      name: "gw1",
      coordinators: ["10.77.0.41:7400"],
      publicDevice: "eth0",
      fabricDevice: "eth1",
      publicPrefixes: [],
      stateDirectory: "/var/lib/baton",
      log: { level: "info" },
    },
  });
});

test.each([
  ["colour: blue", "gw.yaml:6:1: colour: unknown setting"],
  [
    "publicPrefixes: [203.0.113.0/33]",
    "gw.yaml:6:18: publicPrefixes[0]: expected a network prefix like 203.0.113.0/24",
  ],
  ['admin: { listen: "unix:/run/x" }', "gw.yaml:6:10: admin.listen: expected host:port"],
  ["log: { level: loud }", "gw.yaml:6:8: log.level: expected one of"],
])("%s is an error that says where and what", (line, message) => {
  const loaded = load(line);
  expect(loaded.ok ? [] : loaded.errors).toEqual([expect.stringContaining(message)]);
});

test("a name that rules could not carry is an error", () => {
  const text = lines.join("\n").replace("eth1", '"et\\"h1"');
  const loaded = parseConfig(gatewayConfigSchema, { file: "gw.yaml", text, env: {} });
  expect(loaded.ok ? [] : loaded.errors).toHaveLength(1);
});

test("the two sides must be two devices", () => {
  const text = lines.join("\n").replace("eth1", "eth0");
  const loaded = parseConfig(gatewayConfigSchema, { file: "gw.yaml", text, env: {} });
  expect(loaded.ok ? [] : loaded.errors).toEqual([expect.stringContaining("another device than publicDevice")]);
});
