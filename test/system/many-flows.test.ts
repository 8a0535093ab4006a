/** A hundred thousand open flows: how soon T's sets are armed, and who has to wait meanwhile. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Actor, agentFlags } from "./kernel/actor.ts";
import type { Armed, FullAgentCalls } from "./kernel/full-agent.script.ts";
import type { FullTrackerCalls } from "./kernel/full-tracker.script.ts";
import { Namespace } from "./kernel/namespace.ts";

const flows = 100_000;
const armedWithinMs = 2_000;
const previewedWithinMs = 2_000;
const heldMsMax = 20;
/** The tracker waits for processors too, and the first round for compilers: one good round shows what baton can. */
const roundsMax = 6;

interface Round extends Armed {
  readonly trackerHeldMs: number;
}

function isGood({ tookMs, entries, heldMs, trackerHeldMs }: Round): boolean {
  return entries === flows && tookMs < armedWithinMs && Math.max(heldMs, trackerHeldMs) < heldMsMax;
}

test("100,000 flows are previewed and in T's sets within 2 s, and no event loop is held for more than 20 ms", async () => {
  using host = new Namespace("many");
  using other = new Namespace("many-gw");
  host.connect("eth0", "10.77.0.12/24", other, "eth0", "10.77.0.1/24");
  const directory = mkdtempSync(join(tmpdir(), "baton-t-many-"));
  using _ = { [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
  await using tracker = await Actor.start<FullTrackerCalls>(host, "full-tracker.script.ts");
  await using agent = await Actor.start<FullAgentCalls>(host, "full-agent.script.ts", agentFlags);
  await agent.call("open", join(directory, "sysctls.json"));
  const endpoint = await tracker.call("open", directory, flows);

  const rounds: Round[] = [];
  do {
    await agent.call("forget");
    await tracker.call("watchLoop");
    rounds.push({ ...(await agent.call("arm", endpoint)), trackerHeldMs: await tracker.call("heldMs") });
  } while (!rounds.some(isGood) && rounds.length < roundsMax);
  expect(rounds.find(isGood), JSON.stringify(rounds)).toBeDefined();
  const inKernel = host.exec("sh", "-c", "nft list set inet baton follow_5 | tr , '\\n' | grep -c ' [.] 443'");
  expect(Number(inKernel)).toBe(flows);

  const preview = await agent.call("preview", endpoint);
  expect(preview.flows).toBe(flows);
  expect(preview.tookMs).toBeLessThan(previewedWithinMs);
});
