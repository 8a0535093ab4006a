/**
 * Whether the wire contract still is what others were promised: `proto/baseline.binpb` is the contract as it was last
 * promised, and CONTRIBUTING.md says when it moves.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { repositoryRoot } from "./files.ts";

export const baseline = join(repositoryRoot, "proto/baseline.binpb");

/** What in `directory`, which has buf.yaml and proto/, would break others; empty: nothing. */
export function breakingChanges(directory: string): string {
  const buf = join(repositoryRoot, "node_modules/.bin/buf");
  const result = spawnSync(buf, ["breaking", directory, "--against", baseline], { encoding: "utf8" });
  if (result.error !== undefined) return `buf: ${result.error.message}; try  sh bin/setup test`;
  return result.status === 0 ? "" : `${result.stdout}${result.stderr}`.trim() || `buf: exit code ${result.status}`;
}
