import { describe, expect, it } from "vitest";
import { parseEndpoint } from "../../../src/rpc/endpoint.ts";

describe("an endpoint", () => {
  it.each([
    ["10.77.0.41:7400", { kind: "tcp", host: "10.77.0.41", port: 7400 }],
    ["[fd77::41]:0", { kind: "tcp", host: "fd77::41", port: 0 }],
    ["coordinator1:65535", { kind: "tcp", host: "coordinator1", port: 65_535 }],
    ["unix:/run/baton/c 1.sock", { kind: "unix", path: "/run/baton/c 1.sock" }],
    ["unix:relative.sock", { kind: "unix", path: "relative.sock" }],
  ])("is read from %s", (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual({ ...endpoint, text });
  });

  it.each([
    "",
    "host",
    "host:",
    ":1",
    "host:65536",
    "fd77::41:1",
    "http://host:1",
    "unix:",
    `unix:/${"x".repeat(107)}`,
  ])("is not read from %j", (text) => {
    expect(parseEndpoint(text)).toBeUndefined();
  });
});
