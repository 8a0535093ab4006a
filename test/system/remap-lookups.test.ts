/**
 * What a remap needs of the trackers, and what it does without them: they are stopped, they hear everything late, or
 * they are all that T has (SPEC R12, O6, D1).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setInterval } from "node:timers/promises";
import { expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { pauseService, resumeService, startService, stopService } from "../../services/lab/services.ts";
import { shardOf } from "../../src/placement/shard.ts";
import { ip } from "../support/flows.ts";
import type { Client } from "../traffic/driver.ts";
import { setEntries } from "./kernel-state.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const caseMs = 120_000;
const actMs = 30_000;
const shards = 32;
const count = 20;
/** Of a node before the flip. */
const preparingMs = 4_000;
/** Longer than a node that is late would have. */
const stoppedMs = 5_000;

const natsAddress = "10.77.0.21";
const natsPort = 4222;
const lateNatsPort = 4223;
const lateMs = 2_000;
/** A snapshot is several messages, and each comes 2 s after the one before. */
const patientMs = 60_000;

/** Only an agent has a holder's rules. */
const swappedRules = join(import.meta.dirname, "lookups/swap-rules.ts");

const perWave = 5;
/** Unpaced, a fast machine opens so many that their snapshot takes longer than any bound: its messages come 2 s apart. */
const wavePaceMs = 100;
const nothingLost = { privateSource: 0, resets: 0 };

it(
  "stays in preparing while every tracker is stopped, names the shards, and goes on when they do (R12)",
  async () => {
    const environment = { BATON_BOUNDS_PREPARING_MS: String(preparingMs) };
    await using fixture = await LabFixture.start("stopped", { trackers: 2 }, environment);
    const client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    const trackers = ["tracker1", "tracker2"].map((name) => serviceOf(fixture.lab, name));
    for (const tracker of trackers) await pauseService(fixture.lab, tracker, AbortSignal.timeout(actMs));

    const { id } = await fixture.remap("vm-b", "no");
    const shard = shardOf(ip(publicAddress), shards);
    const namesShard = ({ waitingFor }: RemapJson) =>
      waitingFor.some(({ node, what }) => node === "tracker" && what.includes(`shard ${shard}`));
    await fixture.follow(id, namesShard);
    await until("the remap to have waited for longer than it would for a node", stoppedMs + actMs, async () => {
      const remap = await fixture.show(id);
      expect(remap).toMatchObject({ phase: "preparing", waitingFor: [{ node: "tracker" }] });
      expect(remap.waitingFor[0]?.what).toContain(`shard ${shard}`);
      return Date.now() - Date.parse(String(remap.waitingFor[0]?.since)) > stoppedMs;
    });
    await expectAllAt(client, "old", ["vm-a"]);

    for (const tracker of trackers) resumeService(fixture.lab, tracker);
    await fixture.follow(id, ({ phase }) => phase === "draining");
    await expectAllAt(client, "old", ["vm-a"]);
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual(nothingLost);
  },
  caseMs,
);

it(
  "sends no first packet to the wrong instance when everything that agents write to NATS comes 2 s late (O6)",
  async () => {
    await using fixture = await LabFixture.start("late", {}, { BATON_BOUNDS_PREPARING_MS: String(patientMs) });
    using _ = await delayWrites(fixture);
    const client = fixture.client();
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await until("the first snapshots to be over", actMs, async () => {
      const { json } = await fixture.baton("flows", publicAddress);
      return json.flat().length >= 2 * count;
    });
    const { id } = await fixture.remap("vm-b", "no", "--unknown", "reset");
    await openUntilSwitched(fixture, client, id, patientMs);
    await expectAllAt(client, "early", ["vm-a", "vm-b"]);
    const settled = await fixture.follow(id, ({ phase }) => phase === "draining");
    await expectAllAt(client, "late", ["vm-a", "vm-b"]);
    await expectAllAt(client, "old", ["vm-a"]);
    const { switching, draining } = settled.phaseAt;
    expect(Date.parse(String(draining)) - Date.parse(String(switching))).toBeGreaterThanOrEqual(lateMs);
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual(nothingLost);
  },
  caseMs,
);

it(
  "keeps every flow by the tracker's answers alone, where the kernel learns nothing and follows nothing by default (D1)",
  async () => {
    await using fixture = await LabFixture.start("answers", {}, { NODE_OPTIONS: `--import ${swappedRules}` });
    const client = fixture.client();
    await client.open({ group: "old", kind: "push", to: publicAddress, count, intervalMs: 20 });
    await client.open({ group: "old", kind: "echo", to: publicAddress, count });
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
    const { id } = await fixture.remap("vm-b", "no");
    await openUntilSwitched(fixture, client, id);
    await expectAllAt(client, "early", ["vm-a", "vm-b"]);
    await fixture.follow(id, ({ phase }) => phase === "draining");
    await expectAllAt(client, "late", ["vm-a", "vm-b"]);
    await expectAllAt(client, "old", ["vm-a"]);
    const entries = [...(await setEntries(fixture, "vm-b"))];
    const inSets = (kind: string) =>
      entries.filter(([name]) => name.startsWith(`${kind}_`)).reduce((sum, [, size]) => sum + size, 0);
    expect(inSets("learnt")).toBe(0);
    expect(inSets("follow")).toBeGreaterThanOrEqual(2 * count);
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual(nothingLost);
  },
  caseMs,
);

/** Connections of groups "early" and "late", opened all the time up to the switch and just after it; then idle. */
async function openUntilSwitched(fixture: LabFixture, client: Client, id: string, withinMs = actMs): Promise<void> {
  const switched = fixture.follow(id, ({ phaseAt }) => phaseAt["switching"] !== undefined, withinMs);
  let over = false;
  void switched.then(
    () => {
      over = true;
    },
    () => {
      over = true;
    },
  );
  for await (const _ of setInterval(wavePaceMs)) {
    if (over) break;
    for (const group of ["early", "late"])
      await client.open({ group, kind: "echo", to: publicAddress, count: perWave });
  }
  await switched;
  for (const group of ["early", "late"]) await client.open({ group, kind: "echo", to: publicAddress, count: perWave });
}

/** Every connection goes on where it began, and together they are at these instances. */
async function expectAllAt(client: Client, group: string, servers: readonly string[]): Promise<void> {
  const kinds = (await client.ping(group)).filter((kind) => kind.group === group);
  for (const kind of kinds) expect(kind).toMatchObject({ states: { open: kind.count }, failures: {} });
  const found = new Set(kinds.flatMap((kind) => Object.keys(kind.servers)));
  expect([...found].sort()).toEqual(servers);
}

/** All agents write to NATS by way of a proxy that keeps each piece back. */
async function delayWrites(fixture: LabFixture): Promise<Disposable> {
  const script = join(import.meta.dirname, "lookups/delayed-writes.script.ts");
  const [program = "", ...inside] = fixture.inside("nats1");
  const numbers = [lateNatsPort, natsPort, lateMs].map(String);
  const proxy = spawn(program, [...inside, process.execPath, script, natsAddress, ...numbers]);
  await once(proxy.stdout, "data");
  const agents = fixture.lab.plan.services.filter(({ kind }) => kind === "agent");
  for (const agent of agents) {
    const file = fixture.lab.directory.config(agent.name);
    const direct = `${natsAddress}:${natsPort}`;
    writeFileSync(file, readFileSync(file, "utf8").replaceAll(direct, `${natsAddress}:${lateNatsPort}`));
    await stopService(fixture.lab, agent, AbortSignal.timeout(actMs));
    startService(fixture.lab, agent);
  }
  await untilReady(fixture.lab, fixture.lab.plan.services, AbortSignal.timeout(actMs));
  return { [Symbol.dispose]: () => void proxy.kill("SIGKILL") };
}
