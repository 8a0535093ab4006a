/** A tracker on NATS and LevelDB that is killed, and a NATS that is killed, while thousands of events a second come. */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { FlowPublisher } from "../../src/bus/flow-publisher.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { type Flow, flowKeyText } from "../../src/flow/flow.ts";
import { defaultFlushLimits } from "../../src/flow/flush-window.ts";
import type { ShardPosition } from "../../src/node/state.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { sleep, waitFor } from "../../src/runtime/retry.ts";
import { flowOf, ip, keyOf } from "../support/flows.ts";
import { freePort, natsServerInstalled, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";
import { type TestDirectory, temporaryDirectory } from "../support/tracker.ts";

const addresses = ["203.0.113.10", "203.0.113.11", "203.0.113.12"].map(ip);
const owner = "vm-a";
const tickMs = 10;
/** Of each tick: 3,000 events a second. */
const eventsPerTick = 30;
const settleMs = 500;

class TrackerProcess implements AsyncDisposable {
  readonly endpoint: string;
  readonly adminPort: number;
  readonly #configFile: string;
  readonly #lines: string[] = [];
  #process: ChildProcess | undefined;

  constructor(endpoint: string, adminPort: number, configFile: string) {
    this.endpoint = endpoint;
    this.adminPort = adminPort;
    this.#configFile = configFile;
  }

  async start(): Promise<void> {
    const script = fileURLToPath(new URL("tracker.process.ts", import.meta.url));
    const started = spawn(process.execPath, [script, this.#configFile], { stdio: ["ignore", "pipe", "inherit"] });
    started.stdout.on("data", (data: Buffer) => this.#lines.push(data.toString()));
    this.#process = started;
    await this.ready();
  }

  async ready(): Promise<void> {
    await waitFor(async () => await this.#isReady(), { signal, timeoutMs: 20_000, what: "the tracker to be ready" });
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.adminPort}/metrics`)).text();
    const values = [...text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, "gm"))].map(([, value]) =>
      Number(value),
    );
    return values.reduce((sum, value) => sum + value, 0);
  }

  log(): string {
    return this.#lines.join("");
  }

  async end(how: "SIGKILL" | "SIGTERM"): Promise<number | null> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined || running.exitCode !== null || running.signalCode !== null) return null;
    const exited = once(running, "exit");
    running.kill(how);
    const [code] = await exited;
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end("SIGKILL");
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`http://127.0.0.1:${this.adminPort}/readyz`)).ok;
    } catch {
      return false;
    }
  }
}

/** An instance whose flows open, change and end all the time, as far as the tracker can tell. */
class Traffic {
  readonly flows = new Map<string, Flow>();
  events = 0;
  readonly #publisher: FlowPublisher;
  #next = 0;

  constructor(publisher: FlowPublisher) {
    this.#publisher = publisher;
  }

  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      for (let n = 0; n < eventsPerTick; n++) this.#event();
      await sleep(tickMs, stop).catch(() => undefined);
    }
  }

  async barrier(): Promise<ShardPosition[]> {
    return (await Promise.all(addresses.map((address) => this.#publisher.barrier("end", address, signal)))).flat();
  }

  /** A flow in turn: it opens, is established, and two of three end. */
  #event(): void {
    const number = Math.trunc(this.#next / 3);
    const address = addresses[number % addresses.length] ?? addresses[0];
    const key = { ...keyOf(number % 60_000, address), port: 1 + Math.trunc(number / 60_000) };
    const stage = this.#next++ % 3;
    this.events++;
    if (stage === 2 && number % 3 !== 0) {
      const flow = this.flows.get(flowKeyText(key));
      if (flow === undefined) throw new Error("a flow that was not opened");
      this.flows.delete(flowKeyText(key));
      this.#publisher.change({ ...flow, state: "closed" });
      return;
    }
    const flow = flowOf(0, owner, stage === 0 ? "half-open" : "open", { key });
    this.flows.set(flowKeyText(key), flow);
    this.#publisher.change(flow);
  }
}

const signal = AbortSignal.timeout(180_000);

describe("a tracker on NATS and LevelDB", () => {
  let nats: TestNatsServer;
  let directory: TestDirectory;
  let tracker: TrackerProcess;
  let bus: NatsBus;
  let publisher: FlowPublisher;
  let traffic: Traffic;
  let client: TrackerClient;

  beforeEach(async () => {
    if (!natsServerInstalled) throw new Error("nats-server is not installed; run `npm run setup`");
    nats = await startNatsServer();
    directory = await temporaryDirectory();
    tracker = await configuredTracker(directory, nats);
    await tracker.start();
    bus = connectBus({ servers: nats.servers, name: "test" });
    publisher = new FlowPublisher({
      bus,
      instance: owner,
      shards: 32,
      boot: randomBytes(16),
      flush: { ...defaultFlushLimits, windowMinMs: 10 },
      onSnapshotNeeded: (shard) => void publisher.snapshotShard(shard, traffic.flows.values()).catch(() => undefined),
      onError: () => undefined,
    });
    traffic = new Traffic(publisher);
    client = new TrackerClient([tracker.endpoint]);
  });
  afterEach(async () => {
    client[Symbol.dispose]();
    await publisher.close();
    await bus[Symbol.asyncDispose]();
    await tracker[Symbol.asyncDispose]();
    await nats[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  const expectAllKnown = async (): Promise<void> => {
    const atLeast = await traffic.barrier();
    expect(await client.barrier(atLeast, { deadlineMs: 20_000, signal })).toEqual({ reached: true });
    const known: Flow[] = [];
    for (const address of addresses)
      for await (const page of client.list({ address, atLeast }, { signal, deadlineMs: 10_000 })) known.push(...page);
    const byText = (flows: Iterable<Flow>) => [...flows].map((flow) => [flowKeyText(flow.key), flow.state]).sort();
    expect(byText(known)).toEqual(byText(traffic.flows.values()));
    const counts = await client.count({ atLeast }, { signal });
    expect(counts.complete).toBe(true);
    expect(counts.counts.reduce((sum, { flows }) => sum + flows, 0)).toBe(traffic.flows.size);
  };

  test("killed again and again amid thousands of events a second, loses nothing and holds nothing twice", async () => {
    const stop = new AbortController();
    const startMs = performance.now();
    const running = traffic.run(stop.signal);
    for (let kill = 0; kill < 3; kill++) {
      const before = await tracker.metric("baton_tracker_changes_total");
      await waitFor(async () => (await tracker.metric("baton_tracker_changes_total")) > before + 2_000, {
        signal,
        timeoutMs: 20_000,
        what: "2,000 changes to be applied",
      });
      await tracker.end("SIGKILL");
      await tracker.start();
    }
    stop.abort();
    await running;
    const seconds = (performance.now() - startMs) / 1_000;
    expect(traffic.events / seconds).toBeGreaterThan(2_000);
    await expectAllKnown();
    expect(tracker.log()).not.toContain("snapshot is needed");
    expect(tracker.log()).not.toContain("built anew");
  }, 120_000);

  test("goes on when NATS was killed and came back, without a gap", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 2_000, { signal, timeoutMs: 20_000, what: "events" });
    await nats.kill();
    const atKill = traffic.events;
    await waitFor(() => traffic.events > atKill + 2_000, { signal, timeoutMs: 20_000, what: "events without NATS" });
    await nats.start();
    stop.abort();
    await running;
    await expectAllKnown();
    expect(tracker.log()).not.toContain("built anew");
  }, 120_000);

  test("builds its shards anew from what the instances send when NATS has lost everything", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 2_000, { signal, timeoutMs: 20_000, what: "events" });
    stop.abort();
    await running;
    await expectAllKnown();
    await nats.wipe();
    await nats.start();
    await tracker.end("SIGTERM");
    await tracker.start();
    const whole = async () => (await client.count({}, { signal })).complete;
    await waitFor(whole, { signal, timeoutMs: 30_000, what: "the shards to be complete" });
    await expectAllKnown();
    expect(tracker.log()).toContain("built anew");
  }, 120_000);

  test("ends on SIGTERM with exit code 0, and starts with what it knew", async () => {
    const stop = new AbortController();
    const running = traffic.run(stop.signal);
    await waitFor(() => traffic.events > 1_000, { signal, timeoutMs: 20_000, what: "events" });
    stop.abort();
    await running;
    await expectAllKnown();
    expect(await tracker.end("SIGTERM")).toBe(0);
    await nats.kill();
    const restarted = tracker.start().catch(() => undefined);
    const found = await client.lookup(
      [...traffic.flows.values()].slice(0, 10).map(({ key }) => key),
      [],
      {
        deadlineMs: 15_000,
        signal,
      },
    );
    expect(found.map(({ kind }) => kind)).toEqual(Array(10).fill("owned"));
    await nats.start();
    await restarted;
  }, 120_000);
});

async function configuredTracker(directory: TestDirectory, nats: TestNatsServer): Promise<TrackerProcess> {
  const endpoint = `unix:${join(directory.path, "tracker.sock")}`;
  const adminPort = await freePort();
  const configFile = join(directory.path, "tracker.yaml");
  const config = {
    name: "tracker1",
    listen: [endpoint],
    trackers: [{ name: "tracker1", endpoint }],
    nats: { servers: nats.servers },
    dataDirectory: join(directory.path, "data"),
    rebuild: { settleMs },
    admin: { listen: `127.0.0.1:${adminPort}` },
  };
  await writeFile(configFile, JSON.stringify(config));
  return new TrackerProcess(endpoint, adminPort, configFile);
}
