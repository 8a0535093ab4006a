/** What ends a drain, what keeps it open, and that its report adds up (SPEC R4, R8, R10, D13; design pages 2 and 3). */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { serviceOf } from "../../services/lab/lab.ts";
import { killService, startService } from "../../services/lab/services.ts";
import type { Client } from "../traffic/driver.ts";
import { ports } from "../traffic/protocol.ts";
import { setEntries } from "./kernel-state.ts";
import { clientAddress, LabFixture, privateOf, publicAddress, until } from "./lab-fixture.ts";

const count = 6;
/** A client's second SYN comes a second after its first. */
const beforeRetryMs = 600;
const patienceMs = 15_000;
const halfPort = 7_777;
const halfTuple = 45_777;
const scanPackets = 2_000;
const lingerMs = 2_000;
const program = (name: string) => new URL(name, import.meta.url).pathname;

describe("a drain", () => {
  let fixture: LabFixture;
  let client: Client;
  let holder: "vm-a" | "vm-b" = "vm-a";

  beforeAll(async () => {
    fixture = await LabFixture.start("drain");
    client = fixture.client();
  });

  afterAll(async () => {
    await fixture?.[Symbol.asyncDispose]();
  });

  async function move(...policy: readonly string[]): Promise<RemapJson> {
    holder = holder === "vm-a" ? "vm-b" : "vm-a";
    return await fixture.remap(holder, "draining", ...policy);
  }

  it("counts as superseded what its client gave up for the same ports, before any retry, and its figures add up", async () => {
    await client.open({ group: "vanished", kind: "echo", to: publicAddress, count, fromPort: 52_000 });
    await client.open({ group: "ended", kind: "echo", to: publicAddress, count });
    await client.open({ group: "cut", kind: "push", to: publicAddress, count, intervalMs: 50 });
    const remap = await move();
    await vanish("vanished");
    // The first SYN meets the old connection, and the client's answer ends it; the client gives up before its second.
    await client.open({
      group: "again",
      kind: "echo",
      to: publicAddress,
      count,
      fromPort: 52_000,
      timeoutMs: beforeRetryMs,
    });
    await client.close("ended");
    await fixture.follow(remap.id, (now) => now.flows.superseded === count && now.flows.remaining === count);
    expect((await fixture.baton("remaps", "cut", remap.id, "--yes")).code).toBe(0);
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done.flows).toMatchObject({
      atSwitch: 3 * count,
      superseded: count,
      closed: count,
      cut: count,
      lost: 0,
      remaining: 0,
    });
    await client.reset("again");
  });

  it("stays open for a half-closed connection that connection tracking has forgotten, and ends with it (R8)", async () => {
    await using server = await HalfServer.start(fixture.inside(holder));
    await using peer = await HalfClient.open(fixture.inside("client1"));
    const source = holder;
    const remap = await move();
    await peer.finish();
    await until("the server to have heard the client's FIN", patienceMs, () => server.heard("FIN"));
    await forget(source);
    const listed = await fixture.exec(source, "ss", "-Htn", "state", "close-wait", "dst", clientAddress);
    expect(listed).toContain(`:${halfPort}`);
    const pastMs = Date.now() + 2 * lingerMs;
    await until("longer than it lingers", patienceMs, () => Date.now() > pastMs);
    expect(await fixture.show(remap.id)).toMatchObject({ phase: "draining", flows: { atSwitch: 1, remaining: 1 } });
    server.say("the last word");
    expect(await peer.hears()).toBe("the last word");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", flows: { closed: 1, lost: 0, superseded: 0, cut: 0 } });
  });

  it("forgets what has ended while the target's agent was dead, and lets its ports lead to the target (E5)", async () => {
    const fromPort = 53_000;
    await fixture.exec("client1", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1");
    await client.open({ group: "ending", kind: "echo", to: publicAddress, count, fromPort });
    await client.open({ group: "lasting", kind: "push", to: publicAddress, count, intervalMs: 50 });
    const remap = await move();
    const agent = serviceOf(fixture.lab, `agent-${holder}`);
    const followed = async () => {
      const sets = await setEntries(fixture, holder);
      return [...sets].filter(([name]) => /^follow_/.test(name)).reduce((sum, [, entries]) => sum + entries, 0);
    };
    await killService(fixture.lab, agent, AbortSignal.timeout(patienceMs));
    await client.close("ending");
    expect(await followed()).toBeGreaterThanOrEqual(2 * count);
    startService(fixture.lab, agent);
    await until("only what lasts to be followed", patienceMs, async () => (await followed()) <= count);
    await until("the ports to lead to the target", patienceMs, async () => {
      const options = { group: `again-${Date.now()}`, kind: "echo", to: publicAddress, count, fromPort } as const;
      const [again] = await client.open({ ...options, timeoutMs: patienceMs });
      if (again?.servers[holder] !== count) await client.reset(options.group);
      else await client.close(options.group);
      return again?.servers[holder] === count;
    });
    for (const kind of await client.close("lasting")) expect(kind.failures).toEqual({});
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", flows: { atSwitch: 2 * count, closed: 2 * count } });
  });

  it("ends although strangers knock at its connections' ports all the time (D13)", async () => {
    await client.open({ group: "last", kind: "push", to: publicAddress, count, intervalMs: 20 });
    const remap = await move("--linger", `${lingerMs}ms`);
    const over = new AbortController();
    const scanning = scan(over.signal);
    try {
      const closedMs = Date.now();
      await client.close("last");
      const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
      const lastedMs = Date.parse(done.phaseAt["finalizing"] ?? "") - closedMs;
      expect(lastedMs).toBeLessThan(3 * lingerMs);
      expect(done).toMatchObject({ outcome: "completed", flows: { atSwitch: count, closed: count } });
    } finally {
      over.abort();
      expect(await scanning).toBeGreaterThan(scanPackets);
    }
  });

  /** The client's connections are gone, and nobody was told. */
  async function vanish(group: string): Promise<void> {
    const mute =
      "table inet vanish { chain out { type filter hook output priority 0; tcp flags & rst == rst drop; }; }";
    await fixture.nft("client1", mute);
    await client.reset(group);
    await fixture.nft("client1", "delete table inet vanish");
  }

  async function forget(host: "vm-a" | "vm-b"): Promise<void> {
    await fixture.exec(host, process.execPath, program("forget-connections.ts"), privateOf[host]);
  }

  /** ACKs of nobody's connections and SYNs to nobody's ports, from the client's network; how many there were. */
  async function scan(signal: AbortSignal): Promise<number> {
    let sent = 0;
    while (!signal.aborted) {
      const args = ["scan", publicAddress, String(ports.push), String(scanPackets)];
      await fixture.exec("client1", process.execPath, program("send-packets.ts"), ...args);
      sent += scanPackets;
      await delay(50);
    }
    return sent;
  }
});

type Piped = ChildProcessByStdio<Writable, Readable, null>;

function startScript(prefix: readonly string[], script: string): Piped {
  const [command = "", ...args] = [...prefix, process.execPath, "-e", script];
  return spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
}

async function endScript(child: Piped): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill();
  await ended;
}

/** Goes on after its client's FIN until it is given something to say, and then says good-bye itself. */
class HalfServer implements AsyncDisposable {
  readonly #child: Piped;
  readonly #heard: string[] = [];

  private constructor(child: Piped) {
    this.#child = child;
  }

  static async start(prefix: readonly string[]): Promise<HalfServer> {
    const server = new HalfServer(startScript(prefix, halfServerScript));
    const lines = createInterface({ input: server.#child.stdout });
    const ready = once(lines, "line");
    lines.on("line", (line) => server.#heard.push(line));
    await ready;
    return server;
  }

  heard(line: string): boolean {
    return this.#heard.includes(line);
  }

  say(word: string): void {
    this.#child.stdin.write(word);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return endScript(this.#child);
  }
}

class HalfClient implements AsyncDisposable {
  readonly #child: Piped;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: Piped) {
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  static async open(prefix: readonly string[]): Promise<HalfClient> {
    const client = new HalfClient(startScript(prefix, halfClientScript));
    expect(await client.hears()).toBe("connected");
    return client;
  }

  async hears(): Promise<string> {
    return String((await this.#lines.next()).value);
  }

  /** Its FIN. */
  async finish(): Promise<void> {
    this.#child.stdin.write("\n");
    expect(await this.hears()).toBe("finished");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return endScript(this.#child);
  }
}

const halfServerScript = `
const server = require("node:net").createServer({ allowHalfOpen: true }, (socket) => {
  socket.resume().on("end", () => console.log("FIN"));
  process.stdin.on("data", (word) => socket.end(word + "\\n"));
});
server.listen(${halfPort}, () => console.log("ready"));`;

const halfClientScript = `
const options = { host: "${publicAddress}", port: ${halfPort}, localPort: ${halfTuple}, allowHalfOpen: true };
const socket = require("node:net").connect(options, () => console.log("connected"));
process.stdin.once("data", () => socket.end(() => console.log("finished")));
socket.on("data", (data) => process.stdout.write(data));`;
