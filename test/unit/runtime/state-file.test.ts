import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type FileCodec, readStateFile, writeStateFile } from "../../../src/runtime/state-file.ts";

const text: FileCodec<string> = {
  encode: (value) => new TextEncoder().encode(value),
  decode: (bytes) =>
    bytes.length === 0 ? { ok: false, message: "nothing in it" } : { ok: true, value: new TextDecoder().decode(bytes) },
};

let directory: string;
let path: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "baton-state-"));
  path = join(directory, "deep", "state");
});
afterEach(async () => {
  await rm(directory, { recursive: true });
});

async function damage(change: (bytes: Buffer) => Buffer): Promise<void> {
  await writeStateFile(path, "one\ntwo", text);
  await writeFile(path, change(await readFile(path)));
}

describe("a state file", () => {
  test("is missing before it was written", async () => {
    expect(await readStateFile(path, text)).toEqual({ kind: "missing" });
  });

  test("gives back the value that was written last, and leaves nothing beside it", async () => {
    await writeStateFile(path, "one", text);
    await writeStateFile(path, "two\nlines", text);
    expect(await readStateFile(path, text)).toEqual({ kind: "found", value: "two\nlines" });
    expect(await readdir(join(directory, "deep"))).toEqual(["state"]);
  });

  test("is for its owner's eyes only", async () => {
    await writeStateFile(path, "one", text);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  test("survives a crash while the next one is written", async () => {
    await writeStateFile(path, "one", text);
    await writeFile(`${path}.new`, "baton-sta");
    expect(await readStateFile(path, text)).toEqual({ kind: "found", value: "one" });
    await writeStateFile(path, "two", text);
    expect(await readStateFile(path, text)).toEqual({ kind: "found", value: "two" });
  });

  test.each<[string, (bytes: Buffer) => Buffer, string]>([
    [
      "a changed byte",
      (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from("x")]),
      "its checksum does not match",
    ],
    ["a lost end", (bytes) => bytes.subarray(0, -1), "its checksum does not match"],
    ["another first line", () => Buffer.from("hello\nyou"), "its first line is not a state's"],
    ["no line at all", () => Buffer.alloc(0), "its first line is not a state's"],
  ])("with %s is damaged, and says so", async (_, change, cause) => {
    await damage(change);
    expect(await readStateFile(path, text)).toEqual({
      kind: "damaged",
      message: `${path} can't be used: ${cause}; the next one that is told replaces it`,
    });
  });

  test("whose bytes the codec refuses is damaged too", async () => {
    await writeStateFile(path, "", text);
    expect(await readStateFile(path, text)).toMatchObject({
      kind: "damaged",
      message: expect.stringContaining("nothing in it"),
    });
  });
});
