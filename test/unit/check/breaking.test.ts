import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { breakingChanges } from "../../check/breaking.ts";
import { repositoryRoot } from "../../check/files.ts";

describe("the wire contract", () => {
  let directory: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "baton-breaking-"));
    cpSync(join(repositoryRoot, "buf.yaml"), join(directory, "buf.yaml"));
    cpSync(join(repositoryRoot, "proto"), join(directory, "proto"), { recursive: true });
  });

  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const change = (file: string, from: string, to: string): void => {
    const path = join(directory, "proto/baton/v1", file);
    const text = readFileSync(path, "utf8");
    expect(text).toContain(from);
    writeFileSync(path, text.replace(from, to));
  };

  it("may grow", () => {
    change("inventory.proto", "message ListAddressesRequest {}", "message ListAddressesRequest { string more = 1; }");
    expect(breakingChanges(directory)).toBe("");
  });

  it.each([
    ["a field is renamed", "node.proto", "string leader = 2;", "string chief = 2;"],
    ["a field gets another number", "node.proto", "bytes digest = 4;", "bytes digest = 40;"],
    ["a field gets another type", "node.proto", "uint64 term = 1;", "string term = 1;"],
    ["a call goes away", "remap.proto", "  rpc GetRemap(GetRemapRequest) returns (Remap);\n", ""],
  ])("is broken when %s, and the check says where", (_what, file, from, to) => {
    change(file, from, to);
    expect(breakingChanges(directory)).toContain(`proto/baton/v1/${file}`);
  });
});
