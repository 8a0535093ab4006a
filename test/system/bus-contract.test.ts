/** What every bus promises, asked of NATS and of its twin in memory. */
import { randomUUID } from "node:crypto";
import { connect } from "nats";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Bus, BusError, type BusMessage, type StreamConfig } from "../../src/bus/bus.ts";
import { MemoryBus } from "../../src/bus/memory.ts";
import { connectBus } from "../../src/bus/nats.ts";
import { waitFor } from "../../src/runtime/retry.ts";
import { natsServerInstalled, startNatsServer, type TestNatsServer } from "../support/nats-server.ts";

interface Bench {
  connect(): Bus;
  deleteStream(name: string): Promise<void>;
  interrupt(): Promise<void>;
  restore(): Promise<void>;
  close(): Promise<void>;
}

const benches: { name: string; installed: boolean; open: () => Promise<Bench> }[] = [
  { name: "in memory", installed: true, open: async () => memoryBench() },
  { name: "on NATS", installed: natsServerInstalled, open: natsBench },
];

describe.each(benches)("the bus $name", ({ installed, open }) => {
  let bench: Bench;
  let bus: Bus;
  const signal = AbortSignal.timeout(60_000);

  beforeAll(async () => {
    if (!installed) throw new Error("nats-server is not installed; run `npm run setup`");
    bench = await open();
    bus = bench.connect();
  });
  afterAll(async () => {
    await bus?.[Symbol.asyncDispose]();
    await bench?.close();
  });

  const fresh = async (
    limits: Partial<StreamConfig> = {},
  ): Promise<{ stream: string; subject: (n: number) => string }> => {
    const stream = `S${randomUUID().replaceAll("-", "")}`;
    await bus.ensureStream({ ...limitsOf(stream), ...limits }, signal);
    return { stream, subject: (n) => `${stream}.${n}` };
  };
  const publish = (subject: string, text: string, messageId: string = randomUUID()): Promise<bigint> =>
    bus.publish(subject, Buffer.from(text), { messageId, signal });
  const read = async (stream: string, subject: string, from: bigint, count: number): Promise<BusMessage[]> => {
    const found: BusMessage[] = [];
    for await (const batch of bus.consume({ stream, subject, from, signal, batchMax: 3 })) {
      expect(batch.length).toBeGreaterThan(0);
      expect(batch.length).toBeLessThanOrEqual(3);
      found.push(...batch);
      if (found.length >= count) break;
    }
    return found;
  };
  const texts = (messages: readonly BusMessage[]): string[] => messages.map(({ data }) => Buffer.from(data).toString());

  test("acknowledges each message with its sequence in the stream", async () => {
    const { subject } = await fresh();
    expect(await publish(subject(1), "a")).toBe(1n);
    expect(await publish(subject(2), "b")).toBe(2n);
    expect(await publish(subject(1), "c")).toBe(3n);
  });

  test("stores a message id once and answers the repetition with the first sequence", async () => {
    const { stream, subject } = await fresh();
    expect(await publish(subject(1), "a", "same")).toBe(1n);
    expect(await publish(subject(1), "a", "same")).toBe(1n);
    expect(await bus.streamRange(stream, signal)).toMatchObject({ first: 1n, last: 1n });
  });

  test("delivers one subject in order, from a sequence on, with what is pending", async () => {
    const { stream, subject } = await fresh();
    for (const text of ["a", "b", "c", "d", "e"]) {
      await publish(subject(1), text);
      await publish(subject(2), `not ${text}`);
    }
    const found = await read(stream, subject(1), 4n, 3);
    expect(texts(found)).toEqual(["c", "d", "e"]);
    expect(found.map(({ sequence, pending }) => [sequence, pending])).toEqual([
      [5n, 2],
      [7n, 1],
      [9n, 0],
    ]);
  });

  test("goes on delivering what is published while it consumes", async () => {
    const { stream, subject } = await fresh();
    const reading = read(stream, subject(1), 1n, 4);
    for (const text of ["a", "b", "c", "d"]) await publish(subject(1), text);
    expect(texts(await reading)).toEqual(["a", "b", "c", "d"]);
  });

  test("drops the oldest messages beyond the limit of bytes, and says where the stream begins", async () => {
    const { stream, subject } = await fresh({ maxBytes: 4_000 });
    for (let n = 0; n < 10; n++) await publish(subject(1), "x".repeat(1_000));
    const range = await bus.streamRange(stream, signal);
    expect(range.last).toBe(10n);
    expect(range.first).toBeGreaterThan(5n);
    expect(await bus.messageAt(stream, 1n, signal)).toBeUndefined();
    expect((await bus.messageAt(stream, range.first, signal))?.sequence).toBe(range.first);
    expect((await read(stream, subject(1), 1n, 1))[0]?.sequence).toBe(range.first);
  });

  test("knows the newest message of each subject", async () => {
    const { stream, subject } = await fresh();
    for (const n of [1, 2, 1, 2, 2]) await publish(subject(n), "x");
    expect(await bus.lastSequence(stream, subject(1), signal)).toBe(3n);
    expect(await bus.lastSequence(stream, subject(2), signal)).toBe(5n);
    expect(await bus.lastSequence(stream, subject(3), signal)).toBe(0n);
  });

  test("gives an empty stream a first sequence beyond the last", async () => {
    const { stream } = await fresh();
    expect(await bus.streamRange(stream, signal)).toMatchObject({ first: 1n, last: 0n });
  });

  test("gives an existing stream new limits and keeps what it holds", async () => {
    const { stream, subject } = await fresh();
    await publish(subject(1), "a");
    await bus.ensureStream({ ...limitsOf(stream), maxAgeMs: 7_200_000 }, signal);
    expect(await bus.streamRange(stream, signal)).toMatchObject({ first: 1n, last: 1n });
  });

  test("leaves an existing stream its limits for who has no say in them, and makes it for who comes first", async () => {
    const { stream, subject } = await fresh({ maxBytes: 1_000_000 });
    for (const n of [1, 2, 3]) await publish(subject(n), "a".repeat(1_000));
    await bus.ensureStream({ ...limitsOf(stream), maxBytes: 1_500 }, signal, "keep");
    await publish(subject(4), "b");
    expect(await bus.streamRange(stream, signal)).toMatchObject({ first: 1n, last: 4n });
    const other = `${stream}_`;
    await bus.ensureStream(limitsOf(other), signal, "keep");
    expect(await bus.streamRange(other, signal)).toMatchObject({ last: 0n });
  });

  test("refuses a message that no stream holds, and the state of a stream that does not exist", async () => {
    await expect(publish("nowhere.1", "a")).rejects.toThrow(BusError);
    await expect(bus.streamRange("NOWHERE", signal)).rejects.toThrow(BusError);
  });

  test("ends consuming with the reason when the signal aborts", async () => {
    const { stream, subject } = await fresh();
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of bus.consume({ stream, subject: subject(1), from: 1n, signal: stop.signal, batchMax: 3 }));
    })();
    stop.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
  });

  test("brings announcements to those who listen, until they stop", async () => {
    const subject = `tell.${randomUUID()}`;
    const heard: string[] = [];
    {
      using _listening = bus.listen(subject, (data) => void heard.push(Buffer.from(data).toString()));
      await waitFor(
        () => {
          bus.announce(subject, Buffer.from("now"));
          return heard.length > 0;
        },
        { signal, timeoutMs: 5_000, what: "an announcement" },
      );
    }
    expect(heard[0]).toBe("now");
  });

  test("ends consuming when the stream was made anew, though the connection was never lost", async () => {
    const { stream, subject } = await fresh();
    await publish(subject(1), "a");
    const { identity } = await bus.streamRange(stream, signal);
    const started = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const _ of bus.consume({ stream, subject: subject(1), from: 1n, identity, signal, batchMax: 3 }))
        started.resolve();
    })();
    const ended = expect(reading).rejects.toThrow(BusError);
    await started.promise;
    await bench.deleteStream(stream);
    await bus.ensureStream(limitsOf(stream), signal);
    await ended;
    expect((await bus.streamRange(stream, signal)).identity).not.toBe(identity);
  }, 20_000);

  test("ends consuming when the connection is lost, and publishes once it is back", async () => {
    const { stream, subject } = await fresh();
    await publish(subject(1), "a");
    const statuses: boolean[] = [];
    using _status = bus.onStatus((connected) => void statuses.push(connected));
    const started = Promise.withResolvers<void>();
    const reading = (async () => {
      for await (const _ of bus.consume({ stream, subject: subject(1), from: 1n, signal, batchMax: 3 }))
        started.resolve();
    })();
    const ended = expect(reading).rejects.toThrow(BusError);
    await started.promise;
    await bench.interrupt();
    await ended;
    const published = publish(subject(1), "b");
    await bench.restore();
    expect(await published).toBe(2n);
    expect(texts(await read(stream, subject(1), 1n, 2))).toEqual(["a", "b"]);
    expect(statuses).toEqual([false, true]);
  });
});

function limitsOf(name: string): StreamConfig {
  return {
    name,
    subjects: [`${name}.*`],
    maxAgeMs: 3_600_000,
    maxBytes: 10_000_000,
    duplicateWindowMs: 60_000,
    replicas: 1,
  };
}

function memoryBench(): Bench {
  const bus = new MemoryBus();
  return {
    connect: () => bus,
    deleteStream: async (name) => bus.deleteStream(name),
    interrupt: async () => bus.setConnected(false),
    restore: async () => bus.setConnected(true),
    close: async () => undefined,
  };
}

async function natsBench(): Promise<Bench> {
  const server: TestNatsServer = await startNatsServer();
  return {
    connect: () => connectBus({ servers: server.servers, name: "contract" }),
    async deleteStream(name) {
      const connection = await connect({ servers: server.servers });
      await (await connection.jetstreamManager()).streams.delete(name);
      await connection.close();
    },
    interrupt: () => server.kill(),
    restore: () => server.start(),
    close: () => server[Symbol.asyncDispose](),
  };
}
