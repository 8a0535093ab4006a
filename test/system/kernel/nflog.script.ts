/**
 * Raw packets over the loopback device, caught by nflog rules; prints what the subscribers saw of them. Group 7701 gets
 * the packets with mark 0x10000, group 7702 those with 0x20000, group 7703 a flood.
 */
import { once } from "node:events";
import { buildTcpPacket, parseTcpPacket, tcpFlags } from "../../../src/dataplane/packet.ts";
import { type IpAddress, parseIpAddress } from "../../../src/flow/address.ts";
import { findLink } from "../../../src/kernel/link.ts";
import { NflogSubscription } from "../../../src/kernel/nflog.ts";
import type { LoggedPacket } from "../../../src/kernel/nflog-source.ts";
import { Nftables } from "../../../src/kernel/nftables.ts";
import { RawIpv4Socket } from "../../../src/kernel/raw-socket.ts";
import { openRouteSocket } from "../../../src/kernel/rtnetlink.ts";

const floodPackets = 20_000;
const deadline = AbortSignal.timeout(15_000);

function address(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) throw new Error(text);
  return parsed;
}

/** Keeps what a group logs, and waits for so many. */
class Collector {
  readonly packets: LoggedPacket[] = [];
  readonly #changed = new EventTarget();

  readonly handle = (packets: readonly LoggedPacket[]): void => {
    this.packets.push(...packets);
    this.#changed.dispatchEvent(new Event("change"));
  };

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(this.#changed, "change", { signal: deadline });
  }
}

function fail(error: Error): void {
  throw error;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const loopback = address("127.0.0.1");
const packet = (size: number): Uint8Array =>
  buildTcpPacket({
    source: address("198.51.100.2"),
    destination: loopback,
    sourcePort: 40_000,
    destinationPort: 7,
    sequence: 0xfedcba98,
    acknowledgement: 0x01234567,
    flags: tcpFlags.psh | tcpFlags.ack,
    payload: Uint8Array.from({ length: size - 40 }, (_, index) => index & 0xff),
  });

using nftables = new Nftables();
const applied = nftables.run(`table inet t {
  chain c { type filter hook prerouting priority raw; iifname != "lo" return
    meta mark 0x10000 log prefix "one " group 7701 snaplen 2000 drop
    meta mark 0x20000 log prefix "two" group 7702 drop
    meta mark 0x30000 log group 7703 drop
  }
}`);
if (!applied.ok) throw new Error(applied.message);
using raw = new RawIpv4Socket();
using route = openRouteSocket();
const device = findLink(route, "lo")?.index;

const one = new Collector();
const two = new Collector();
const flood = new Collector();
await using subscribedOne = await NflogSubscription.open({ groups: [7701], snapBytes: 2000, handle: one.handle, fail });
await using _two = await NflogSubscription.open({
  groups: [7702],
  snapBytes: 64,
  gatherPackets: 1,
  handle: two.handle,
  fail,
});
const busy = await NflogSubscription.open({ groups: [7701], handle: () => {}, fail }).catch(String);

const whole = packet(1500);
const sent = [
  raw.send(whole, loopback, 0x10000),
  raw.send(whole, loopback, 0x20000),
  raw.send(packet(60), loopback, 0x10000),
];
const tooLarge = raw.send(packet(65_535), address("127.0.0.1"), 0);
const noRoute = raw.send(whole, address("192.0.2.1"));
await one.until(() => one.packets.length === 2);
await two.until(() => two.packets.length === 1);

const subscribed = await NflogSubscription.open({
  groups: [7703],
  snapBytes: 1500,
  receiveBufferBytes: 32_768,
  handle: flood.handle,
  fail,
});
for (let count = 0; count < floodPackets; count++) raw.send(whole, loopback, 0x30000);
const last = packet(41);
const isLast = (): boolean => flood.packets.at(-1)?.payload.length === last.length;
const repeat = setInterval(() => raw.send(last, loopback, 0x30000), 20);
await flood.until(isLast);
clearInterval(repeat);
const floodSeen = {
  received: flood.packets.length,
  lost: subscribed.lost,
  lastSequence: flood.packets.at(-1)?.sequence,
};
const closeStartMs = performance.now();
await subscribed[Symbol.asyncDispose]();
const closeMs = performance.now() - closeStartMs;
await using _reopened = await NflogSubscription.open({ groups: [7703], handle: () => {}, fail });

const parsed = parseTcpPacket(one.packets[0]?.payload ?? new Uint8Array(0));
console.log(
  JSON.stringify({
    sent,
    tooLarge,
    noRoute,
    busy,
    device,
    whole: hex(whole),
    one: one.packets.map((logged) => ({ ...logged, payload: hex(logged.payload) })),
    two: two.packets.map((logged) => ({ ...logged, payload: hex(logged.payload) })),
    lostOne: subscribedOne.lost,
    parsed: { ...parsed, payload: parsed?.payload.length },
    flood: floodSeen,
    closeMs,
  }),
);
