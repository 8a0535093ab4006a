/**
 * Throughput of followed connections (`direct` channel) against plain routing over the same extra hop.
 *
 * Both go client1 → gw1 → one more instance → the server's instance, and back the same way, on the same two bridges,
 * through the same gateway with the same stateless translation:
 * - followed: iperf3 to 203.0.113.10, opened while vm-a had it; then baton moved it to vm-b.
 * - plain: iperf3 to 203.0.113.12, which vm-c has. gw1 has a route to vm-c through vm-d, vm-c's default route leads
 *   through vm-d, and vm-d forwards (ip_forward). On vm-c and vm-d no agent runs and no nftables table is left, so
 *   nothing is tracked or translated there.
 * One connection runs at a time, the others are stopped; pairs alternate in which of the two comes first.
 */
import { join } from "node:path";
import { runCommand } from "../../services/lab/command.ts";
import { runBaton } from "../../services/lab/demo-baton.ts";
import { repositoryRoot } from "../../services/lab/directory.ts";
import { createLab, hostOf, type OpenLab, removeLab, serviceOf } from "../../services/lab/lab.ts";
import { defaultOptions } from "../../services/lab/options.ts";
import { stopService } from "../../services/lab/services.ts";
import { IperfConnection, startIperfServer } from "./iperf.ts";
import { type Comparison, compare, type Pair } from "./ratio.ts";

export interface FollowOptions {
  readonly pairs: number;
  /** Of each measurement. */
  readonly seconds: number;
  readonly say: (line: string) => void;
  readonly signal: AbortSignal;
}

export interface FollowRow extends Comparison {
  readonly direction: Direction;
}

export interface FollowResult {
  readonly bench: "follow";
  readonly subject: string;
  readonly peer: string;
  readonly unit: "bit/s";
  readonly secondsEach: number;
  readonly rows: readonly FollowRow[];
}

type Direction = "client to server" | "server to client";

const labName = "baton-bench";
const followedAddress = "203.0.113.10";
const plainAddress = "203.0.113.12";
const plainPrivate = "10.77.0.13";
const plainRouter = "10.77.0.14";
const firstPort = 5_201;
const warmUpSeconds = 0.5;
const cleanUpTimeoutMs = 30_000;
/** Of a measured connection's bytes, at least so many must have been counted where they should have passed. */
const leastBytes = 10_000_000;

const directions: readonly { readonly direction: Direction; readonly port: number; readonly reverse: boolean }[] = [
  { direction: "client to server", port: firstPort, reverse: false },
  { direction: "server to client", port: firstPort + 1, reverse: true },
];

export async function benchFollow(options: FollowOptions): Promise<FollowResult> {
  const { signal, say } = options;
  await removeLab(labName, signal);
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(async () => {
    await removeLab(labName, AbortSignal.timeout(cleanUpTimeoutMs));
  });
  const lab = await createLab({ ...defaultOptions, name: labName, instances: 4, trackers: 1 }, say, signal);
  await preparePlain(lab, signal);
  const namespace = (host: string) => hostOf(lab, host).namespace;
  for (const { port } of directions) {
    for (const host of ["vm-a", "vm-c"]) cleanUp.use(await startIperfServer(namespace(host), port));
  }
  const tracks: Track[] = [];
  for (const { direction, port, reverse } of directions) {
    const open = async (to: string) => {
      const connection = cleanUp.use(await IperfConnection.open(namespace("client1"), to, port, reverse));
      connection.stop();
      return connection;
    };
    tracks.push({ direction, followed: await open(followedAddress), plain: await open(plainAddress) });
  }
  await baton(
    lab,
    ["remap", followedAddress, "--to", "vm-b", "--channel", "direct", "--yes", "--wait", "draining"],
    signal,
  );
  const rows: FollowRow[] = [];
  for (const track of tracks) rows.push(await measureTrack(lab, track, options));
  return {
    bench: "follow",
    subject: "followed by baton, channel direct",
    peer: "plain routing over the same extra hop",
    unit: "bit/s",
    secondsEach: options.seconds,
    rows,
  };
}

interface Track {
  readonly direction: Direction;
  readonly followed: IperfConnection;
  readonly plain: IperfConnection;
}

async function measureTrack(lab: OpenLab, track: Track, options: FollowOptions): Promise<FollowRow> {
  const { seconds, say, signal } = options;
  const pairs: Pair[] = [];
  const followedBefore = await receivedBytes(lab, "vm-b");
  const routedBefore = await receivedBytes(lab, "vm-d");
  while (pairs.length < options.pairs) {
    signal.throwIfAborted();
    const peerFirst = pairs.length % 2 === 1;
    const early = peerFirst ? await track.plain.measure(seconds, warmUpSeconds) : undefined;
    const subject = await track.followed.measure(seconds, warmUpSeconds);
    const peer = early ?? (await track.plain.measure(seconds, warmUpSeconds));
    pairs.push({ subject, peer });
    say(`${track.direction}, pair ${pairs.length}: ${gigabits(subject)} followed, ${gigabits(peer)} plain`);
  }
  // No iperf3 runs on vm-b: what came there could only be followed.
  if ((await receivedBytes(lab, "vm-b")) - followedBefore < leastBytes) throw new Error("vm-b has followed nothing");
  if ((await receivedBytes(lab, "vm-d")) - routedBefore < leastBytes) throw new Error("vm-d has routed nothing");
  return { direction: track.direction, ...compare(pairs) };
}

/** vm-c behind vm-d, without anything of baton on either. */
async function preparePlain(lab: OpenLab, signal: AbortSignal): Promise<void> {
  await baton(lab, ["addresses", "add", plainAddress, "--instance", "vm-c", "--private", plainPrivate], signal);
  for (const host of ["vm-c", "vm-d"]) {
    await stopService(lab, serviceOf(lab, `agent-${host}`), signal);
    const config = lab.directory.config(`agent-${host}`);
    await inHost(lab, host, join(repositoryRoot, "bin/baton"), "agent", "--config", config, "--cleanup");
    if ((await inHost(lab, host, "nft", "list", "ruleset")).trim() !== "") throw new Error(`${host} has rules left`);
  }
  for (const setting of ["ip_forward=1", "conf.all.send_redirects=0", "conf.eth0.send_redirects=0"]) {
    await inHost(lab, "vm-d", "sysctl", "-qw", `net.ipv4.${setting}`);
  }
  await inHost(lab, "vm-c", "ip", "route", "replace", "default", "via", plainRouter);
  await inHost(lab, "gw1", "ip", "route", "add", `${plainPrivate}/32`, "via", plainRouter);
}

async function receivedBytes(lab: OpenLab, host: string): Promise<number> {
  return Number(await inHost(lab, host, "cat", "/sys/class/net/eth0/statistics/rx_bytes"));
}

async function baton(lab: OpenLab, args: readonly string[], signal: AbortSignal): Promise<void> {
  const { code, stderr } = await runBaton(lab, args, { signal });
  if (code !== 0) throw new Error(`baton ${args.join(" ")}: ${stderr}`);
}

function inHost(lab: OpenLab, host: string, ...command: readonly string[]): Promise<string> {
  return runCommand("ip", ["netns", "exec", hostOf(lab, host).namespace, ...command]);
}

export function gigabits(bitsPerSecond: number): string {
  return `${(bitsPerSecond / 1e9).toFixed(2)} Gbit/s`;
}
