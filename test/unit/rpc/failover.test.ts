import { connect, createServer } from "node:net";
import { describe, expect, it } from "vitest";
import { RemapServiceClient } from "../../../src/gen/baton/v1/remap.ts";
import { CallFailed, Failover } from "../../../src/rpc/failover.ts";
import { Refusal } from "../../../src/rpc/handler.ts";
import { remapToProto } from "../../../src/rpc/remap-codec.ts";
import { type FakeRemaps, serveFake, socketDirectory } from "./fake-remaps.ts";
import { freshRemap } from "./remap-samples.ts";

const signal = new AbortController().signal;
const named = (id: string) => remapToProto({ ...freshRemap, id });
const answering = (id: string): FakeRemaps => ({ get: async () => ({ ok: true, value: named(id) }) });
const following = (leader?: string): FakeRemaps => ({
  get: async () => ({
    ok: false,
    error: { code: "NOT_LEADER", message: "not the leader", ...(leader !== undefined && { details: { leader } }) },
  }),
});

const get = async (failover: Failover, repeatable = true) =>
  (await failover.call(RemapServiceClient, "getRemap", { id: "" }, { signal, repeatable })).id;

describe("a call to the coordinators", () => {
  it("goes past a dead one, and stays with the one that answered", async () => {
    using directory = socketDirectory();
    await using _second = await serveFake(directory.endpoint("2"), answering("from 2"));
    using failover = new Failover([directory.endpoint("1"), directory.endpoint("2")]);
    expect(await get(failover)).toBe("from 2");
    await using _first = await serveFake(directory.endpoint("1"), answering("from 1"));
    expect(await get(failover)).toBe("from 2");
  });

  it("follows a follower to its leader, though that one is not in the list", async () => {
    using directory = socketDirectory();
    await using _leader = await serveFake(directory.endpoint("leader"), answering("from the leader"));
    await using _follower = await serveFake(directory.endpoint("1"), following(directory.endpoint("leader")));
    using failover = new Failover([directory.endpoint("1")]);
    expect(await get(failover)).toBe("from the leader");
  });

  it("waits while nobody leads, until somebody does", async () => {
    using directory = socketDirectory();
    let asked = 0;
    await using _server = await serveFake(directory.endpoint("1"), {
      get: async () =>
        ++asked < 3
          ? { ok: false, error: { code: "NOT_LEADER", message: "an election is under way" } }
          : { ok: true, value: named("elected") },
    });
    using failover = new Failover([directory.endpoint("1")]);
    expect(await get(failover)).toBe("elected");
    expect(asked).toBe(3);
  });

  it("fails as unreachable when nobody answers, naming each and its cause", async () => {
    using directory = socketDirectory();
    using failover = new Failover([directory.endpoint("1"), "127.0.0.1:1"]);
    const failed = await get(failover).catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(CallFailed);
    expect(failed).toMatchObject({
      unreachable: true,
      message: expect.stringMatching(/: connect ENOENT .*; 127\.0\.0\.1:1: connect ECONNREFUSED/),
    });
  });

  it("takes a refusal for the answer, and asks nobody else", async () => {
    using directory = socketDirectory();
    await using _first = await serveFake(directory.endpoint("1"), {
      get: async () => ({ ok: false, error: { code: "UNKNOWN_REMAP", message: "no such remap" } }),
    });
    await using _second = await serveFake(directory.endpoint("2"), answering("from 2"));
    using failover = new Failover([directory.endpoint("1"), directory.endpoint("2")]);
    await expect(get(failover)).rejects.toMatchObject({ unreachable: false, received: { code: "UNKNOWN_REMAP" } });
  });

  it("that must not be repeated is not, once it may have arrived", async () => {
    using directory = socketDirectory();
    await using hangUp = await hangingUp(directory.endpoint("1"));
    await using _second = await serveFake(directory.endpoint("2"), answering("from 2"));
    const endpoints = [directory.endpoint("1"), directory.endpoint("2")];
    using careless = new Failover(endpoints);
    expect(await get(careless)).toBe("from 2");
    using careful = new Failover(endpoints);
    hangUp.connections = 0;
    await expect(get(careful, false)).rejects.toMatchObject({
      unreachable: true,
      message: expect.stringContaining("whether it was done is unknown"),
    });
    expect(hangUp.connections).toBeGreaterThan(0);
  });

  it("that must not be repeated still goes past one that it never reached", async () => {
    using directory = socketDirectory();
    await using _second = await serveFake(directory.endpoint("2"), answering("from 2"));
    using failover = new Failover([directory.endpoint("1"), directory.endpoint("2")]);
    expect(await get(failover, false)).toBe("from 2");
  });
});

describe("a stream from the coordinators", () => {
  const watch = (failover: Failover, resumable: boolean) =>
    failover.stream(RemapServiceClient, "watchRemap", { id: "r1" }, { signal, resumable });

  it("goes on with another coordinator when one ends in the middle", async () => {
    using directory = socketDirectory();
    await using _second = await serveFake(directory.endpoint("2"), {
      async *watch() {
        yield named("from 2");
      },
    });
    await using first = await serveFake(directory.endpoint("1"), {
      async *watch(_request, context) {
        yield named("from 1");
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
    });
    using failover = new Failover([directory.endpoint("1"), directory.endpoint("2")]);
    const seen: string[] = [];
    for await (const { id } of watch(failover, true)) {
      seen.push(id);
      if (id === "from 1") await first[Symbol.asyncDispose]();
    }
    expect(seen).toEqual(["from 1", "from 2"]);
  });

  it("moves to the new leader when its own steps down", async () => {
    using directory = socketDirectory();
    await using _second = await serveFake(directory.endpoint("2"), {
      async *watch() {
        yield named("from 2");
      },
    });
    let leads = true;
    await using _first = await serveFake(directory.endpoint("1"), {
      async *watch() {
        if (leads) yield named("from 1");
        leads = false;
        throw new Refusal({ code: "NOT_LEADER", message: "", details: { leader: directory.endpoint("2") } });
      },
    });
    using failover = new Failover([directory.endpoint("1")]);
    const seen: string[] = [];
    for await (const { id } of watch(failover, true)) seen.push(id);
    expect(seen).toEqual(["from 1", "from 2"]);
  });

  it("that can't be resumed fails instead of beginning again", async () => {
    using directory = socketDirectory();
    await using first = await serveFake(directory.endpoint("1"), {
      async *watch(_request, context) {
        yield named("from 1");
        await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      },
    });
    await using _second = await serveFake(directory.endpoint("2"), {
      async *watch() {
        yield named("from 2");
      },
    });
    using failover = new Failover([directory.endpoint("1"), directory.endpoint("2")]);
    const messages = watch(failover, false);
    await messages.next();
    const next = messages.next();
    await first[Symbol.asyncDispose]();
    await expect(next).rejects.toBeInstanceOf(CallFailed);
  });

  it("fails with the refusal that it is answered with", async () => {
    using directory = socketDirectory();
    await using _server = await serveFake(directory.endpoint("1"), {
      // biome-ignore lint/correctness/useYield: a stream that refuses before its first message.
      async *watch() {
        throw new Refusal({ code: "UNKNOWN_REMAP", message: "no remap r1" });
      },
    });
    using failover = new Failover([directory.endpoint("1")]);
    await expect(watch(failover, true).next()).rejects.toMatchObject({ received: { code: "UNKNOWN_REMAP" } });
  });
});

/** A peer that speaks HTTP/2 up to the first request, then closes the connection: that request may have been carried out. */
async function hangingUp(endpoint: string): Promise<AsyncDisposable & { connections: number }> {
  const real = await serveFake(`${endpoint}.real`, { get: () => new Promise(() => {}) });
  const state = {
    connections: 0,
    async [Symbol.asyncDispose]() {
      server.close();
      await real[Symbol.asyncDispose]();
    },
  };
  const server = createServer((client) => {
    state.connections++;
    const upstream = connect(`${endpoint.slice("unix:".length)}.real`);
    upstream.pipe(client);
    client.on("data", (chunk: Buffer) => {
      // A HEADERS frame (type 1) on stream 1 begins a request.
      if (chunk.includes(Buffer.from([0x01, 0x04, 0x00, 0x00, 0x00, 0x01]))) client.destroy();
      else upstream.write(chunk);
    });
    client.on("error", () => {});
    client.on("close", () => upstream.destroy());
    upstream.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(endpoint.slice("unix:".length), resolve));
  return state;
}
