/**
 * Buckets of an address whose connections are followed: everything real, from the operator's command to the packets. The number
 * changes before a remap, while its source drains, and back (SPEC K2 to K8, D1, R4).
 */
import { expect, it } from "vitest";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf } from "../../services/lab/lab.ts";
import { killService, startService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { setEntries } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const caseMs = 150_000;
const actMs = 30_000;
const count = 20;

interface ShardJson {
  readonly shard: number;
  readonly addresses?: readonly { readonly address: string; readonly buckets: number; readonly before?: number }[];
}

it(
  "go to four and back beneath followed connections: none is lost, counted twice or forgotten, and the drain ends (D1, R4, K8)",
  async () => {
    await using fixture = await LabFixture.start("buckets", { trackers: 2 });
    const client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "ending", kind: "echo", to: publicAddress, count });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    const { id } = await fixture.remap("vm-b", "draining", "--unknown", "reset");
    await client.open({ group: "new", kind: "echo", to: publicAddress, count });

    await setBuckets(fixture, 4);
    expect(await shardsOf(fixture)).toHaveLength(4);
    await expectFlows(fixture, 3 * count);
    await expectAllAt(client, "old", "vm-a");
    await expectAllAt(client, "new", "vm-b");
    await until("the sets to have every old connection, and no other", actMs, async () => {
      return (await followed(fixture)) === 2 * count;
    });

    await expectAllAt(client, "ending", "vm-a");
    await client.close("ending");
    await until("the ended connections to leave the sets", actMs, async () => (await followed(fixture)) === count);
    await setBuckets(fixture, 1);
    expect(await shardsOf(fixture)).toEqual([]);
    await expectFlows(fixture, 2 * count);
    await expectAllAt(client, "old", "vm-a");

    await client.close("old");
    await fixture.follow(id, ({ phase }) => phase === "completed");
    await expectAllAt(client, "new", "vm-b");
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  },
  caseMs,
);

it(
  "change while the owner's agent, a tracker and the leader are killed: it is over when they are back, and nothing is lost (K5, K6)",
  async () => {
    await using fixture = await LabFixture.start("bucketkill", { trackers: 2, coordinators: 2 });
    const client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    const { id } = await fixture.remap("vm-b", "draining");
    await client.open({ group: "new", kind: "echo", to: publicAddress, count });
    await expectFlows(fixture, 2 * count);

    const victims = ["agent-vm-a", "tracker1", "coordinator1"].map((name) => serviceOf(fixture.lab, name));
    const [agent, ...others] = victims;
    if (agent === undefined) throw new Error("there is no agent");
    await killService(fixture.lab, agent, AbortSignal.timeout(actMs));
    const ordered = await fixture.baton("cluster", "buckets", publicAddress, "4");
    if (ordered.code !== 0) throw new Error(await fixture.explain(ordered));
    // The owner's agent has told nobody: both places are asked, and what is there is found.
    expect((await movingOf(fixture))?.before).toBe(1);
    await expectFlows(fixture, 2 * count);
    for (const victim of others) await killService(fixture.lab, victim, AbortSignal.timeout(actMs));
    for (const victim of victims) startService(fixture.lab, victim);
    await until("the change to be over", 2 * actMs, async () => {
      const found = await movingOf(fixture);
      return found?.buckets === 4 && found.before === undefined;
    });
    await expectFlows(fixture, 2 * count);
    await expectAllAt(client, "old", "vm-a");
    await expectAllAt(client, "new", "vm-b");
    await client.close("old");
    await fixture.follow(id, ({ phase }) => phase === "completed", 2 * actMs);
    await expectFlows(fixture, count);
  },
  caseMs,
);

/** As its shards have it; undefined: none names it. */
async function movingOf(
  fixture: LabFixture,
): Promise<{ readonly buckets: number; readonly before?: number } | undefined> {
  const { json } = await fixture.baton("cluster", "shards");
  const shards = json.flat() as readonly ShardJson[];
  return shards.flatMap(({ addresses = [] }) => addresses).find(({ address }) => address === publicAddress);
}

/** Returns when all flows have moved. */
async function setBuckets(fixture: LabFixture, buckets: number): Promise<void> {
  const result = await fixture.baton("cluster", "buckets", publicAddress, String(buckets), "--wait");
  if (result.code !== 0) throw new Error(await fixture.explain(result));
  expect(result.json).toMatchObject([{ address: publicAddress, buckets }]);
}

async function shardsOf(fixture: LabFixture): Promise<readonly number[]> {
  const { json } = await fixture.baton("cluster", "shards");
  const shards = json.flat() as readonly ShardJson[];
  return shards
    .filter(({ addresses = [] }) => addresses.some((it) => it.address === publicAddress))
    .map((it) => it.shard);
}

async function expectFlows(fixture: LabFixture, flows: number): Promise<void> {
  await until(`${flows} flows to be known`, actMs, async () => {
    const { json } = await fixture.baton("flows", publicAddress);
    return json.flat().length === flows;
  });
}

async function followed(fixture: LabFixture): Promise<number> {
  const entries = [...(await setEntries(fixture, "vm-b"))];
  return entries.filter(([name]) => name.startsWith("follow_")).reduce((sum, [, size]) => sum + size, 0);
}

/** Every connection goes on where it began. */
async function expectAllAt(client: Client, group: string, server: string): Promise<void> {
  const kinds = (await client.ping(group)).filter((kind) => kind.group === group);
  for (const kind of kinds) {
    expect(kind).toMatchObject({ states: { open: kind.count }, failures: {} });
    expect(Object.keys(kind.servers)).toEqual([server]);
  }
}
