import pino from "pino";
import { describe, expect, it } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { RemapFeed } from "../../../src/coordinator/remap-feed.ts";
import type { Remap } from "../../../src/remap/remap.ts";
import { waitFor } from "../../../src/runtime/retry.ts";
import { FakeCluster, publicA } from "../../support/fake-cluster.ts";

async function wholeLife(): Promise<readonly Remap[]> {
  const cluster = new FakeCluster();
  cluster.connectAll();
  await cluster.settle();
  await cluster.addAddress(publicA, "vm-a");
  const { id } = await cluster.created(publicA, "vm-b");
  await cluster.until(() => cluster.remap(id).phase === "completed");
  return cluster.published;
}

describe("the feed of remaps", () => {
  it("publishes every phase in order, though the bus is slow and fails at times", async () => {
    const seen: string[] = [];
    let calls = 0;
    const bus: Pick<Bus, "publish"> = {
      async publish(subject, data) {
        if (++calls % 3 === 0) throw new Error("away");
        seen.push(`${subject} ${(JSON.parse(new TextDecoder().decode(data)) as Remap).phase}`);
        return BigInt(calls);
      },
    };
    const feed = new RemapFeed(bus, "p", pino({ level: "silent" }));
    const end = new AbortController();
    const life = await wholeLife();
    for (const remap of life) feed.changed(remap);
    const running = feed.run(end.signal);
    const id = life[0]?.id;
    await waitFor(() => seen.at(-1)?.endsWith("completed"), { signal: end.signal, timeoutMs: 5_000, what: "the end" });
    end.abort();
    await running;
    const phases = seen.filter((line, index) => line !== seen[index - 1]);
    expect(phases).toEqual(
      ["preparing", "arming", "switching", "draining", "finalizing", "completed"].map((p) => `baton.remaps.${id} ${p}`),
    );
    expect(seen.length).toBeLessThan(life.length);
  });

  it("tells a watcher of changes, and of nothing that is the same", async () => {
    const feed = new RemapFeed({ publish: async () => 1n }, "p", pino({ level: "silent" }));
    const [first, second] = await wholeLife();
    if (first === undefined || second === undefined) throw new Error("no remap");
    const seen: Remap[] = [];
    const watch = feed.watch(first.id, (remap) => seen.push(remap));
    for (const remap of [first, first, { ...first, phase: "arming" as const }]) feed.changed(remap);
    watch[Symbol.dispose]();
    feed.changed(second);
    expect(seen.map(({ phase }) => phase)).toEqual(["preparing", "arming"]);
  });
});
