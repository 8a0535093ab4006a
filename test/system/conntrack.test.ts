/** Conntrack's events and entries, of real connections between two namespaces. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { IpAddress } from "../../src/flow/address.ts";
import { Actor } from "./kernel/actor.ts";
import type { ConntrackActor } from "./kernel/conntrack.script.ts";
import { Namespace } from "./kernel/namespace.ts";
import type { SocketsActor } from "./kernel/sockets.script.ts";

const hostAddress = "10.9.0.1" as IpAddress;
const clientAddress = "10.9.0.2" as IpAddress;
const publicAddress = "203.0.113.10";
const serverPort = 8080;
const patience = { timeout: 10_000, interval: 20 };
/** A namespace tracks nothing until a rule asks for it. */
const tracking = "table inet t { chain c { type filter hook input priority 0; ct state invalid counter; }; }";

describe("conntrack", () => {
  const resources = new AsyncDisposableStack();
  let host: Actor<ConntrackActor>;
  let client: Actor<SocketsActor>;
  let clientNamespace: Namespace;

  beforeAll(async () => {
    const hostNamespace = resources.use(new Namespace("ct-host"));
    clientNamespace = resources.use(new Namespace("ct-client"));
    hostNamespace.connect("eth0", `${hostAddress}/24`, clientNamespace, "eth0", `${clientAddress}/24`);
    execFileSync("ip", ["netns", "exec", hostNamespace.name, "nft", tracking]);
    host = resources.use(await Actor.start<ConntrackActor>(hostNamespace, "conntrack.script.ts"));
    client = resources.use(await Actor.start<SocketsActor>(clientNamespace, "sockets.script.ts"));
    await host.call("subscribe");
    await host.call("listen", serverPort, "0.0.0.0");
    await client.call("listen", serverPort, "0.0.0.0");
  });
  afterAll(() => resources.disposeAsync());

  it("shows a connection's handshake, its half-closed time and its end", async () => {
    const port = await client.call("connect", hostAddress, serverPort);
    await expect.poll(() => host.call("flowStates", port), patience).toEqual(["half-open", "open"]);
    await client.call("end", port);
    await expect.poll(() => host.call("flowStates", port), patience).toEqual(["half-open", "open", "closing"]);
    await host.call("endAccepted", port);
    await expect
      .poll(() => host.call("flowStates", port), patience)
      .toEqual(["half-open", "open", "closing", "closed"]);
    expect((await host.call("listedPorts", {})).includes(port)).toBe(true);
    const last = (await host.call("changesOf", port)).at(-1);
    expect(last).toEqual({
      key: { address: publicAddress, protocol: "tcp", peer: clientAddress, peerPort: port, port: serverPort },
      state: "closed",
      direction: "in",
      generation: 3n,
      forgotten: false,
    });
  });

  it("shows a reset as the end at once", async () => {
    const port = await client.call("connect", hostAddress, serverPort);
    await client.call("reset", port);
    await expect.poll(() => host.call("flowStates", port), patience).toEqual(["half-open", "open", "closed"]);
  });

  it("shows a connection that this host opened with its own port at the public address", async () => {
    const port = await host.call("connect", clientAddress, serverPort);
    await expect.poll(() => host.call("flowStates", serverPort), patience).toEqual(["half-open", "open"]);
    const [first] = await host.call("changesOf", serverPort);
    expect(first).toMatchObject({ direction: "out", key: { address: publicAddress, peer: clientAddress, port } });
    await host.call("reset", port);
    await expect.poll(() => host.call("flowStates", serverPort), patience).toEqual(["half-open", "open", "closed"]);
  });

  it("changes the masked bits of a mark and leaves the others", async () => {
    const port = await client.call("connect", hostAddress, serverPort);
    expect(await host.call("setMark", port, 0xffff_ffff, 0x8000_00f0)).toBe("done");
    expect(await host.call("mark", port)).toBe(0x8000_00f0);
    expect(await host.call("setMark", port, 0x0005_0000, 0x0fff_0000)).toBe("done");
    expect(await host.call("mark", port)).toBe(0x8005_00f0);
    await client.call("reset", port);
  });

  it("lists the entries of one address and protocol", async () => {
    const port = await client.call("connect", hostAddress, serverPort);
    const listed = async (protocol: "tcp" | "udp", localAddress: IpAddress) =>
      (await host.call("listedPorts", { protocol, localAddress })).includes(port);
    expect(await listed("tcp", hostAddress)).toBe(true);
    expect(await listed("udp", hostAddress)).toBe(false);
    expect(await listed("tcp", "10.9.0.99" as IpAddress)).toBe(false);
    await client.call("reset", port);
  });

  it("tells of an entry that is deleted under a living connection as forgotten, and of its absence after", async () => {
    const port = await client.call("connect", hostAddress, serverPort);
    await expect.poll(() => host.call("flowStates", port), patience).toEqual(["half-open", "open"]);
    expect(await host.call("deleteTwice", port)).toEqual(["done", "absent"]);
    const last = async () => (await host.call("changesOf", port)).at(-1);
    await expect.poll(last, patience).toMatchObject({ state: "closed", forgotten: true });
    await client.call("reset", port);
  });

  it("says how full the table is", async () => {
    const usage = await host.call("usage");
    expect(usage?.count).toBeGreaterThan(0);
    expect(usage?.max).toBeGreaterThan(1000);
  });

  it("loses none of 20,000 quick flows while the main thread is kept busy", async () => {
    await host.call("sendDatagramsMeanwhile", clientNamespace.name, 10_000, 20_000);
    await expect
      .poll(() => host.call("counts"), patience)
      .toEqual({ overflows: 0, malformed: 0, udpEvents: 20_000, failures: [] });
    const { count, elapsedMs } = await host.call("listedUdp");
    expect(count).toBe(20_000);
    expect(elapsedMs).toBeLessThan(1000);
  });

  it("says so when events are lost, and the listing then shows what they were about", async () => {
    const receiveBufferBytes = 4096;
    await host.call("subscribe", receiveBufferBytes);
    await host.call("sendDatagramsMeanwhile", clientNamespace.name, 10_000, 20_000);
    await expect.poll(async () => (await host.call("counts")).overflows, patience).toBeGreaterThan(0);
    expect((await host.call("counts")).udpEvents).toBeLessThan(20_000);
    expect((await host.call("listedUdp")).count).toBe(40_000);
  });
});
