import pino from "pino";
import { describe, expect, it } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { MemoryBus } from "../../../src/bus/memory.ts";
import { Outbox, type OutgoingMessage } from "../../../src/coordinator/outbox.ts";
import { auditStreamName, RemapFeed, remapStreamName } from "../../../src/coordinator/remap-feed.ts";
import { unpublishedAudits, unpublishedEnds } from "../../../src/coordinator/unpublished.ts";
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

function outboxOn(bus: Pick<Bus, "publish">, onDrop: () => void = () => undefined): Outbox {
  return new Outbox({ bus, onDrop, log: pino({ level: "silent" }) });
}

const anyMessage = (text: string) => ({ subject: "s", text, id: text, stable: true });

describe("messages on their way", () => {
  it("are all stored before a process ends, unless there is no time (E17)", async () => {
    const bus = new MemoryBus();
    const end = new AbortController();
    const limits = { maxAgeMs: 1e6, maxBytes: 1e6, duplicateWindowMs: 1e6, replicas: 1 };
    await bus.ensureStream({ name: "S", subjects: ["s"], ...limits }, end.signal);
    const outbox = outboxOn(bus);
    for (let i = 0; i < 20; i++) outbox.push(anyMessage(`${i}`));
    const running = outbox.run(end.signal);
    await outbox.drained(AbortSignal.timeout(5_000));
    expect([outbox.waiting, (await bus.streamRange("S", end.signal)).last]).toEqual([0, 20n]);
    bus.setConnected(false);
    outbox.push(anyMessage("late"));
    await outbox.drained(AbortSignal.timeout(50));
    expect(outbox.waiting).toBe(1);
    end.abort();
    await running;
  });

  it("are dropped oldest first when there are too many, and counted", () => {
    let dropped = 0;
    const outbox = outboxOn({ publish: async () => 1n }, () => dropped++);
    for (let i = 0; i < 10_003; i++) outbox.push(anyMessage(`${i}`));
    expect([outbox.waiting, dropped]).toEqual([10_000, 3]);
  });
});

describe("the feed of remaps", () => {
  it("gives what was stored the same id whoever publishes it (E17)", async () => {
    const [first] = await wholeLife();
    if (first === undefined) throw new Error("no remap");
    const ids = (process: string): string[] => {
      const pushed: OutgoingMessage[] = [];
      const feed = new RemapFeed({ push: (message) => pushed.push(message) }, process);
      feed.changed(first, 4);
      feed.changed({ ...first, phase: "arming" }, 5);
      feed.changed({ ...first, phase: "arming", requestedBy: "else" }, 5);
      const action = { action: "address-add", entry: { by: "me" }, atMs: 0 };
      feed.audit({ ...action, key: "inventory.7" });
      feed.audit(action);
      return pushed.map(({ id }) => id);
    };
    expect(ids("p")).toEqual([`${first.id}.4`, `${first.id}.5`, "p.1", "audit inventory.7", "p.2"]);
    expect(ids("q")).toEqual([`${first.id}.4`, `${first.id}.5`, "q.1", "audit inventory.7", "q.2"]);
  });

  it("finds ends and actions that were stored and not published (E17)", async () => {
    const bus = new MemoryBus();
    const { signal } = new AbortController();
    const limits = { maxAgeMs: 1e6, maxBytes: 1e6, duplicateWindowMs: 1e6, replicas: 1 };
    await bus.ensureStream({ name: remapStreamName, subjects: ["baton.remaps.*"], ...limits }, signal);
    await bus.ensureStream({ name: auditStreamName, subjects: ["baton.audit.*"], ...limits }, signal);
    const life = await wholeLife();
    const [last] = life.slice(-1);
    if (last === undefined) throw new Error("no remap");
    const ended = ["a", "b", "c"].map((id) => ({ remap: { ...last, id }, step: 9 }));
    const audits = [1, 2, 3].map((n) => ({ action: "address-add", entry: { n }, atMs: n, key: `inventory.${n}` }));
    expect(await unpublishedAudits(bus, audits, signal)).toEqual(audits);
    const publish = async (subject: string, text: string): Promise<void> =>
      void (await bus.publish(subject, new TextEncoder().encode(text), { messageId: text, signal }));
    await publish("baton.remaps.a", '{"phase":"completed"}');
    await publish("baton.remaps.b", '{"phase":"draining"}');
    await publish("baton.audit.address-add", '{"record":"inventory.2"}');
    await publish("baton.audit.address-add", "no JSON");
    expect(await unpublishedEnds(bus, ended, signal)).toEqual(ended.slice(1));
    expect((await unpublishedAudits(bus, audits, signal)).map(({ key }) => key)).toEqual([
      "inventory.1",
      "inventory.3",
    ]);
  });

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
    const outbox = outboxOn(bus);
    const feed = new RemapFeed(outbox, "p");
    const end = new AbortController();
    const life = await wholeLife();
    for (const remap of life) feed.changed(remap, 1);
    const running = outbox.run(end.signal);
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
    const feed = new RemapFeed({ push: () => undefined }, "p");
    const [first, second] = await wholeLife();
    if (first === undefined || second === undefined) throw new Error("no remap");
    const seen: Remap[] = [];
    const watch = feed.watch(first.id, (remap) => seen.push(remap));
    for (const remap of [first, first, { ...first, phase: "arming" as const }]) feed.changed(remap, 1);
    watch[Symbol.dispose]();
    feed.changed(second, 1);
    expect(seen.map(({ phase }) => phase)).toEqual(["preparing", "arming"]);
  });
});
