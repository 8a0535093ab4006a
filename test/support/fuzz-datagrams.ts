/** Runs test/property/gossip-datagrams.ts in a process of its own, whose memory is nobody else's. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const script = fileURLToPath(new URL("../property/gossip-datagrams.ts", import.meta.url));

/** What it says of its end. Rejects, with the command that repeats it, when anything did not hold. */
export async function fuzzDatagrams(count: number, seed: number): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, ["--expose-gc", script, String(count), String(seed)]);
  return stdout.trimEnd().split("\n").at(-1) ?? "";
}
