/** Bytes that nobody should send: over gRPC to every service, and over NATS to trackers and agents (SPEC B1, B4). */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { Client, credentials, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FlowPublisher } from "../../src/bus/flow-publisher.ts";
import { connectBus, type NatsBus } from "../../src/bus/nats.ts";
import { type FlowEvent, flowSubject, resyncAllSubject, resyncSubject } from "../../src/flow/events.ts";
import { Coordinators } from "../../src/rpc/coordinators.ts";
import { encodeFlowEventBatch } from "../../src/rpc/flow-event-codec.ts";
import { TrackerClient } from "../../src/rpc/tracker-client.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { keyOf, rowOf } from "../support/flows.ts";
import { freePort, startNatsServer } from "../support/nats-server.ts";
import { callRaw, framed, openAndReset, sendBytes } from "../support/raw-grpc.ts";
import { ServiceProcess } from "../support/service-process.ts";
import { Speaker, temporaryDirectory } from "../support/tracker.ts";

const signal = AbortSignal.timeout(240_000);
const shards = 8;
const mebibyte = 1_048_576;
const waitMs = 20_000;

/** gRPC's own numbers. */
const invalidArgument = 3;
const unimplemented = 12;
const resourceExhausted = 8;

const methods = [
  ["coordinator", "/baton.v1.RemapService/CreateRemap"],
  ["coordinator", "/baton.v1.RemapService/WatchRemap"],
  ["coordinator", "/baton.v1.NodeService/Connect"],
  ["coordinator", "/baton.v1.TrackerService/LookupFlows"],
  ["tracker", "/baton.v1.TrackerService/LookupFlows"],
  ["tracker", "/baton.v1.TrackerService/WatchFlows"],
  ["tracker", "/baton.v1.TrackerService/Barrier"],
] as const;

const faults: readonly (readonly [what: string, body: () => Buffer, status: number, says: RegExp])[] = [
  ["bytes that are no message", () => framed(Buffer.alloc(20, 0xff)), invalidArgument, /is no message of/],
  ["a message cut short", () => framed(Buffer.from([0x0a, 0x7f, 0x31])), invalidArgument, /is no message of/],
  ["a length of two gigabytes", () => framed(Buffer.alloc(9), { length: 0x7fff_ffff }), resourceExhausted, /larger/],
];

describe("what no client should send", () => {
  const cleanUp = new AsyncDisposableStack();
  const processes = new Map<"coordinator" | "tracker", ServiceProcess>();
  const endpoints = new Map<"coordinator" | "tracker", string>();
  let adminPort: number;
  let bus: NatsBus;
  let calls: Coordinators;
  let trackers: TrackerClient;

  beforeAll(async () => {
    const nats = cleanUp.use(await startNatsServer());
    const directory = cleanUp.use(await temporaryDirectory());
    adminPort = await freePort();
    const tracker = `127.0.0.1:${await freePort()}`;
    const coordinator = `127.0.0.1:${await freePort()}`;
    const common = { nats: { servers: nats.servers }, shards };
    await start("tracker", tracker, {
      ...common,
      name: "tracker1",
      trackers: [{ name: "tracker1", endpoint: tracker }],
      dataDirectory: join(directory.path, "data"),
      admin: { listen: `127.0.0.1:${adminPort}` },
    });
    await start("coordinator", coordinator, {
      ...common,
      name: "coordinator1",
      trackers: [tracker],
      fabric: ["10.77.0.0/24"],
      publicPrefixes: ["203.0.113.0/24"],
    });
    bus = cleanUp.use(connectBus({ servers: nats.servers, name: "test" }));
    calls = cleanUp.use(new Coordinators([coordinator], "test", signal));
    trackers = cleanUp.use(new TrackerClient([tracker]));
    await until(
      "the tracker to follow",
      async () => (await trackers.count({}, { signal }).catch(() => ({ complete: false }))).complete,
    );
    await calls.listAddresses();
  });

  afterAll(async () => {
    await cleanUp.disposeAsync();
  });

  describe.each(methods)("%s %s", (server, path) => {
    it.each(faults)("refuses %s, and lives on", async (_what, body, status, says) => {
      const answer = await callRaw(endpoints.get(server) ?? "", { path, body: body() });
      expect(answer).toMatchObject({ http: 200, status });
      expect(answer.message).toMatch(says);
      await expectAllWell();
    });

    it("refuses a message of 17 MiB, and the client hears it", async () => {
      const error = await sendLarge(endpoints.get(server) ?? "", path, 17 * mebibyte);
      expect(error).toMatchObject({ code: resourceExhausted, details: expect.stringMatching(/larger than max/) });
      await expectAllWell();
    });

    it("refuses a small message that is large once it is unpacked", async () => {
      const body = framed(gzipSync(Buffer.alloc(64 * mebibyte)), { compressed: true });
      const headers = { "grpc-encoding": "gzip" };
      expect((await callRaw(endpoints.get(server) ?? "", { path, body, headers })).status).toBe(resourceExhausted);
      await expectAllWell();
    });
  });

  describe.each(["coordinator", "tracker"] as const)("a %s", (server) => {
    it("has no method that it does not have", async () => {
      const path = "/baton.v1.RemapService/Explode";
      const answer = await callRaw(endpoints.get(server) ?? "", { path, body: framed(Buffer.alloc(0)) });
      expect(answer.status).toBe(unimplemented);
      await expectAllWell();
    });

    it("takes no other content for gRPC's", async () => {
      const headers = { "content-type": "text/plain" };
      const path = "/baton.v1.RemapService/ListRemaps";
      const answer = await callRaw(endpoints.get(server) ?? "", { path, body: Buffer.from("hello"), headers });
      expect(answer.http).toBe(415);
      await expectAllWell();
    });

    it.each([
      ["HTTP/1", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
      ["random bytes", randomBytes(4_096)],
      ["HTTP/2 with a frame that is too large", http2Start(Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]))],
    ])("hangs up on %s", async (_what, bytes) => {
      await sendBytes(endpoints.get(server) ?? "", bytes);
      await expectAllWell();
    });

    it("survives a thousand calls that are taken back at once", async () => {
      await openAndReset(endpoints.get(server) ?? "", "/baton.v1.TrackerService/LookupFlows", 1_000);
      await expectAllWell();
    });
  });

  it("lists of more entries than a request may have, and text that is too long, are INVALID_ARGUMENT", async () => {
    const keys = Array.from({ length: 10_001 }, (_, index) => keyOf(1 + index));
    await expect(lookupAt("tracker", keys.length)).resolves.toMatchObject({ status: invalidArgument });
    const wish = { address: keyOf(1).address, target: "x".repeat(mebibyte), policy: {} };
    const refused = await calls.createRemap(wish, "key").catch((error: unknown) => error);
    expect(refused).toMatchObject({ received: { code: "INVALID_ARGUMENT" } });
    expect((refused as Error).message.length).toBeLessThan(500);
    await expectAllWell();
  });

  it("steps over what is no flow event, counts and logs it, and loses nothing of what is", async () => {
    const speaker = new Speaker(bus, signal, { instance: "vm-a", shard: 3 });
    const rows = (port: number): FlowEvent => ({ kind: "changes", rows: [rowOf(port)], coalesced: [] });
    await speaker.say(rows(1));
    const before = await metric("baton_tracker_messages_skipped_total");
    const stranger = encodeFlowEventBatch({
      instance: "vm-x",
      boot: "f".repeat(32),
      shard: 5,
      sequence: 1n,
      body: rows(7),
    });
    const odd: readonly Uint8Array[] = [
      Buffer.from("what?"),
      new Uint8Array(),
      randomBytes(1_000),
      Buffer.alloc(1_000_000, 0xff),
      stranger,
      stranger.subarray(0, stranger.length - 5),
    ];
    for (const [index, data] of odd.entries())
      await bus.publish(flowSubject(3), data, { messageId: `odd ${index}`, signal });
    for (const subject of ["baton.flows.x", "baton.flows.999", "baton.flows.-1"])
      await bus.publish(subject, Buffer.from("who?"), { messageId: subject, signal });
    const sequence = await speaker.say(rows(2));

    expect(await trackers.barrier([{ shard: 3, sequence }], { deadlineMs: waitMs, signal })).toEqual({ reached: true });
    expect(await metric("baton_tracker_messages_skipped_total")).toBe(before + odd.length);
    const told = output("tracker").filter((line) => line.includes("was not understood"));
    expect(told).toHaveLength(odd.length);
    expect(told.join("\n")).toMatch(/it is of shard 5/);
    const { counts, complete } = await trackers.count({}, { signal });
    expect(counts).toMatchObject([{ owner: "vm-a", flows: 2 }]);
    expect(complete).toBe(true);
    await expectAllWell();
  });

  it("an instance steps over what is no request for its flows, and hears the next one that is", async () => {
    const errors: string[] = [];
    const asked: number[] = [];
    await using _publisher = new FlowPublisher({
      bus,
      instance: "vm-b",
      shards,
      boot: randomBytes(16),
      onSnapshotNeeded: (shard) => void asked.push(shard),
      onError: (error) => void errors.push(String(error)),
    });
    const odd = [
      Buffer.from("{"),
      Buffer.alloc(0),
      Buffer.from('{"shard":999,"reason":"x"}'),
      Buffer.from('{"shard":"1"}'),
      Buffer.from(JSON.stringify({ shard: 1, reason: "x".repeat(100_000) })),
      Buffer.from("null"),
    ];
    const said = (): boolean => {
      bus.announce(resyncSubject("vm-b"), Buffer.from('{"shard":2,"reason":"test"}'));
      return asked.includes(2);
    };
    await until("the instance to listen", said);
    for (const data of odd)
      for (const subject of [resyncSubject("vm-b"), resyncAllSubject]) bus.announce(subject, data);
    await until("all to be told", () => errors.length === 2 * odd.length);
    for (const error of errors) expect(error).toMatch(/a resync request was not understood: /);
    expect(new Set(asked)).toEqual(new Set([2]));
    bus.announce(resyncAllSubject, Buffer.from('{"shard":4,"reason":"test"}'));
    await until("the next request to be heard", () => asked.includes(4));
  });

  async function start(kind: "coordinator" | "tracker", endpoint: string, config: object): Promise<void> {
    const process = cleanUp.use(await ServiceProcess.create(kind, { ...config, listen: [endpoint] }));
    process.start();
    processes.set(kind, process);
    endpoints.set(kind, endpoint);
  }

  function output(kind: "coordinator" | "tracker"): readonly string[] {
    return processes.get(kind)?.output ?? [];
  }

  /** Both serve, neither believes to have failed. */
  async function expectAllWell(): Promise<void> {
    expect(await calls.listRemaps({ openOnly: false })).toEqual([]);
    expect((await trackers.count({}, { signal })).complete).toBe(true);
    for (const process of processes.values()) {
      expect(process.running).toBe(true);
      expect(process.output.filter((line) => /a call failed|nobody expected/.test(line))).toEqual([]);
    }
  }

  async function lookupAt(server: "coordinator" | "tracker", keys: number) {
    const key = Buffer.from([0x0a, 0]);
    const body = framed(Buffer.concat(Array.from({ length: keys }, () => key)));
    return await callRaw(endpoints.get(server) ?? "", { path: "/baton.v1.TrackerService/LookupFlows", body });
  }

  async function metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${adminPort}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
  }
});

/** By a client that holds itself to no limit. */
async function sendLarge(endpoint: string, path: string, bytes: number): Promise<ServiceError | null> {
  const client = new Client(endpoint, credentials.createInsecure(), { "grpc.max_send_message_length": -1 });
  const asIs = (message: Buffer): Buffer => message;
  try {
    return await new Promise((resolve) => client.makeUnaryRequest(path, asIs, asIs, Buffer.alloc(bytes), resolve));
  } finally {
    client.close();
  }
}

/** The preface that every HTTP/2 connection begins with, then these bytes. */
function http2Start(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), bytes]);
}

async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  await waitFor(condition, { signal, timeoutMs: waitMs, what });
}
