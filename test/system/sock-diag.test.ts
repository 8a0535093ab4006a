/** Listing and destroying real TCP sockets between two namespaces. */
import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { IpAddress } from "../../src/flow/address.ts";
import { Actor } from "./kernel/actor.ts";
import { Namespace } from "./kernel/namespace.ts";
import type { SockDiagActor } from "./kernel/sock-diag.script.ts";
import type { SocketsActor } from "./kernel/sockets.script.ts";

const hostAddress = "10.9.0.1" as IpAddress;
const clientAddress = "10.9.0.2" as IpAddress;
const hostIpv6 = "fd09::1" as IpAddress;
/** Listens on "::" and so serves IPv4 through mapped addresses, as Node's servers do. */
const dualStackPort = 8080;
/** Its answers to a SYN never reach the client. */
const mutePort = 8081;
const ipv6OnlyPort = 8082;
const oneAddressPort = 8083;
const patience = { timeout: 10_000, interval: 20 };

describe("sock_diag", () => {
  const resources = new AsyncDisposableStack();
  let host: Actor<SockDiagActor>;
  let client: Actor<SocketsActor>;
  /** Below those that the kernel gives out. */
  let nextPort = 20_000;

  beforeAll(async () => {
    const hostNamespace = resources.use(new Namespace("sd-host"));
    const clientNamespace = resources.use(new Namespace("sd-client"));
    hostNamespace.connect("eth0", `${hostAddress}/24`, clientNamespace, "eth0", `${clientAddress}/24`);
    hostNamespace.ip(`addr add ${hostIpv6}/64 dev eth0 nodad`);
    clientNamespace.ip("addr add fd09::2/64 dev eth0 nodad");
    const mute = `table inet t { chain c { type filter hook input priority 0; tcp sport ${mutePort} drop; }; }`;
    execFileSync("ip", ["netns", "exec", clientNamespace.name, "nft", mute]);
    host = resources.use(await Actor.start<SockDiagActor>(hostNamespace, "sock-diag.script.ts"));
    client = resources.use(await Actor.start<SocketsActor>(clientNamespace, "sockets.script.ts"));
    await host.call("listen", dualStackPort, "::");
    await host.call("listen", mutePort, "0.0.0.0");
    await host.call("listen", ipv6OnlyPort, "::", true);
    await host.call("listen", oneAddressPort, hostAddress);
  });
  afterAll(() => resources.disposeAsync());

  const statesBetween = async (localPort: number, remotePort: number) =>
    (await host.call("between", localPort, remotePort)).map((socket) => socket.state);

  it("lists listeners with the address they are bound to and what they serve", async () => {
    const listeners = await host.call("listeners");
    const seen = listeners.map(({ local, localPort, isWildcard, families }) => [
      localPort,
      local,
      isWildcard,
      families,
    ]);
    expect(seen.sort()).toEqual([
      [dualStackPort, "::", true, [4, 6]],
      [mutePort, "0.0.0.0", true, [4]],
      [ipv6OnlyPort, "::", true, [6]],
      [oneAddressPort, hostAddress, false, [4]],
    ]);
    expect(listeners.every(({ inode }) => inode > 0)).toBe(true);
  });

  it("shows an IPv4 connection of a dual-stack server by its IPv4 addresses", async () => {
    const port = await client.call("connect", hostAddress, dualStackPort);
    const wanted = {
      local: hostAddress,
      localPort: dualStackPort,
      remote: clientAddress,
      remotePort: port,
      state: "ESTABLISHED",
      socketFamily: 6,
      mark: 0,
    };
    const found = async (query: Parameters<SockDiagActor["list"]>[0]) =>
      (await host.call("list", query)).filter((socket) => socket.remotePort === port);
    expect(await found({ localAddress: hostAddress })).toMatchObject([wanted]);
    expect(await found({ family: 4 })).toMatchObject([wanted]);
    expect(await found({ family: 6 })).toEqual([]);
    expect(await found({ localAddress: clientAddress })).toEqual([]);
    expect(await found({ states: ["TIME_WAIT"] })).toEqual([]);
    await client.call("reset", port);
  });

  it("shows IPv6 connections as such", async () => {
    const port = await client.call("connect", hostIpv6, dualStackPort);
    const found = await host.call("list", { localAddress: hostIpv6 });
    expect(found).toMatchObject([{ remote: "fd09::2", remotePort: port, socketFamily: 6 }]);
    expect(await host.call("list", { family: 6 })).toEqual(found);
    await client.call("reset", port);
  });

  it("tells a handshake, an open, a half-closed and an ended connection apart", async () => {
    const waiting = nextPort++;
    await client.call("startConnecting", hostAddress, mutePort, waiting);
    await expect.poll(() => statesBetween(mutePort, waiting), patience).toEqual(["SYN_RECV"]);

    const port = await host.call("connect", hostAddress, dualStackPort);
    expect(await statesBetween(port, dualStackPort)).toEqual(["ESTABLISHED"]);
    await host.call("end", port);
    await expect.poll(() => statesBetween(dualStackPort, port), patience).toEqual(["CLOSE_WAIT"]);
    await expect.poll(() => statesBetween(port, dualStackPort), patience).toEqual(["FIN_WAIT2"]);
    await host.call("endAccepted", port);
    await expect.poll(() => statesBetween(port, dualStackPort), patience).toEqual(["TIME_WAIT"]);
    expect(await host.call("between", port, dualStackPort)).toMatchObject([{ inode: 0, local: hostAddress }]);
    await expect.poll(() => statesBetween(dualStackPort, port), patience).toEqual([]);
  });

  it("can destroy sockets here, and finds that out without harm", async () => {
    const before = (await host.call("listeners")).length;
    expect(await host.call("canDestroy")).toBe(true);
    expect((await host.call("listeners")).length).toBe(before);
  });

  it.each([
    ["a dual-stack server's IPv4 connection", hostAddress, dualStackPort],
    ["an IPv4 connection", hostAddress, oneAddressPort],
    ["an IPv6 connection", hostIpv6, dualStackPort],
  ])("resets %s by destroying its socket, once, and leaves the listener", async (_what, address, serverPort) => {
    const port = await client.call("connect", address, serverPort);
    const bystander = await client.call("connect", address, serverPort);
    await expect.poll(() => statesBetween(serverPort, port), patience).toEqual(["ESTABLISHED"]);
    expect(await host.call("destroyBetween", serverPort, port)).toEqual(["destroyed", "absent"]);
    await expect.poll(() => client.call("ending", port), patience).toBe("ECONNRESET");
    expect(await host.call("between", serverPort, port)).toEqual([]);
    const again = await client.call("connect", address, serverPort);
    expect(await statesBetween(serverPort, bystander)).toEqual(["ESTABLISHED"]);
    for (const left of [bystander, again]) await client.call("reset", left);
  });

  it("ends a handshake that was not answered yet", async () => {
    const port = nextPort++;
    await client.call("startConnecting", hostAddress, mutePort, port);
    await expect.poll(() => statesBetween(mutePort, port), patience).toEqual(["SYN_RECV"]);
    expect(await host.call("destroyBetween", mutePort, port)).toEqual(["destroyed", "absent"]);
  });

  it("lists 10,000 sockets in well under 100 ms", async () => {
    const { count, elapsedMs } = await host.call("fastestListing", dualStackPort, 5_000);
    expect(count).toBeGreaterThanOrEqual(10_000);
    expect(elapsedMs).toBeLessThan(100);
  });
});
