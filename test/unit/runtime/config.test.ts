import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { loadConfig, parseConfig, printConfig } from "../../../src/runtime/config.ts";

const schema = z.strictObject({
  name: z.string(),
  listen: z.strictObject({ host: z.string().default("127.0.0.1"), port: z.number().int().min(1).max(65_535) }),
  nats: z.strictObject({ servers: z.array(z.string()).min(1), password: z.string().optional() }).optional(),
  level: z.enum(["info", "debug"]).default("info"),
  markMask: z.number().default(1),
});

const whole = ["name: gw1", "listen:", "  port: 7400", "nats:", "  servers: [a, b]", ""].join("\n");

function parse(text: string, env: NodeJS.ProcessEnv = {}) {
  return parseConfig(schema, { file: "gw.yaml", text, env });
}

describe("a configuration", () => {
  it("is returned with its defaults when it is valid", () => {
    expect(parse(whole)).toEqual({
      ok: true,
      value: {
        name: "gw1",
        listen: { host: "127.0.0.1", port: 7400 },
        nats: { servers: ["a", "b"] },
        level: "info",
        markMask: 1,
      },
    });
  });

  it.each([
    ["a wrong type", whole.replace("7400", "many"), ['gw.yaml:3:3: listen.port: expected number, found "many"']],
    ["a number out of range", whole.replace("7400", "0"), ["gw.yaml:3:3: listen.port: expected at least 1, found 0"]],
    ["a missing setting", whole.replace("name: gw1\n", ""), ["gw.yaml:1:1: name: expected string, found nothing"]],
    [
      "a missing setting of a section",
      whole.replace("port", "host"),
      [
        "gw.yaml:2:1: listen.port: expected number, found nothing",
        "gw.yaml:3:3: listen.host: expected string, found 7400",
      ],
    ],
    [
      "an unknown setting",
      whole.replace("  port", "  prot: 1\n  port"),
      ["gw.yaml:3:3: listen.prot: unknown setting; expected one that the documentation names"],
    ],
    [
      "a word that is not in a list",
      `${whole}level: loud\n`,
      ['gw.yaml:6:1: level: expected one of "info", "debug", found "loud"'],
    ],
    [
      "an entry of a list",
      whole.replace("[a, b]", "[a, 7]"),
      ["gw.yaml:5:16: nats.servers[1]: expected string, found 7"],
    ],
    [
      "an empty list",
      whole.replace("[a, b]", "[]"),
      ["gw.yaml:5:3: nats.servers: expected at least 1 entries, found []"],
    ],
    ["something that is no map", "- a\n", ['gw.yaml:1:1: expected a map of settings, found ["a"]']],
  ])("names place, path, expectation and finding of %s", (_what, text, errors) => {
    const loaded = parse(text);
    expect(loaded.ok ? [] : [...loaded.errors].sort()).toEqual([...errors].sort());
  });

  it("names line and column of text that is not YAML", () => {
    const loaded = parse("name: gw1\nlisten: {port: 1\n");
    expect(loaded).toMatchObject({ ok: false, errors: [expect.stringMatching(/^gw\.yaml:\d+:\d+: not YAML: /)] });
  });

  it("never shows the value of a setting that is named like a secret", () => {
    const loaded = parse(whole.replace("nats:", "nats:\n  password: 1234"));
    expect(loaded).toEqual({
      ok: false,
      errors: ["gw.yaml:5:3: nats.password: expected string, found a value that is not shown"],
    });
  });

  it("is refused when the file can't be read, with the cause and the next step", () => {
    const loaded = loadConfig(schema, "/nowhere/gw.yaml", {});
    expect(loaded.ok ? "" : loaded.errors[0]).toMatch(/^\/nowhere\/gw\.yaml: can't be read: ENOENT.*--config$/);
  });

  it("is read from its file", () => {
    const directory = mkdtempSync(join(tmpdir(), "baton-config-"));
    try {
      writeFileSync(join(directory, "gw.yaml"), whole);
      expect(loadConfig(schema, join(directory, "gw.yaml"), {})).toMatchObject({ ok: true, value: { name: "gw1" } });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("the environment", () => {
  it("overrides settings by section and key, each read as its setting's type", () => {
    const loaded = parse(whole, {
      BATON_NAME: "7",
      BATON_LISTEN_PORT: "99",
      BATON_NATS_SERVERS: "c, d",
      BATON_MARK_MASK: "0x0fff0000",
      BATON_ENDPOINT: "unix:/somewhere/else",
    });
    expect(loaded).toMatchObject({
      ok: true,
      value: { name: "7", listen: { port: 99 }, nats: { servers: ["c", "d"] }, markMask: 0x0fff0000 },
    });
  });

  it("makes sections that the file leaves out", () => {
    expect(parse("name: gw1\n", { BATON_LISTEN_PORT: "99" })).toMatchObject({
      ok: true,
      value: { listen: { port: 99 } },
    });
    expect(parse("", { BATON_LISTEN_PORT: "99", BATON_NAME: "x" })).toMatchObject({ ok: true });
  });

  it("is named in the error about a value that came from it", () => {
    expect(parse(whole, { BATON_LISTEN_PORT: "many" })).toEqual({
      ok: false,
      errors: ['environment BATON_LISTEN_PORT: listen.port: expected number, found "many"'],
    });
  });
});

describe("a printed configuration", () => {
  const printed = z.strictObject({
    name: z.string(),
    at: z.codec(z.string(), z.number(), { decode: Number, encode: String }),
    size: z.int().default(3),
    nats: z.strictObject({ servers: z.array(z.string()), password: z.string().optional() }),
    keys: z.array(z.string()).default([]),
  });
  const text = "name: gw1\nat: '7'\nnats: { servers: ['nats://me:x@a:1', b], password: x }\n";

  it("is read as the same one again, with its defaults, when it has no secrets", () => {
    const clear = text.replace("me:x@", "").replace(", password: x", "");
    const loaded = parseConfig(printed, { file: "f", text: clear, env: {} });
    if (!loaded.ok) throw new Error(loaded.errors.join());
    const again = printConfig(printed, loaded.value);
    expect(parseConfig(printed, { file: "f", text: again, env: {} })).toEqual(loaded);
    expect(again).toContain("size: 3");
    expect(again).toContain("keys: []");
  });

  it("hides what is named like a secret, and who logs in in an URL", () => {
    const loaded = parseConfig(printed, { file: "f", text, env: {} });
    if (!loaded.ok) throw new Error(loaded.errors.join());
    const lines = printConfig(printed, loaded.value);
    expect(lines).not.toMatch(/\bx\b|\bme\b/);
    expect(lines).toContain("nats://(hidden)@a:1");
    expect(lines).toContain("password: (hidden)");
    expect(lines).toContain("name: gw1");
  });
});
