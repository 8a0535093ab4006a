import { describe, expect, it } from "vitest";
import { z } from "zod";
import { gossipField } from "../../../src/cluster/config.ts";
import { parseConfig, printConfig } from "../../../src/runtime/config.ts";

const schema = z.strictObject({ gossip: gossipField });
const parse = (text: string, env = {}) => parseConfig(schema, { file: "g.yaml", text, env });
const key = Buffer.alloc(32, 1).toString("base64");
const other = Buffer.alloc(32, 2).toString("base64");

describe("the section gossip", () => {
  it("may be left out: alone, on loopback, at any free port", () => {
    expect(parse("")).toMatchObject({
      ok: true,
      value: {
        gossip: {
          listen: { host: "127.0.0.1", port: 0 },
          seeds: [],
          label: "baton",
          encryption: { mode: "off", keys: [] },
          labels: {},
        },
      },
    });
  });

  it("takes seeds by address and by name, labels and keys", () => {
    const text = `gossip:
  listen: "[fd77::31]:7420"
  seeds: ["10.77.0.31:7420", "tracker2.example:7420"]
  encryption: { mode: send, keys: ["${key}", "${other}"] }
  labels: { zone: a, rack: "r 7" }
`;
    expect(parse(text)).toMatchObject({ ok: true, value: { gossip: { labels: { zone: "a", rack: "r 7" } } } });
  });

  it.each([
    ["a host name to listen at", "listen: localhost:7420", "an IP address of this host"],
    [
      "every address of the host, not saying where it is reached",
      'listen: "0.0.0.0:7420"',
      "as listen is every address",
    ],
    ["the same for IPv6", 'listen: "[::]:7420"', "as listen is every address"],
    ["an advertised name", "advertise: tracker1:7420", "an IP address with a port"],
    ["an advertised port 0", 'advertise: "10.0.0.1:0"', "an IP address with a port"],
    ["a seed without a port", "seeds: [tracker1]", "host:port"],
    ["a seed at a socket's path", 'seeds: ["unix:/run/x"]', "host:port"],
    ["too many seeds", `seeds: [${'"10.0.0.1:1", '.repeat(65)}]`, "at most 64 entries"],
    ["a label with a blank", 'label: "a b"', "printable ASCII"],
    ["a label of 33 characters", `label: ${"x".repeat(33)}`, "at most 32 characters"],
    ["encryption without a key", "encryption: { mode: accept }", "at least one key"],
    ["a mode that there is not", "encryption: { mode: yes-please }", '"require"'],
    ["five keys", `encryption: { keys: [${`"${key}", `.repeat(5)}] }`, "at most 4 entries"],
    ["a label that is measured", 'labels: { cpus: "64" }', "which are measured"],
    ["nine labels", `labels: { ${[..."abcdefghi"].map((name) => `${name}: x`).join(", ")} }`, "at most 8 labels"],
    ["a label's name with a dot", "labels: { a.b: c }", "beginning with a-z"],
  ])("is refused with %s, with file, line and expectation", (_what, line, expectation) => {
    const parsed = parse(`gossip:\n  ${line}\n`);
    expect(parsed).toMatchObject({ ok: false });
    if (parsed.ok) return;
    expect(parsed.errors.join("\n")).toMatch(/^g\.yaml:\d+:\d+: gossip/);
    expect(parsed.errors.join("\n")).toContain(expectation);
  });

  it.each([
    ["31 bytes", Buffer.alloc(31, 7).toString("base64")],
    ["33 bytes", Buffer.alloc(33, 7).toString("base64")],
    ["characters that are no base64", `${key.slice(0, 20)}!${key.slice(21)}`],
    ["bits beyond the last byte", `${key.slice(0, 42)}F=`],
  ])("refuses a key of %s, says how to make one, and does not show it (M13)", (_what, wrong) => {
    const parsed = parse(`gossip: { encryption: { mode: require, keys: ["${wrong}"] } }`);
    expect(parsed).toMatchObject({ ok: false });
    if (parsed.ok) return;
    expect(parsed.errors.join("\n")).toContain("openssl rand -base64 32");
    expect(parsed.errors.join("\n")).not.toContain(wrong);
  });

  it("prints no key, and all the rest (M13)", () => {
    const parsed = parse(`gossip: { seeds: ["10.0.0.1:7420"], encryption: { mode: send } }`, {
      BATON_GOSSIP_ENCRYPTION_KEYS: `${key},${other}`,
    });
    if (!parsed.ok) throw new Error(parsed.errors.join("\n"));
    expect(parsed.value.gossip.encryption.keys).toEqual([key, other]);
    const printed = printConfig(schema, parsed.value);
    expect(printed).not.toContain(key.slice(0, 10));
    expect(printed).toContain("keys: (hidden)");
    expect(printed).toContain("10.0.0.1:7420");
  });
});
