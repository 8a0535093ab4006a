import { describe, expect, it } from "vitest";
import { findViolations } from "../../check/layers.ts";

function faults(path: string, text: string): readonly string[] {
  return findViolations([{ path, text }]).map(({ line, message }) => `${line}: ${message}`);
}

describe("layers", () => {
  it.each([
    ["node's modules", 'import { readFileSync } from "node:fs";'],
    ["a package", 'import { connect } from "nats";'],
    ["a module for its effects only", 'import "pino";'],
    ["a module when it runs", 'const fs = await import("node:fs");'],
    ["a module over several lines", 'import {\n  readFileSync,\n  statSync,\n} from "node:fs";'],
    ["a type of a package", 'import type { Logger } from "pino";'],
    ["something to export again", 'export { readFileSync } from "node:fs";'],
  ])("forbids a pure room to import %s", (_, text) => {
    expect(faults("src/remap/machine.ts", text)).toHaveLength(1);
  });

  it("names the line of the fault", () => {
    const text = 'import { a } from "./a.ts";\nimport { readFileSync } from "node:fs";\n';
    expect(faults("src/flow/flow.ts", text)).toEqual([
      "2: node:fs: src/flow is pure and must not import what touches the world",
    ]);
  });

  it.each(["../kernel/nft.ts", "../runtime/log.ts", "../../services/agent/main.ts"])(
    "forbids a pure room to import %s",
    (specifier) => {
      expect(faults("src/dataplane/ruleset.ts", `import { a } from "${specifier}";`)).toHaveLength(1);
    },
  );

  it.each(["Date.now()", "Math.random()", "performance.now()", "process.env", "setTimeout(f, 1)", "new Date()"])(
    "forbids a pure room to use %s",
    (code) => {
      expect(faults("src/remap/machine.ts", `export const a = ${code};`)).toHaveLength(1);
    },
  );

  it("does not mistake comments and texts for code", () => {
    const text = '/* Date.now() */ export const a = "Math.random"; // setTimeout\n';
    expect(faults("src/remap/machine.ts", text)).toEqual([]);
  });

  it("lets pure rooms import each other", () => {
    expect(faults("src/remap/machine.ts", 'import { a } from "../flow/flow.ts";')).toEqual([]);
  });

  it("forbids the world to import services, and services to import each other", () => {
    expect(faults("src/kernel/nft.ts", 'import { a } from "../../services/agent/config.ts";')).toHaveLength(1);
    expect(faults("services/agent/main.ts", 'import { a } from "../gateway/main.ts";')).toHaveLength(1);
    expect(faults("services/agent/main.ts", 'import { a } from "../../src/kernel/nft.ts";')).toEqual([]);
    expect(faults("services/cli/main.ts", 'import { a } from "../agent/main.ts";')).toEqual([]);
  });

  it("lets only src/rpc import what is generated", () => {
    const text = 'import { Remap } from "../gen/baton/v1/remap.ts";';
    expect(faults("src/rpc/remap-codec.ts", text)).toEqual([]);
    expect(faults("src/bus/publisher.ts", text)).toHaveLength(1);
    expect(faults("services/agent/main.ts", 'import { Remap } from "../../src/gen/baton/v1/remap.ts";')).toHaveLength(
      1,
    );
  });

  it("forbids everything else to import tests", () => {
    expect(faults("services/lab/main.ts", 'import { a } from "../../test/check/files.ts";')).toHaveLength(1);
  });

  it("keeps those who judge baton apart from it", () => {
    expect(faults("test/traffic/client.ts", 'import { a } from "../../src/flow/flow.ts";')).toHaveLength(1);
    expect(faults("test/traffic/client.ts", 'import { a } from "./protocol.ts";')).toEqual([]);
    expect(faults("services/lab/demo.ts", 'import { a } from "../../test/traffic/driver.ts";')).toEqual([]);
  });

  it("knows every room", () => {
    expect(faults("src/rpc/server.ts", 'import { a } from "../nowhere/a.ts";')).toHaveLength(1);
  });
});
