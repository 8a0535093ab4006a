/** Hosts that do more than serve: firewalls, containers, connections of their own (SPEC D9, O5; traps 10 and 14). */
import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { RemapJson } from "../../services/lab/demo-baton.ts";
import { readCardWatch, startCardWatch } from "../../services/lab/demo-watch.ts";
import { type Client, startServer } from "../traffic/driver.ts";
import { ports } from "../traffic/protocol.ts";
import { clientAddress, LabFixture, publicAddress } from "./lab-fixture.ts";

const exitFailed = 1;
const boxAddress = "172.18.0.2";
/** Of the client's connection that the target's own one collides with. */
const sharedPort = 45_000;
/** Published for the container's echo server; nobody listens there on the target. */
const sharedPublicPort = 7_999;

describe("a remap between hosts with a life of their own", () => {
  let fixture: LabFixture;
  let client: Client;
  let remap: RemapJson;
  let shared: SharedConnection | undefined;
  const box = `baton-t-hosts-box-${process.pid}`;
  const cleanUp = new AsyncDisposableStack();

  beforeAll(async () => {
    fixture = await LabFixture.start("hosts");
    cleanUp.use(fixture);
    client = fixture.client();
    await startCardWatch(fixture.namespace("client1"), "10.77.0.0/24");
  });

  afterAll(async () => {
    await cleanUp.disposeAsync();
  });

  it("aborts where the target's firewall lets nothing through but its own, for the proof looks like the traffic", async () => {
    await fixture.nft("vm-b", "table ip docker { chain f { type filter hook forward priority 10; policy drop; }; }");
    const result = await fixture.baton("remap", publicAddress, "--to", "vm-b", "--yes", "--wait", "completed");
    await fixture.nft("vm-b", "delete table ip docker");
    expect(result.code).toBe(exitFailed);
    expect(result.json.at(-1)).toMatchObject({ phase: "aborted", error: { code: "CHANNEL_UNPROVEN" } });
  });

  it("keeps connections of a container behind the source's own translation, and waits for them", async () => {
    await startBox();
    await client.open({ group: "boxed", kind: "push", to: publicAddress, count: 10, intervalMs: 20 });
    shared = await SharedConnection.open(fixture.inside("client1"));
    cleanUp.use(shared);
    remap = await fixture.remap("vm-b", "draining");
    expect(await shared.echoes("after the switch")).toBe(true);
    for (const kind of (await client.report()).kinds)
      expect(kind).toMatchObject({ states: { open: kind.count }, servers: { box: kind.count }, failures: {} });
    expect(remap.flows.atSwitch).toBe(11);
  });

  it("gives the target's own connection another port where it would take a followed one's name", async () => {
    const [listening, from] = await Promise.all([
      fixture.exec("client1", process.execPath, "-e", listenScript),
      fixture.exec("vm-b", process.execPath, "-e", connectScript),
    ]);
    expect(from.trim()).toBe("answered");
    expect(Number(listening)).not.toBe(sharedPublicPort);
    expect(await shared?.echoes("after the collision")).toBe(true);
  });

  it("ends when the container's connections end", async () => {
    await shared?.[Symbol.asyncDispose]();
    expect((await fixture.show(remap.id)).phase).toBe("draining");
    await client.close("boxed");
    const done = await fixture.follow(remap.id, (now) => now.phase === "completed");
    expect(done).toMatchObject({ outcome: "completed", flows: { remaining: 0, lost: 0 } });
    expect(await readCardWatch(fixture.namespace("client1"))).toEqual({ privateSource: 0, resets: 0 });
  });

  /** A container as Docker makes one: a network of its own behind vm-a, which publishes the servers' ports for it. */
  async function startBox(): Promise<void> {
    const ip = (...args: string[]) => execFileSync("ip", args);
    ip("netns", "add", box);
    cleanUp.defer(() => void execFileSync("ip", ["netns", "del", box]));
    const host = fixture.namespace("vm-a");
    ip("link", "add", "box0", "netns", host, "type", "veth", "peer", "name", "eth0", "netns", box);
    ip("-n", host, "addr", "add", "172.18.0.1/24", "dev", "box0");
    ip("-n", host, "link", "set", "box0", "up");
    ip("-n", box, "addr", "add", `${boxAddress}/24`, "dev", "eth0");
    ip("-n", box, "link", "set", "eth0", "up");
    ip("-n", box, "route", "add", "default", "via", "172.18.0.1");
    await fixture.exec("vm-a", "sysctl", "-qw", "net.ipv4.ip_forward=1");
    const published = `{ ${Object.values(ports).join(", ")} }`;
    await fixture.nft(
      "vm-a",
      `table ip docker { chain p { type nat hook prerouting priority dstnat; ip daddr 10.77.0.11 tcp dport ${published} dnat to ${boxAddress}; ip daddr 10.77.0.11 tcp dport ${sharedPublicPort} dnat to ${boxAddress}:${ports.echo}; }; }`,
    );
    cleanUp.use(await startServer(["ip", "netns", "exec", box], "box"));
  }
});

/** A connection to the container from one fixed port, in a process of its own; a line that it is given comes back. */
class SharedConnection implements AsyncDisposable {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;

  private constructor(prefix: readonly string[]) {
    const [program = "", ...args] = [...prefix, process.execPath, "-e", shareScript];
    this.#process = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  static async open(prefix: readonly string[]): Promise<SharedConnection> {
    const connection = new SharedConnection(prefix);
    const greeting = await connection.#lines.next();
    expect(greeting.value).toBe("box");
    return connection;
  }

  async echoes(line: string): Promise<boolean> {
    this.#process.stdin.write(`${line}\n`);
    return (await this.#lines.next()).value === line;
  }

  /** Its FIN, and the other end's. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.stdin.end();
    await ended;
  }
}

const shareScript = `
const socket = require("node:net").connect({ host: "${publicAddress}", port: ${sharedPublicPort}, localPort: ${sharedPort} });
process.stdin.pipe(socket).pipe(process.stdout);`;

/** On the client's very port of that connection. */
const listenScript = `
const server = require("node:net").createServer((socket) => {
  console.log(socket.remotePort);
  socket.end("answered");
  server.close();
});
server.listen({ host: "${clientAddress}", port: ${sharedPort} });`;

/** From the port that the followed connection has at the public address, to the port that it has at the client. */
const connectScript = `
const { connect } = require("node:net");
const options = { host: "${clientAddress}", port: ${sharedPort}, localAddress: "10.77.0.112", localPort: ${sharedPublicPort} };
const attempt = (left) => {
  const socket = connect(options);
  socket.on("data", (data) => console.log(String(data)));
  socket.on("error", (error) => {
    if (left === 0 || error.code !== "ECONNREFUSED") throw error;
    setTimeout(attempt, 100, left - 1);
  });
};
attempt(20);`;
