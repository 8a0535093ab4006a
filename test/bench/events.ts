/**
 * What flow events cost: short connections through one instance of a lab, and the agent beside them.
 *
 * client1 → gw1 → vm-a, real TCP of real kernels: opened, accepted, closed. Processes of blocking sockets make them, for
 * an event loop would be measured with them. Counted at three places, which must agree: by those who open them, by the
 * agent, and by a subscriber of the stream.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { runCommand } from "../../services/lab/command.ts";
import { repositoryRoot } from "../../services/lab/directory.ts";
import { createLab, hostOf, type OpenLab, removeLab } from "../../services/lab/lab.ts";
import { defaultOptions } from "../../services/lab/options.ts";
import { defaultFlushLimits } from "../../src/flow/flush-window.ts";
import { waitFor } from "../../src/runtime/retry.ts";

export interface EventsOptions {
  /** Connections a second to aim for. */
  readonly rate: number;
  readonly seconds: number;
  /** Of the cluster. */
  readonly messagesPerSecond: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface EventsResult {
  readonly bench: "events";
  readonly seconds: number;
  readonly connections: number;
  readonly connectionsPerSecond: number;
  readonly failedConnections: number;
  /** 1: a whole core. */
  readonly agentCpuShare: number;
  readonly messagesPerSecond: number;
  readonly messagesPerSecondBudget: number;
  readonly bytesPerSecond: number;
  readonly windowMs: number;
  readonly eventLoopDelayMaxMs: number;
  readonly openedByAgent: number;
  /** Rows and coalesced counts together. */
  readonly openedBySubscriber: number;
  readonly coalesced: number;
  readonly overflows: number;
  readonly lost: number;
}

type Child = ChildProcessByStdio<null, Readable, null>;

const labName = "baton-events";
const publicAddress = "203.0.113.10";
const natsServer = "10.77.0.21:4222";
const firstPort = 8_001;
/** Processes that open connections, each to a port and a server of its own. */
const openers = 2;
const cleanUpTimeoutMs = 30_000;
const settleTimeoutMs = 20_000;
const ticksPerSecond = 100;
const warmUpSeconds = 2;

export async function benchEvents(options: EventsOptions): Promise<EventsResult> {
  const { signal, say, seconds } = options;
  await removeLab(labName, signal);
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(async () => {
    await removeLab(labName, AbortSignal.timeout(cleanUpTimeoutMs));
  });
  process.env["BATON_EVENTS_MESSAGES_PER_SECOND"] = String(options.messagesPerSecond);
  const lab = await createLab({ ...defaultOptions, name: labName, instances: 2, trackers: 1 }, say, signal);
  await prepareClient(lab);
  for (let index = 0; index < openers; index++) {
    const server = cleanUp.use(run(lab, "vm-a", "short-connections", "serve", String(firstPort + index)));
    await server.line();
  }
  const agent = processOf(lab, "agent-vm-a");
  await open(lab, options, warmUpSeconds);
  await quiet(lab, signal);

  const subscriber = cleanUp.use(run(lab, "tracker1", "flow-subscriber", natsServer));
  await subscriber.line();
  const before = await metrics(lab);
  const cpuBefore = cpuSeconds(agent);
  const results = await open(lab, options, seconds);
  const cpu = cpuSeconds(agent) - cpuBefore;
  const windowMs = of(await metrics(lab), "flow_window_seconds") * 1_000;
  await quiet(lab, signal);
  const after = await metrics(lab);
  const seen = (await subscriber.end()) as { messages: number; bytes: number; opened: number; coalesced: number };

  const elapsed = Math.max(...results.map(({ ms }) => ms)) / 1_000;
  const sum = (read: (one: Opened) => number) => results.reduce((total, one) => total + read(one), 0);
  const connections = sum(({ opened }) => opened);
  const openedByAgent = of(after, "flows_opened") - of(before, "flows_opened");
  const openedBySubscriber = seen.opened + seen.coalesced;
  return {
    bench: "events",
    seconds: elapsed,
    connections,
    connectionsPerSecond: connections / elapsed,
    failedConnections: sum(({ failed }) => failed),
    agentCpuShare: cpu / elapsed,
    messagesPerSecond: seen.messages / elapsed,
    messagesPerSecondBudget: options.messagesPerSecond,
    bytesPerSecond: seen.bytes / elapsed,
    windowMs,
    eventLoopDelayMaxMs: of(after, "event_loop_delay_max_seconds") * 1_000,
    openedByAgent,
    openedBySubscriber,
    coalesced: seen.coalesced,
    overflows: of(after, "flow_overflows") - of(before, "flow_overflows"),
    lost: Math.max(connections - openedByAgent, connections - openedBySubscriber, 0),
  };
}

export const eventsDefaults = { rate: 5_000, seconds: 10, messagesPerSecond: defaultFlushLimits.messagesPerSecond };

/** As a table for people. */
export function eventsTable(result: EventsResult): string {
  const share = `${(result.agentCpuShare * 100).toFixed(1)} % of a core`;
  const rows: readonly (readonly [what: string, value: string])[] = [
    [
      "short connections",
      `${result.connections} in ${result.seconds.toFixed(1)} s, ${result.failedConnections} failed`,
    ],
    ["connections a second", result.connectionsPerSecond.toFixed(0)],
    ["the agent's processor time", share],
    ["its event loop was held, at most", `${result.eventLoopDelayMaxMs.toFixed(1)} ms`],
    ["messages a second", `${result.messagesPerSecond.toFixed(1)} of ${result.messagesPerSecondBudget} allowed`],
    ["bytes a second", result.bytesPerSecond.toFixed(0)],
    ["changes gather for", `${result.windowMs.toFixed(0)} ms`],
    ["connections that the agent saw", String(result.openedByAgent)],
    ["connections that a subscriber saw", `${result.openedBySubscriber}, ${result.coalesced} of them only counted`],
    ["overflows of the kernel's buffer", String(result.overflows)],
    ["connections lost on the way", String(result.lost)],
  ];
  return rows.map(([what, value]) => `${what.padEnd(36)}${value}`).join("\n");
}

interface Opened {
  readonly opened: number;
  readonly failed: number;
  readonly ms: number;
}

async function open(lab: OpenLab, { rate }: EventsOptions, seconds: number): Promise<readonly Opened[]> {
  const started = Array.from({ length: openers }, (_, index) =>
    run(lab, "client1", "short-connections", "connect", publicAddress, firstPort + index, rate / openers, seconds),
  );
  return (await Promise.all(started.map((one) => one.end(false)))) as Opened[];
}

/** One client has some 60,000 ports; it takes one again at once instead of a minute later. */
async function prepareClient(lab: OpenLab): Promise<void> {
  for (const setting of ["ip_local_port_range=1024 65535", "tcp_max_tw_buckets=0"])
    await runCommand("ip", ["netns", "exec", hostOf(lab, "client1").namespace, "sysctl", "-qw", `net.ipv4.${setting}`]);
}

/** All connections have ended, and everything that the agent had to say of them is stored. */
async function quiet(lab: OpenLab, signal: AbortSignal): Promise<void> {
  const ended = async () => {
    const now = await metrics(lab);
    return of(now, "flows") === 0 && of(now, "flow_changes_waiting") === 0;
  };
  await waitFor(ended, { signal, timeoutMs: settleTimeoutMs, what: "the connections to end", intervalMs: 200 });
  await delay(1_500);
}

class Running implements AsyncDisposable {
  readonly #child: Child;
  #output = "";
  #ended: Promise<void>;

  constructor(child: Child) {
    this.#child = child;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#output += text;
    });
    this.#ended = new Promise((resolve) => child.once("close", () => resolve()));
  }

  /** Its first line. */
  async line(): Promise<void> {
    const signal = AbortSignal.timeout(settleTimeoutMs);
    await waitFor(() => this.#output.includes("\n"), {
      signal,
      timeoutMs: settleTimeoutMs,
      what: "a program to start",
    });
  }

  /** The JSON of its last line. */
  async end(told = true): Promise<unknown> {
    if (told) this.#child.kill("SIGTERM");
    await this.#ended;
    return JSON.parse(this.#output.trim().split("\n").at(-1) ?? "");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#ended;
  }
}

function run(lab: OpenLab, host: string, script: string, ...args: readonly (string | number)[]): Running {
  const file = join(repositoryRoot, "test/bench", `${script}.script.ts`);
  const command = ["netns", "exec", hostOf(lab, host).namespace, process.execPath, file, ...args.map(String)];
  return new Running(spawn("ip", command, { stdio: ["ignore", "pipe", "inherit"] }));
}

function processOf(lab: OpenLab, service: string): number {
  return (JSON.parse(readFileSync(lab.directory.processFile(service), "utf8")) as { pid: number }).pid;
}

/** User and system time of all threads, by /proc/<pid>/stat. */
function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

async function metrics(lab: OpenLab): Promise<ReadonlyMap<string, number>> {
  const read = "fetch('http://127.0.0.1:9464/metrics').then(r => r.text()).then(t => process.stdout.write(t))";
  const text = await runCommand("ip", ["netns", "exec", hostOf(lab, "vm-a").namespace, process.execPath, "-e", read]);
  return new Map(
    [...text.matchAll(/^baton_agent_(\w+) (\S+)$/gm)].map(([, name, value]) => [name ?? "", Number(value)]),
  );
}

function of(values: ReadonlyMap<string, number>, name: string): number {
  const value = values.get(name);
  if (value === undefined) throw new Error(`the agent has no metric ${name}`);
  return value;
}
