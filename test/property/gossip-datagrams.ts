/**
 * Millions of hostile datagrams against one member: `node test/property/gossip-datagrams.ts [COUNT] [SEED]`.
 *
 * Three kinds: noise; a good packet with some bytes turned; messages of ours that no member ever said, in a good
 * envelope. Every one must be counted, none may throw, and memory must not grow from the first quarter to the last.
 * Exit code 1, and the seed, when that does not hold.
 */
import { lanConfig } from "../../src/gossip/config.ts";
import { Envelope } from "../../src/gossip/edge/envelope.ts";
import { Gossip } from "../../src/gossip/edge/node.ts";
import { noTraffic, type Transport, type TransportHandlers } from "../../src/gossip/edge/transport.ts";
import type { PacketMessage } from "../../src/gossip/message.ts";
import { encodePacket } from "../../src/gossip/wire.ts";

const count = Number(process.argv[2] ?? 10_000_000);
const seed = Number(process.argv[3] ?? 1);
const batch = 10_000;
const growthMaxBytes = 48 * 1024 * 1024;

let state = seed >>> 0;
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const upTo = (limit: number): number => Math.floor(random() * limit);

const envelopeOptions = { label: "fuzz", mode: "off", keyring: undefined } as const;
const envelope = new Envelope(envelopeOptions);
let handlers: TransportHandlers | undefined;
let sent = 0;
const transport: Transport = {
  address: "10.0.0.1:7946",
  counters: noTraffic(),
  start: (given) => {
    handlers = given;
  },
  send: () => {
    sent++;
  },
  dial: () => Promise.reject(new Error("nobody there")),
  [Symbol.asyncDispose]: async () => undefined,
};
let nowMs = 0;
const clock = { nowMs: () => nowMs, monotonicMs: () => nowMs };
await using gossip = new Gossip(
  {
    config: lanConfig,
    name: "victim",
    metadata: new Uint8Array(),
    seeds: [],
    envelope: envelopeOptions,
    clock,
    random,
  },
  transport,
).start();

function invented(): PacketMessage {
  const name = random() < 0.1 ? "victim" : `n${upTo(5_000)}`;
  const incarnation = upTo(random() < 0.5 ? 4 : 0xffff_fffe);
  switch (upTo(6)) {
    case 0: {
      const metadata = new Uint8Array(upTo(60));
      const address = `10.${upTo(256)}.${upTo(256)}.${upTo(256)}:${1 + upTo(0xffff)}`;
      return {
        kind: "alive",
        incarnation,
        profile: { name, address, metadata, versions: { min: 1, max: 1, current: 1 } },
      };
    }
    case 1:
      return { kind: "suspect", incarnation, name, from: `n${upTo(5_000)}` };
    case 2:
      return { kind: "dead", incarnation, name, from: random() < 0.5 ? name : "n1" };
    case 3:
      return { kind: "loads", reports: [{ name, incarnation, version: upTo(0xffff_ffff), level: upTo(8) }] };
    case 4:
      return { kind: "indirect-ping", sequence: upTo(100), target: name, targetAddress: "10.1.1.1:1", nack: true };
    default:
      return { kind: random() < 0.5 ? "ack" : "nack", sequence: upTo(0xffff_ffff) };
  }
}

function noise(): Buffer {
  const bytes = Buffer.allocUnsafe(upTo(200));
  for (let at = 0; at < bytes.length; at++) bytes[at] = upTo(256);
  if (bytes.length > 8 && random() < 0.8) Buffer.from([0xb7, upTo(4), 4, ...Buffer.from("fuzz")]).copy(bytes);
  return bytes;
}

function datagram(): Buffer {
  const kind = upTo(3);
  if (kind === 0) return noise();
  const payload = encodePacket(Array.from({ length: 1 + upTo(4) }, invented));
  if (kind === 1) for (let turns = 1 + upTo(4); turns > 0; turns--) payload[upTo(payload.length)] = upTo(256);
  const bytes = envelope.wrap(payload, false);
  return random() < 0.1 ? bytes.subarray(0, upTo(bytes.length)) : bytes;
}

const refusedSoFar = (): number => Object.values(gossip.refused).reduce((sum, refused) => sum + refused, 0);
const startedMs = performance.now();
const samples: number[] = [];
for (let done = 0; done < count; done += batch) {
  for (let index = 0; index < batch; index++) handlers?.packet(`10.9.${upTo(256)}.${upTo(256)}:7946`, datagram());
  nowMs += 200;
  await new Promise(setImmediate);
  if ((done / batch) % Math.max(1, Math.floor(count / batch / 20)) !== 0) continue;
  globalThis.gc?.();
  const { heapUsed, rss, arrayBuffers } = process.memoryUsage();
  samples.push(heapUsed + arrayBuffers);
  console.log(
    `${done + batch} datagrams, ${Math.round(((done + batch) / (performance.now() - startedMs)) * 1_000)}/s, ` +
      `heap ${mib(heapUsed + arrayBuffers)} MiB, resident ${mib(rss)} MiB, refused ${refusedSoFar()}`,
  );
}
function mib(bytes: number): number {
  return Math.round(bytes / 1024 / 1024);
}
const quarter = Math.ceil(samples.length / 4);
const growth = Math.min(...samples.slice(-quarter)) - Math.max(...samples.slice(1, quarter + 1));
const counted = refusedSoFar() + gossip.packetsTaken;
console.log(`refused ${JSON.stringify(gossip.refused)}, taken ${gossip.packetsTaken}, answers sent ${sent}`);
console.log(
  `members ${gossip.members().length}, growth of the heap ${mib(growth)} MiB, counted ${counted} of ${count}`,
);
if (growth > growthMaxBytes || counted !== count) {
  console.error(`failed with seed ${seed}: node --expose-gc test/property/gossip-datagrams.ts ${count} ${seed}`);
  process.exitCode = 1;
}
