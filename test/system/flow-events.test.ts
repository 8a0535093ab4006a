/**
 * What the tracker knows against what the kernels hold (E7): after everything that can go wrong between them, both are
 * the same. The oracle is `ss` on the instance; what the tracker knows is asked as a user would, by `baton flows`.
 */
import { readFileSync } from "node:fs";
import { cp, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { hostOf, rebootHost, serviceOf, untilReady } from "../../services/lab/lab.ts";
import { killService, pauseService, resumeService, startService, stopService } from "../../services/lab/services.ts";
import { Churn } from "./flow-events/churn.ts";
import { LabFixture, privateOf, publicAddress, until } from "./lab-fixture.ts";

const signal = AbortSignal.timeout(600_000);
const port = 8_100;
const perSecond = 400;
const held = 300;
const natsServer = "10.77.0.21:4222";
const equalWithinMs = 60_000;
/** Small, so that they run over within a test. */
const limits = { BATON_CONNTRACK_EVENT_BUFFER_BYTES: "65536", BATON_EVENTS_WAITING_MAX: "200" };

let lab: LabFixture;
let churn: Churn | undefined;
let server: Churn;

beforeAll(async () => {
  Object.assign(process.env, limits);
  lab = await LabFixture.start("flow-events");
  server = await Churn.serve(lab, "vm-a", port);
}, 120_000);
afterAll(async () => {
  for (const name of Object.keys(limits)) delete process.env[name];
  await server?.[Symbol.asyncDispose]();
  await lab?.[Symbol.asyncDispose]();
}, 60_000);
afterEach(async () => {
  await churn?.[Symbol.asyncDispose]();
  churn = undefined;
});

async function begin(): Promise<void> {
  churn = await Churn.connect(lab, publicAddress, port, perSecond, held);
  await until("connections to be open", 20_000, async () => (await kernelFlows()).length >= held);
}

/** Peers' ports of the connections that vm-a's kernel has, whatever their state but TIME_WAIT. */
async function kernelFlows(): Promise<string[]> {
  const filter = ["-Htn", "exclude", "time-wait", "src", privateOf["vm-a"]];
  const lines = (await lab.exec("vm-a", "ss", ...filter)).split("\n").map((line) => line.trim().split(/\s+/));
  return lines
    .flatMap((fields) => (fields[4]?.startsWith("198.51.100.2:") ? [fields[4].split(":")[1] ?? ""] : []))
    .sort();
}

async function knownFlows(): Promise<string[] | undefined> {
  const { code, json } = await lab.baton("flows", publicAddress, "--owner", "vm-a", "--limit", "100000");
  if (code !== 0) return undefined;
  return (json.flat() as { peerPort: number }[]).map(({ peerPort }) => String(peerPort)).sort();
}

async function expectEqual(atLeast = held): Promise<void> {
  await churn?.stay();
  let kernel: string[] = [];
  let known: string[] | undefined;
  const same = async (): Promise<boolean> => {
    kernel = await kernelFlows();
    known = await knownFlows();
    return known !== undefined && JSON.stringify(known) === JSON.stringify(kernel);
  };
  await until("the tracker to know what the kernel holds", equalWithinMs, same).catch((error: unknown) => {
    const missing = kernel.filter((one) => known?.includes(one) !== true).length;
    const left = known?.filter((one) => !kernel.includes(one)).length;
    throw new Error(
      `${String(error)}: of ${kernel.length} flows ${missing} are missing, ${left} too many\n${lab.logs()}`,
    );
  });
  expect(kernel.length).toBeGreaterThanOrEqual(atLeast);
}

function agentMetric(name: string): Promise<number> {
  return metric("vm-a", `baton_agent_${name}`);
}

function messagesApplied(): Promise<number> {
  return metric("tracker1", "baton_tracker_messages_total");
}

async function metric(host: string, name: string): Promise<number> {
  const text = await lab.exec(host, "curl", "-s", "http://127.0.0.1:9464/metrics");
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

function rebuilds(): number {
  return readFileSync(lab.lab.directory.log("tracker1"), "utf8").split("the shard is built anew").length - 1;
}

const service = (name: string) => serviceOf(lab.lab, name);

describe("the tracker knows what the kernel holds (E7)", () => {
  test("while connections come and go, and when they stay", async () => {
    await begin();
    await expectEqual();
  }, 120_000);

  test("after the kernel had more events than the agent could take (ENOBUFS)", async () => {
    await begin();
    const before = await agentMetric("flow_overflows");
    await pauseService(lab.lab, service("agent-vm-a"), signal);
    const first = new Set(await kernelFlows());
    await until(
      "all connections to be others",
      30_000,
      async () => !(await kernelFlows()).some((one) => first.has(one)),
    );
    resumeService(lab.lab, service("agent-vm-a"));
    await expectEqual();
    expect(await agentMetric("flow_overflows")).toBeGreaterThan(before);
  }, 120_000);

  test("after NATS was away for longer than the agent's buffer lasts", async () => {
    await begin();
    await killService(lab.lab, service("nats1"), signal);
    await until("changes to be dropped", 30_000, async () => (await agentMetric("flow_changes_dropped")) > 0);
    startService(lab.lab, service("nats1"));
    await expectEqual();
  }, 120_000);

  test("after NATS came back with an older stream than it had", async () => {
    await begin();
    const data = lab.lab.directory.data("nats1");
    const copy = `${data}.copy`;
    await stopService(lab.lab, service("nats1"), signal);
    await cp(data, copy, { recursive: true });
    startService(lab.lab, service("nats1"));
    const [messages, before] = [await messagesApplied(), rebuilds()];
    await until("messages to be applied", 30_000, async () => (await messagesApplied()) > messages + 20);
    await killService(lab.lab, service("nats1"), signal);
    await rm(data, { recursive: true });
    await cp(copy, data, { recursive: true });
    startService(lab.lab, service("nats1"));
    await until("the tracker to notice", 30_000, () => rebuilds() > before);
    await expectEqual();
  }, 120_000);

  test("after the stream was deleted while everybody was connected to it", async () => {
    await begin();
    const script = fileURLToPath(new URL("flow-events/delete-stream.script.ts", import.meta.url));
    const before = rebuilds();
    await lab.exec("nats1", process.execPath, script, natsServer);
    await until("the tracker to notice", 20_000, () => rebuilds() > before);
    await expectEqual();
  }, 120_000);

  test("after the agent was killed and started, and flows had come and gone meanwhile", async () => {
    await begin();
    await killService(lab.lab, service("agent-vm-a"), signal);
    const first = new Set(await kernelFlows());
    await until(
      "all connections to be others",
      30_000,
      async () => !(await kernelFlows()).some((one) => first.has(one)),
    );
    startService(lab.lab, service("agent-vm-a"));
    await expectEqual();
  }, 120_000);

  test("after the host was rebooted, and all of its connections with it", async () => {
    await begin();
    await expectEqual();
    await server[Symbol.asyncDispose]();
    await rebootHost(lab.lab, hostOf(lab.lab, "vm-a"), true, signal);
    await churn?.[Symbol.asyncDispose]();
    await untilReady(lab.lab, [service("agent-vm-a")], signal);
    churn = undefined;
    await expectEqual(0);
    expect(await kernelFlows()).toEqual([]);
    server = await Churn.serve(lab, "vm-a", port);
    await begin();
    await expectEqual();
  }, 120_000);
});
