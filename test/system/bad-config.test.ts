/** Configurations that no service can use: each names file, line, what it expected and found, and ends with 2. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { runToEnd } from "./bad-service.ts";

const valid = {
  agent: [
    "name: vm-a",
    'coordinators: ["127.0.0.1:7400"]',
    'trackers: ["127.0.0.1:7410"]',
    'nats: { servers: ["127.0.0.1:4222"] }',
    'privateAddresses: ["10.77.0.11"]',
    "stateDirectory: /nonexistent/baton",
  ],
  gateway: [
    "name: gw1",
    'coordinators: ["127.0.0.1:7400"]',
    "publicDevice: eth0",
    "fabricDevice: eth1",
    "stateDirectory: /nonexistent/baton",
  ],
  tracker: [
    "name: tracker1",
    'listen: ["127.0.0.1:7410"]',
    'trackers: [{ name: tracker1, endpoint: "127.0.0.1:7410" }]',
    'nats: { servers: ["127.0.0.1:4222"] }',
    "dataDirectory: /nonexistent/baton",
  ],
  coordinator: [
    "name: coordinator1",
    'listen: ["127.0.0.1:7400"]',
    'trackers: ["127.0.0.1:7410"]',
    'nats: { servers: ["127.0.0.1:4222"] }',
    'fabric: ["10.77.0.0/24"]',
    'publicPrefixes: ["203.0.113.0/24"]',
    "probeSource: 198.18.0.1",
  ],
} as const;

type Kind = keyof typeof valid;

let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "baton-t-config-"));
});

afterAll(() => rmSync(directory, { recursive: true }));

function write(kind: Kind, lines: readonly string[]): string {
  const file = join(directory, `${kind}.yaml`);
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

describe.each(Object.keys(valid) as Kind[])("%s", (kind) => {
  const lines: readonly string[] = valid[kind];
  const next = lines.length + 1;

  test.each<[string, readonly string[], string]>([
    ["a missing setting", lines.slice(1), ":1:1: name: expected string, found nothing"],
    ["a port that can't be", [...lines, 'admin: { listen: "127.0.0.1:99999" }'], `:${next}:10: admin.listen: expected`],
    ["what is no map", ["- name"], ":1:1: expected a map of settings"],
  ])("told %s names the line and what it expected", async (_, changed, message) => {
    const file = write(kind, changed);
    const { code, stdout, stderr } = await runToEnd([], kind, "--config", file);
    expect(stderr).toContain(`${file}${message}`);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  });

  test("told nothing names the file and the option", async () => {
    const file = join(directory, "nothing.yaml");
    const { code, stderr } = await runToEnd([], kind, "--config", file);
    expect(stderr).toMatch(/nothing\.yaml: can't be read: .*ENOENT.* Name another file with --config/);
    expect(code).toBe(2);
  });
});
