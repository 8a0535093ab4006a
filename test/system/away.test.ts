/**
 * Trackers or NATS that go away in each phase of a remap, and come back (SPEC B5): whoever asks baton is told, packets
 * are forwarded all the while, and the remap ends as it should. Nodes reach their coordinator over a slow stretch, so
 * that every phase lasts long enough to be met.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RemapJson, runBaton } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { serviceOf, untilReady } from "../../services/lab/lab.ts";
import { killService, pauseService, resumeService, startService, stopService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { LabFixture, publicAddress, until } from "./lab-fixture.ts";

const coordinatorPort = 7400;
const slowPort = 7401;
const coordinatorAddress = "10.77.0.41";
const delayMs = 100;
const count = 10;
const actMs = 30_000;
const caseMs = 120_000;

const unreachable = 4;
/** The cause, and what to do. */
const wordsOfTrouble =
  /^baton: .*(?:no connection to NATS|nobody else does yet).*\nnext: check that the coordinators reach NATS/m;

const phases = ["before", "preparing", "arming", "switching", "draining", "finalizing"] as const;
type When = (typeof phases)[number];
const beforeFlip: readonly When[] = ["before", "preparing", "arming"];

interface Case {
  readonly service: "tracker1" | "nats1";
  readonly how: "killed" | "paused";
  readonly when: When;
}

const cases: readonly Case[] = [
  ...phases.map((when) => ({ service: "tracker1", how: "paused", when }) as const),
  ...(["before", "switching", "draining"] as const).map((when) => ({ service: "nats1", how: "killed", when }) as const),
  ...(["preparing", "arming", "finalizing"] as const).map(
    (when) => ({ service: "nats1", how: "paused", when }) as const,
  ),
  { service: "tracker1", how: "killed", when: "preparing" },
  { service: "tracker1", how: "killed", when: "draining" },
];

describe("a remap while trackers or NATS are away", () => {
  let fixture: LabFixture;
  let client: Client;
  let slowStretch: ChildProcess;
  let number = 0;

  beforeAll(async () => {
    fixture = await LabFixture.start("away");
    client = fixture.client();
    slowStretch = await slowDown();
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  }, caseMs);

  afterAll(async () => {
    slowStretch?.kill("SIGKILL");
    await fixture?.[Symbol.asyncDispose]();
  });

  it.each(cases)(
    "$service $how in phase $when: said, waited for or aborted, and no packet lost",
    async (the) => {
      const group = `old${number}`;
      const [source, target] = number++ % 2 === 0 ? (["vm-a", "vm-b"] as const) : (["vm-b", "vm-a"] as const);
      await settled(source);
      await client.open({ group, kind: "echo", to: publicAddress, count });

      const begun = await beginAndLose(the, target, group);
      await expectForwarding(group, the);
      if (the.when === "draining") await client.close(group);
      await expectSaid(the, begun);
      await bringBack(the);

      const id = begun ?? (await fixture.remap(target, "no")).id;
      const end = await endOf(id, group);
      if (end.phase === "aborted") expect(beforeFlip, `${end.error?.message}`).toContain(the.when);
      if (end.phase === "aborted") await fixture.follow((await fixture.remap(target, "no")).id, inDrainOrEnded);
      for (const kind of await client.close(group)) expect(kind.failures).toEqual({});
      await until("the address to be at the target", actMs, async () => (await holder()) === target);
      expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
    },
    caseMs,
  );

  /** Returns the remap's id; none: it could not be begun, and baton said so. */
  async function beginAndLose(the: Case, target: string, group: string): Promise<string | undefined> {
    const args = ["remap", publicAddress, "--to", target, "--yes", "--linger", "200ms"];
    if (the.when === "before") {
      await lose(the);
      const begun = await fixture.baton(...args);
      if (begun.code === 0) return (begun.json.at(-1) as RemapJson).id;
      expect(begun.code).toBe(unreachable);
      expect(begun.stderr).toMatch(wordsOfTrouble);
      return undefined;
    }
    const met = Promise.withResolvers<string>();
    let closing: Promise<unknown> | undefined;
    const over = new AbortController();
    const watching = runBaton(fixture.lab, [...args, "--wait", "completed"], {
      signal: AbortSignal.any([over.signal, AbortSignal.timeout(actMs)]),
      onJson: (value) => {
        const { id, phase } = value as RemapJson;
        if (phase === the.when) met.resolve(id);
        else if (phase === "draining") closing ??= client.close(group);
      },
    });
    watching.then(
      ({ stderr }) => met.reject(new Error(`the remap never was ${the.when}: ${stderr}`)),
      (error: unknown) => met.reject(error),
    );
    const id = await met.promise;
    await lose(the);
    over.abort();
    await watching.catch(() => undefined);
    await closing;
    return id;
  }

  /** Old connections, unless they were closed to let the drain end, and new ones. */
  async function expectForwarding(group: string, the: Case): Promise<void> {
    if (the.when !== "finalizing")
      for (const kind of await client.ping(group))
        expect(kind).toMatchObject({ states: { open: count }, failures: {} });
    const fresh = `fresh ${group}`;
    for (const kind of await client.open({ group: fresh, kind: "echo", to: publicAddress, count }))
      expect(kind).toMatchObject({ states: { open: count }, failures: {} });
    for (const kind of await client.close(fresh)) expect(kind.failures).toEqual({});
  }

  /** Either the remap names what it waits for or why it gave up, or the command fails with the cause and a next step. */
  async function expectSaid(the: Case, id: string | undefined): Promise<void> {
    let heard = "";
    await until(`baton to say that ${the.service} is ${the.how}`, actMs, async () => {
      const args = id === undefined ? ["addresses", "list"] : ["remaps", "show", id];
      const { code, json, stderr } = await fixture.baton(...args);
      heard = code === 0 ? JSON.stringify(json.at(-1)) : stderr;
      if (code !== 0) return wordsOfTrouble.test(stderr);
      const remap = json.at(-1) as RemapJson;
      if (needsTracker(the)) return remap.waitingFor.some(({ node }) => node === "tracker");
      return remap.phase === "completed" || remap.error !== undefined || remap.waitingFor.length > 0;
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}; last heard: ${heard}\n${fixture.logs()}`);
    });
  }

  async function endOf(id: string, group: string): Promise<RemapJson> {
    const remap = await fixture.follow(id, inDrainOrEnded, actMs);
    if (remap.phase === "aborted" || remap.phase === "completed") return remap;
    for (const kind of await client.close(group)) expect(kind.failures).toEqual({});
    return await fixture.follow(id, ({ phase }) => phase === "completed", actMs);
  }

  async function lose({ service, how }: Case): Promise<void> {
    const act = how === "killed" ? killService : pauseService;
    await act(fixture.lab, serviceOf(fixture.lab, service), AbortSignal.timeout(actMs));
  }

  async function bringBack({ service, how }: Case): Promise<void> {
    const found = serviceOf(fixture.lab, service);
    if (how === "paused") resumeService(fixture.lab, found);
    else startService(fixture.lab, found);
    await untilReady(fixture.lab, fixture.lab.plan.services, AbortSignal.timeout(actMs));
  }

  async function holder(): Promise<string | undefined> {
    const { json } = await fixture.baton("addresses", "list");
    return (json.flat() as { address: string; instance: string }[]).find(({ address }) => address === publicAddress)
      ?.instance;
  }

  /** Nothing of an earlier case goes on. */
  async function settled(source: string): Promise<void> {
    await until("earlier remaps to have ended", actMs, async () => {
      const { code, json } = await fixture.baton("remaps", "list", "--open");
      return code === 0 && json.flat().length === 0 && (await holder()) === source;
    });
  }

  async function slowDown(): Promise<ChildProcess> {
    const script = new URL("away/delay.script.ts", import.meta.url).pathname;
    const numbers = [slowPort, coordinatorPort, delayMs].map(String);
    const [program = "", ...inside] = fixture.inside("coordinator1");
    const child = spawn(program, [...inside, process.execPath, script, coordinatorAddress, ...numbers]);
    await once(child.stdout, "data");
    const nodes = fixture.lab.plan.services.filter(({ kind }) => kind === "agent" || kind === "gateway");
    for (const node of nodes) {
      const file = fixture.lab.directory.config(node.name);
      const near = `${coordinatorAddress}:${coordinatorPort}`;
      writeFileSync(file, readFileSync(file, "utf8").replaceAll(near, `${coordinatorAddress}:${slowPort}`));
      await stopService(fixture.lab, node, AbortSignal.timeout(actMs));
      startService(fixture.lab, node);
    }
    await untilReady(fixture.lab, nodes, AbortSignal.timeout(actMs));
    return child;
  }
});

/** The trackers have something to say in this phase that nobody else can. */
function needsTracker({ service, when }: Case): boolean {
  return service === "tracker1" && ["before", "preparing", "draining"].includes(when);
}

function inDrainOrEnded({ phase }: RemapJson): boolean {
  return phase === "draining" || phase === "completed" || phase === "aborted";
}
